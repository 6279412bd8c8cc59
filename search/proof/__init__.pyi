from .also import (
    Also as Also,
    also_of as also_of,
    claim_also as claim_also,
    key_of_suite as key_of_suite,
    name_also as name_also,
    owed_also as owed_also,
)
from .audit import KINDS as KINDS, Audit as Audit, audit_of as audit_of, share_text as share_text
from .comparison import Comparison as Comparison, compare_models as compare_models
from .examples import Example as Example, examples_of as examples_of
from .finals import best_input as best_input
from .gain import gain_on_suite as gain_on_suite, share_of_error as share_of_error
from .left_out import LeftOut as LeftOut, left_out as left_out
from .outcome import Entry as Entry, Outcome as Outcome
from .proving import (
    claim as claim,
    owed_longer as owed_longer,
    prove as prove,
    prove_longer as prove_longer,
    proved as proved,
    unproved as unproved,
    use_of as use_of,
)
from .training_curve import CurvePoint as CurvePoint, training_curve as training_curve
from .uses import claim_comparison as claim_comparison
from .verdict import Verdict as Verdict
