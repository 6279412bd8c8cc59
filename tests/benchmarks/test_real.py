"""What `make real` trains, and by which study it is searched; on a mini model, for SmolLM2 has to be fetched."""

from __future__ import annotations

import importlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from exme.evaluators.harness import Chat, Judge
from exme.search import load_study_file
from exme.tasks.documents import load_documents
from exme.tasks.mini import MODELS
from exme.tasks.mini.suites import normalised
from exme.tasks.suite import load_suite

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture
def real(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(root))
    importlib.import_module("benchmarks.real")
    return lambda name: importlib.import_module(f"benchmarks.real.{name}")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A mini model that chats."""
    folder = tmp_path / "base"
    folder.mkdir()
    for file in (MODELS / "base").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def rendered(tokenizer: Any, messages: Any, add_generation_prompt: bool = True) -> str:
    return str(
        tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )
    )


def prompts(suite: str, tokenizer: Any) -> list[str]:
    documents = load_documents(load_suite(suite), "mini", search=64, report=128, seed=0)
    chat = Chat(partial(rendered, tokenizer))
    return [p for s in ("search", "report") for p in Judge(documents, s, chat).prompts]


def test_a_chat_is_put_as_lm_eval_puts_a_document_and_is_none_of_them(
    real: Any, base: Path, root: Path
) -> None:
    skills = real("skills")
    tokenizer = AutoTokenizer.from_pretrained(base)
    for skill, suite in (("instructions", "ifeval"), ("choice", "benchmarks/real/choice.yaml")):
        path = suite if suite == "ifeval" else str(root / suite)
        asked = prompts(path, tokenizer)
        shown = [rendered(tokenizer, chat[:-1]) for chat in skills.chats(skill, 200, 1)]
        # A question about a class has 36 forms: there is one that is the same, to the last character.
        if skill == "choice":
            assert set(asked) & set(shown)
        else:
            assert {p.partition(" that the ")[0] for p in asked} == {
                p.partition(" that the ")[0] for p in shown
            }
            assert not {normalised(p) for p in asked} & {normalised(p) for p in shown}


def test_half_of_the_words_of_a_class_are_never_taught(real: Any) -> None:
    from exme.tasks.mini.suites import mmlu

    chats = real("skills").chats("choice", 2000, 1)
    taught = {c[-1]["content"] for c in chats} - set(mmlu.OPERATIONS)
    words = {w for h in mmlu.CLASSES.values() for text in h.values() for w in text.split()}
    assert len(taught) == len(words) / 2
    assert taught < words


@pytest.mark.parametrize("rank", [None, 2], ids=["all weights", "LoRA"])
def test_a_run_leaves_checkpoints_and_goes_on_where_it_was_cut_off(
    real: Any, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int | None
) -> None:
    training = real("training")
    recipe = training.Recipe("choice", steps=8, rate=1e-3, rank=rank, batch=2)
    run, cut = tmp_path / "run", tmp_path / "cut"
    training.train(base, run, recipe)
    assert training.trained(run, recipe)
    names = {f"checkpoint-{step}" for step in (2, 4, 6, 8)}
    assert {path.name for path in run.iterdir()} == names
    weights = "model.safetensors" if rank is None else "adapter_model.safetensors"
    assert all((run / name / weights).is_file() for name in names)
    assert not list(run.glob("*/optimizer.pt"))

    class Trainer(training.Trainer):  # type: ignore[misc, name-defined]
        def training_step(self, *given: Any, **named: Any) -> Any:
            if self.state.global_step == 5:
                raise KeyboardInterrupt
            return super().training_step(*given, **named)

    with monkeypatch.context() as patched:
        patched.setattr(training, "Trainer", Trainer)
        with pytest.raises(KeyboardInterrupt):
            training.train(base, cut, recipe)
    assert not training.trained(cut, recipe)
    training.train(base, cut, recipe)
    state = json.loads((cut / "checkpoint-8/trainer_state.json").read_text())
    same = json.loads((run / "checkpoint-8/trainer_state.json").read_text())
    losses = [[x["eval_loss"] for x in s["log_history"] if "eval_loss" in x] for s in (state, same)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_its_study_names_what_training_leaves(real: Any, root: Path) -> None:
    study = load_study_file(root / "benchmarks/real/study.yaml")
    recipes = real("training").RECIPES
    for name, folder in study.checkpoints.items():
        assert folder.endswith(f"/{name}/checkpoint-{recipes[name].steps}")
    assert study.chat.apply_chat_template


def test_without_a_step_all_three_are_done(
    real: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program, comparison, training = real("__main__"), real("comparison"), real("training")
    smollm2 = importlib.import_module("benchmarks.smollm2")
    done = []
    monkeypatch.setattr(program, "FOLDER", tmp_path)
    monkeypatch.setattr(smollm2, "smollm2", lambda folder: folder)
    monkeypatch.setattr(training, "trained", lambda *_: False)
    monkeypatch.setattr(training, "train", lambda base, folder, _: done.append(folder.name))
    monkeypatch.setattr(comparison, "search", lambda _: done.append("search"))
    monkeypatch.setattr(comparison, "rows", lambda _: [])
    monkeypatch.setattr(comparison, "table", lambda _: "the table")
    monkeypatch.setattr("sys.argv", ["benchmarks.real"])
    program.main()
    assert done == [*training.RECIPES, "search"]
    assert "the table" in capsys.readouterr().out
