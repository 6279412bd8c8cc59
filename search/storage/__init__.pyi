from .backend import (
    artifact_store as artifact_store,
    sqlite_url as sqlite_url,
    study_names as study_names,
)
from .lock import folder_lock as folder_lock
from .patience import hide_secrets as hide_secrets, hurry as hurry
from .read_only import check_writable as check_writable
from .run_folders import (
    DATABASE as DATABASE,
    folders_with_a_database as folders_with_a_database,
    forks as forks,
    latest as latest,
    run_folder as run_folder,
)
from .storage import Storage as Storage
from .stored_study import StoredStudy as StoredStudy
from .study_record import StudyChanged as StudyChanged, StudyRecord as StudyRecord
