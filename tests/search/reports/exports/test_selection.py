"""Exports of trials other than the best, their papers for the hub and lm-eval, and the way to the hub."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from exme.evaluators.scores import join
from exme.search.reports.exports.export import export_trials
from exme.search.reports.exports.gguf import write_gguf
from exme.search.reports.exports.lm_eval_results import lm_eval_results
from exme.search.reports.exports.publish import push
from exme.search.reports.exports.selection import pick, ranking
from exme.search.running.search import Search
from exme.search.trials.trial import TrialRecord
from exme.tasks.errors import UserError
from tests.helpers.models.cards import card, front_matter, outcome
from tests.helpers.models.exports import searched
from tests.helpers.searches.panel import TRIALS
from tests.helpers.searches.two_suites import scores as suite_scores

__all__ = ["outcome", "searched"]  # fixtures


def numbers(trials: list[TrialRecord]) -> list[int]:
    return [trial.number for trial in trials]


def on_two(number: int, a: int, b: int) -> TrialRecord:
    parts = [suite_scores(n, [1.0] * k + [0.0] * (10 - k)) for n, k in (("a", a), ("b", b))]
    return TrialRecord(number, "complete", "gp", TRIALS[number].candidate, join(parts))


def test_trials_are_ranked_by_score_each_candidate_once() -> None:
    twin = TrialRecord(7, "complete", "gp", TRIALS[5].candidate, TRIALS[5].scores, duplicate_of=5)
    assert numbers(ranking((*TRIALS, twin))) == [5, 6, 2, 3, 1, 0, 4]
    assert numbers(pick(TRIALS)) == [5]
    assert numbers(pick(TRIALS, top=3)) == [5, 6, 2]
    assert numbers(pick(TRIALS, number=4)) == [4]
    assert numbers(pick(TRIALS, pareto=True)) == [5]  # one suite has one best


def test_the_front_holds_what_nothing_beats_on_every_suite() -> None:
    trials = [on_two(0, 9, 2), on_two(1, 5, 5), on_two(2, 4, 5), on_two(3, 1, 8), on_two(4, 5, 5)]
    assert numbers(pick(trials, pareto=True)) == [0, 1, 3]


def test_a_front_is_of_what_was_scored_on_all_documents(searched: Search) -> None:
    trials = searched.run().trials
    part = [t for t in trials if t.is_scored and t.scores is None]
    assert part  # a search leaves some
    (best,) = pick(trials, pareto=True)  # of one suite
    assert best.scores is not None
    assert best.scores.mean == max(t.scores.mean for t in trials if t.scores is not None)
    with pytest.raises(UserError, match=r"no candidate was scored on all .*; --top takes the best"):
        pick(part, pareto=True)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"number": 99}, r"trial 99: there is no such trial \(have: 0 to 7\)"),
        ({"number": 7}, "trial 7: was not scored .*failed: not finite"),
        ({"number": 1, "top": 2}, "give one of --trial, --top and --pareto"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(choice: dict[str, Any], message: str) -> None:
    failed = TrialRecord(7, "failed", "gp", TRIALS[4].candidate, message="not finite")
    with pytest.raises(UserError, match=message):
        pick((*TRIALS, failed), **choice)


def test_the_top_two_are_exported_each_with_its_own_papers(
    searched: Search, tmp_path: Path
) -> None:
    found = searched.run()
    first, second = ranking(found.trials)[:2]
    results = export_trials(searched, tmp_path / "out", top=2)
    assert [r.folder.name for r in results] == [f"trial-{t.number}" for t in (first, second)]
    assert first.candidate and second.candidate and second.scores
    assert [r.digest for r in results] == [first.candidate.digest, second.candidate.digest]
    assert results[0].weights_digest != results[1].weights_digest
    text = (results[1].folder / "README.md").read_text()
    assert f"Not the best candidate: trial {second.number}, not proved" in text
    assert "Not the best" not in (results[0].folder / "README.md").read_text()
    told = json.loads((results[1].folder / "lm_eval_results.json").read_text())
    assert told["results"]["gsm8k"]["exact_match,strict-match"] == second.scores.mean
    assert "base: mit; math: not stated" in results[0].warning
    with pytest.raises(UserError, match="--force replaces it"):
        export_trials(searched, tmp_path / "out", top=2)


def test_a_trial_that_was_scored_in_part_is_exported_and_its_papers_say_so(
    searched: Search, tmp_path: Path
) -> None:
    outcome = searched.run()
    trial = next(t for t in outcome.trials if t.race_log is not None and t.scores is None)
    assert trial.race_log is not None and trial.candidate is not None
    seen = trial.race_log.partial.count
    (result,) = export_trials(searched, tmp_path / "out", number=trial.number)
    assert result.digest == trial.candidate.digest
    text = (result.folder / "README.md").read_text()
    assert f"trial {trial.number}, scored on {seen} search documents alone and not proved" in text
    assert f"n = {seen} |" in text
    assert "model-index" not in text  # a part of the documents is no score to compare by
    told = json.loads((result.folder / "lm_eval_results.json").read_text())
    assert told["n-samples"]["gsm8k"] == {"original": 64, "effective": seen}
    kept = json.loads((result.folder / "exme_scores.json").read_text())["merged"]
    assert len(kept["search"]["values"]) == seen and kept["report"] is None


def test_a_card_that_is_not_proved_does_not_call_its_model_an_input(
    searched: Search, tmp_path: Path
) -> None:
    outcome = searched.run()
    second = ranking(outcome.trials)[1]
    (result,) = export_trials(searched, tmp_path / "out", number=second.number)
    text = (result.folder / "README.md").read_text()
    assert "On the report documents: not proved." in text
    assert re.search(r"\| merged \| \d[^|]+\|  \|", text)


def test_results_are_what_lm_eval_writes(searched: Search) -> None:
    searched.run()
    merged = searched.outcome().merged
    assert merged is not None
    text = lm_eval_results(merged.report, searched.documents, model="best", seed=0)
    told = json.loads(text)
    (task,) = told["results"]
    values = merged.report.values
    assert told["results"][task] == {
        "name": task,
        "alias": task,
        "sample_len": 64,
        "exact_match,strict-match": pytest.approx(merged.report.mean),
        "exact_match_stderr,strict-match": pytest.approx(
            math.sqrt(merged.report.mean * (1 - merged.report.mean) / (len(values) - 1))
        ),
    }
    assert told["n-samples"][task] == {"original": 64, "effective": 64}
    assert told["higher_is_better"] == {task: {"exact_match": True}}
    assert set(told) >= {"versions", "n-shot", "config", "date"}


def test_the_hub_reads_the_scores_from_the_card(outcome: Any) -> None:
    text = card(outcome)
    data: Any = huggingface_hub.ModelCard(text).data  # its fields come from the card
    (found,) = data.eval_results
    assert (found.task_type, found.dataset_type) == ("text-generation", "gsm8k")
    assert (found.metric_type, found.metric_value) == ("exact_match", 0.8)
    assert data.base_model == ["someone/math", "folders/code"]
    assert front_matter(text)["base_model_relation"] == "merge"
    assert "convert_hf_to_gguf.py . --outfile merged.gguf --outtype bf16" in text


def test_a_card_for_the_hub_loads_from_the_repository(searched: Search, tmp_path: Path) -> None:
    searched.run()
    (result,) = export_trials(searched, tmp_path / "out", repository="me/merged")
    text = (result.folder / "README.md").read_text()
    assert text.count('from_pretrained("me/merged"') == 2
    assert "`vllm serve me/merged`" in text
    assert "--model_args pretrained=me/merged,dtype=bfloat16 --tasks gsm8k`" in text


CONVERTER = """\
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--outfile")
parser.add_argument("--outtype")
given = parser.parse_args()
if given.outtype == "f16":
    sys.exit("ModuleNotFoundError: No module named 'gguf'")
