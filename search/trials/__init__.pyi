from .believed import Believed as Believed, believe as believe, values_of as values_of
from .budget import (
    cost as cost,
    counted as counted,
    documents_left as documents_left,
    has_ended as has_ended,
    has_room as has_room,
    is_over as is_over,
    spent as spent,
)
from .clock import Clock as Clock, covered as covered, this_moment as this_moment
from .lineup import Lineup as Lineup, line_up as line_up, suite_means as suite_means
from .objective import Objective as Objective, Way as Way
from .pace import Pace as Pace, Timed as Timed, pace_of as pace_of, recent_of as recent_of
from .partial import Part as Part, Partial as Partial
from .race_log import RaceLog as RaceLog, Round as Round
from .ranking import (
    best_known as best_known,
    best_trial as best_trial,
    complete as complete,
    distance as distance,
    eligible as eligible,
    is_flat as is_flat,
    is_input as is_input,
    merit as merit,
)
from .shift import (
    GRAM as GRAM,
    SAMPLED as SAMPLED,
    Gram as Gram,
    Shift as Shift,
    settle_shift as settle_shift,
)
from .standing import (
    Standing as Standing,
    best_inputs as best_inputs,
    by_suite as by_suite,
    difference as difference,
    incumbents as incumbents,
    inputs_of as inputs_of,
    latest as latest,
    scores_seen as scores_seen,
    standing_by_trial as standing_by_trial,
    standing_of as standing_of,
    standings as standings,
    unit_of as unit_of,
)
from .trial import (
    DROPPED as DROPPED,
    FINAL as FINAL,
    Claim as Claim,
    Result as Result,
    TrialRecord as TrialRecord,
    TrialTaken as TrialTaken,
)
from .unit import (
    Unit as Unit,
    count_of as count_of,
    duration as duration,
    joined as joined,
    p_text as p_text,
    share_text as share_text,
)
from .weight_space import WeightSpace as WeightSpace, root_of as root_of
