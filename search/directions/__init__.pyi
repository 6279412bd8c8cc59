from .bench import Bench as Bench
from .catalogue import (
    DIRECTIONS as DIRECTIONS,
    About as About,
    direction_of as direction_of,
    vectors as vectors,
)
from .direction import Found as Found
from .prompts import Examples as Examples, examples_for as examples_for, pick as pick
