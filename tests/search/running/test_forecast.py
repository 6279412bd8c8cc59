"""What a search is said to take, beside what searches took: their timings are stored in `timings/`.

Each file is one search on two shared cores: what was probed before its first trial, and when each trial and each model of
the proof began and ended.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from exme.search.opening import Weights
from exme.search.racing.strata import Draw
from exme.search.running.forecast import Forecast, Probe
from exme.search.running.view import View
from exme.search.study.study_file import StudyFile
from exme.search.trials.clock import Clock
from exme.search.trials.pace import Timed
from exme.search.trials.trial import TrialRecord
from tests.helpers.searches.outcomes import outcome_trial

PLACE = Path(__file__).parent / "timings"
