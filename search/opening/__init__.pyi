from .cost import (
    LIBRARIES as LIBRARIES,
    Costs as Costs,
    Weights as Weights,
    available_memory as available_memory,
    check_memory as check_memory,
    describe as describe,
    give_back_memory as give_back_memory,
    peak_memory as peak_memory,
    set_aside as set_aside,
    size_text as size_text,
    weigh as weigh,
)
from .first_stage import (
    KEPT as KEPT,
    input_alone as input_alone,
    models_to_prove as models_to_prove,
    settled_of as settled_of,
    sources_of as sources_of,
    study_of as study_of,
)
from .gram import measure as measure, sample as sample
from .joining import join_study as join_study
from .kinship import kinship_of as kinship_of
from .likeness import (
    Likeness as Likeness,
    check_inputs as check_inputs,
    fingerprints_of as fingerprints_of,
    likenesses as likenesses,
    refusal as refusal,
    tolerance as tolerance,
)
from .opening import (
    load_also_documents as load_also_documents,
    load_study_documents as load_study_documents,
    open_sources as open_sources,
    pinned_facts as pinned_facts,
    remarks as remarks,
)
from .provenance import RENDERED as RENDERED, facts as facts
from .references import take_references as take_references
from .settling import (
    objective_of as objective_of,
    scale_of_suite as scale_of_suite,
    settle_objective as settle_objective,
)
from .workshop import Workshop as Workshop, agree as agree, vectors_in as vectors_in