open(given.outfile, "w").write(open(given.model + "/config.json").read() + given.outtype)
"""


def test_an_export_is_converted_by_llama_cpps_converter_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "best"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LLAMA_CPP", raising=False)
    told = write_gguf(folder, "q8_0")
    made = folder / "best-q8_0.gguf"
    assert told.endswith(f"convert_hf_to_gguf.py {folder} --outfile {made} --outtype q8_0")
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))
    (tmp_path / "convert_hf_to_gguf.py").write_text(CONVERTER)
    assert write_gguf(folder, "q8_0").startswith(f"Wrote {made}")
    assert made.read_text() == "{}q8_0"
    with pytest.raises(UserError, match=r"failed \(ModuleNotFoundError: No module named 'gguf'\)"):
        write_gguf(folder, "f16")
    assert {path.name for path in folder.iterdir()} == {"config.json", "best-q8_0.gguf"}
    with pytest.raises(UserError, match="did you mean 'q8_0'"):
        write_gguf(folder, "q8")


class Hub:
    """Stands in for the hub: remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def create_repo(self, repository: str, **options: Any) -> str:
        if repository.startswith("someone-else/"):
            raise PermissionError("403 Forbidden: not yours\nmore")
        self.asked.append((repository, options))
        return f"https://example.org/{repository}"

    def upload_folder(self, **options: Any) -> None:
        self.asked.append(("upload", options))


@pytest.mark.parametrize("public", [True, False])
def test_an_export_is_pushed_whole_and_private_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: bool
) -> None:
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    (tmp_path / "exme_recipe.json").write_text("{}")
    assert push(tmp_path, "me/merged", public=public) == "https://example.org/me/merged"
    assert hub.asked[0] == ("me/merged", {"private": not public, "exist_ok": True})
    assert hub.asked[1][1]["folder_path"] == tmp_path
    assert hub.asked[1][1]["repo_id"] == "me/merged"
    with pytest.raises(UserError, match=r"not pushed to the hub \(403 Forbidden: not yours\)"):
        push(tmp_path, "someone-else/merged")


def test_what_is_no_export_is_not_pushed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no export"):
        push(tmp_path, "me/merged")
    (tmp_path / "exme_recipe.json").write_text("{}")
    with pytest.raises(UserError, match="expected owner/name"):
        push(tmp_path, "merged")
