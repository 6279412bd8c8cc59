from .chat_models import ChatTemplate as ChatTemplate, chat_template_of as chat_template_of
from .mergekit import obstacle as obstacle
from .model_folder import (
    ExportResult as ExportResult,
    chat_template as chat_template,
    export_model as export_model,
    write_model as write_model,
)
from .recipe import materialise as materialise, short_card as short_card
from .staging import RECIPE as RECIPE, check_target as check_target
from .trainer_folder import (
    TrainingCheckpoint as TrainingCheckpoint,
    is_pattern as is_pattern,
    training_run as training_run,
)
