from .c_library import build as build, give_back_freed as give_back_freed, pool as pool
from .scale import (
    BOUNDED as BOUNDED,
    HIGHER as HIGHER,
    TARGET_NLL as TARGET_NLL,
    Scale as Scale,
    may_be_bounded as may_be_bounded,
)
from .scores import (
    DocumentScores as DocumentScores,
    Scores as Scores,
    join as join,
    metric_of as metric_of,
    metric_text as metric_text,
    paired_values as paired_values,
    scale_of as scale_of,
)
