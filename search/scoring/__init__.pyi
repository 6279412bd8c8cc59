from .answers import (
    load_answers as load_answers,
    merge_answers as merge_answers,
    save_answers as save_answers,
)
from .live_model import LocalModel as LocalModel, resident_model as resident_model
from .measure import Measure as Measure, load_measure as load_measure
from .precision import (
    Precision as Precision,
    choose_engine as choose_engine,
    settle_precision as settle_precision,
)
from .probing import DocumentTime as DocumentTime
from .served_model import ServedModel as ServedModel
from .worker import Scored as Scored, Scorer as Scorer, Worker as Worker, chat_of as chat_of
