from .adapter import (
    Adapter as Adapter,
    LowRank as LowRank,
    Source as Source,
    open_checkpoint as open_checkpoint,
    open_models as open_models,
)
from .checkpoint import (
    Checkpoint as Checkpoint,
    read_json as read_json,
    refuse_unbounded as refuse_unbounded,
    untied as untied,
)
from .fetched import (
    PART as PART,
    Delta as Delta,
    Fetched as Fetched,
    Values as Values,
    row_length as row_length,
    whole_rows as whole_rows,
)
from .fit import check_fit as check_fit
from .location import (
    MINI as MINI,
    TOKENIZER as TOKENIZER,
    is_hub_id as is_hub_id,
    locate as locate,
    public_names as public_names,
)
from .residence import (
    Held as Held,
    Mapped as Mapped,
    Residence as Residence,
    choose as choose,
    settle as settle,
)
from .sources import VOCABULARY as VOCABULARY, Sources as Sources
from .task_vector import (
    RECORD as RECORD,
    VECTOR as VECTOR,
    TaskVector as TaskVector,
    VectorFile as VectorFile,
    made_by as made_by,
)
from .trained_on import other_base as other_base
from .weight_files import (
    TORCH_NAMES as TORCH_NAMES,
    TensorSpec as TensorSpec,
    on_disk as on_disk,
    split as split,
    sync as sync,
    write_shards as write_shards,
)
