from .candidate import DECIMALS as DECIMALS, Candidate as Candidate
from .devices import SPREAD as SPREAD, NoRoom as NoRoom, spread as spread
from .groups import Groups as Groups, Spec as Spec, joint as joint
from .live import live_tensors as live_tensors, places as places
from .materialise import WORTH_COMPILING as WORTH_COMPILING, Merger as Merger
from .resident import (
    ResidentModel as ResidentModel,
    digest_of as digest_of,
    load_model as load_model,
    load_tokenizer as load_tokenizer,
    pick_device as pick_device,
    tokenizer_of as tokenizer_of,
    weights_digest as weights_digest,
)
