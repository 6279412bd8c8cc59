from .merging import Candidate as Candidate
from .reports.exports import export_best as export_best
from .reports.pages import write_report as write_report
from .running import Search as Search, open_search as open_search
from .study import StudyFile as StudyFile, load_study_file as load_study_file

SPINS: bool
