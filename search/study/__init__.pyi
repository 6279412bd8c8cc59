from .from_mergekit import read_mergekit as read_mergekit
from .init import (
    name_checkpoints as name_checkpoints,
    run_of as run_of,
    write_study as write_study,
)
from .named_point import BY_HAND as BY_HAND, check_names as check_names, named_point as named_point
from .older import as_now as as_now
from .space import (
    Bounds as Bounds,
    Space as Space,
    Value as Value,
    alone as alone,
    expo_points as expo_points,
    first_points as first_points,
    name_alone as name_alone,
    read as read,
    unit as unit,
)
from .study_checks import measure_of_ones_own as measure_of_ones_own
from .study_file import (
    StudyFile as StudyFile,
    load_study_file as load_study_file,
)
from .study_sections import (
    BudgetSection as BudgetSection,
    DocumentsSection as DocumentsSection,
    with_limits as with_limits,
)
from .suites import (
    pick_suites as pick_suites,
    suites_table as suites_table,
    tasks_table as tasks_table,
)
from .training_run import (
    TrainingRunSection as TrainingRunSection,
    is_ranked as is_ranked,
    keeping as keeping,
)
