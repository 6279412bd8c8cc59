from .combine import (
    Largest as Largest,
    Least as Least,
    Sum as Sum,
    mean_difference as mean_difference,
)
from .intervals import (
    Interval as Interval,
    compare as compare,
    is_binary as is_binary,
    is_bounded as is_bounded,
    mean_interval as mean_interval,
    paired_differences as paired_differences,
    share_interval as share_interval,
)
from .paired import (
    Difference as Difference,
    Unbounded as Unbounded,
    unbounded_mean as unbounded_mean,
)
from .power import documents_needed as documents_needed
