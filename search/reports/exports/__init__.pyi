from .build import build as build
from .export import export_best as export_best, export_trials as export_trials
from .gguf import check_gguf_type as check_gguf_type, write_gguf as write_gguf
from .publish import push as push
