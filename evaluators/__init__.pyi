from .c_library import build as build, pool as pool
from .scores import (
    BOUNDED as BOUNDED,
    HIGHER as HIGHER,
    TARGET_NLL as TARGET_NLL,
    DocumentScores as DocumentScores,
    Scale as Scale,
    Scores as Scores,
    join as join,
    may_be_bounded as may_be_bounded,
    metric_of as metric_of,
    metric_text as metric_text,
    paired_values as paired_values,
    scale_of as scale_of,
)
