from .build import build as build
from .export import export_best as export_best, export_trials as export_trials
from .publish import push as push
