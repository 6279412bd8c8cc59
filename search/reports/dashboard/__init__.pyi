from .annotate import Annotator as Annotator
from .dashboard import serve as serve
