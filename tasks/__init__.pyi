from .documents import (
    Document as Document,
    Order as Order,
    Split as Split,
    SuiteDocuments as SuiteDocuments,
    load_documents as load_documents,
)
from .errors import (
    ShapeMismatch as ShapeMismatch,
    UserError as UserError,
    did_you_mean as did_you_mean,
    one_line as one_line,
)
from .explained import explain as explain
from .lm_eval_task import task_names as task_names
from .rows import (
    UNREACHABLE as UNREACHABLE,
    hub_is_reachable as hub_is_reachable,
)
from .suite import Suite as Suite, load_suite as load_suite, suite_names as suite_names
from .yaml_file import read_yaml as read_yaml
