"""A study's trials and scores as tables."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from exme.search.reports.pages.data_frame import documents_table, trials_table, write_table
from exme.search.running.search import open_search
from exme.search.study.study_file import StudyFile
from exme.search.trials.standing import standing_by_trial, standings
from exme.tasks.errors import UserError
from tests.helpers.searches.landscape import PEAK, Landscape
from tests.helpers.searches.two_suites import study_file


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_hold_every_trial_and_every_score(tmp_path: Path, suffix: str) -> None:
    study: StudyFile = study_file(suites=["gsm8k"], starts=[{"sums": 0.6, "products": 0.9}])
    with open_search(
        study, name="test", runs=tmp_path, worker=lambda d: Landscape(d, PEAK)
    ) as search:
        outcome = search.run()
    assert "start 1" in {trial.origin for trial in outcome.trials}
    files = {"trials": trials_table(outcome.trials), "documents": documents_table(outcome)}
    read = {}
    for name, table in files.items():
        write_table(table, tmp_path / f"{name}{suffix}")
        reader = pd.read_csv if suffix == ".csv" else pd.read_parquet
        read[name] = reader(tmp_path / f"{name}{suffix}")
    trials, documents = read["trials"], read["documents"]
    assert list(trials["trial"]) == [t.number for t in outcome.trials]
    assert trials.loc[trials["origin"] == "start 1", "c.products"].item() == 0.9
    known = standing_by_trial(standings(outcome.trials), outcome.trials)
    for number, row in trials.set_index("trial").iterrows():
        found = known[number].interval
        shown = (found.estimate, found.low, found.high)
        assert (row["score"], row["low"], row["high"]) == pytest.approx(shown)
    counts = documents[documents["split"] == "search"].groupby("model")["score"].count()
    assert all(
        count == counts[f"trial {known[number].trial.number}"]
        for number, count in zip(trials["trial"], trials["documents"], strict=True)
    )
    assert (trials["state"] == "rejected").any()
    report = documents[documents["split"] == "report"].groupby("model")["score"].count()
    assert dict(report) == dict.fromkeys(("base", "merged", "products", "sums"), 60)
    with pytest.raises(UserError, match=r"ends in \.parquet or \.csv"):
        write_table(files["trials"], tmp_path / "trials.txt")
