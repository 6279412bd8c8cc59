"""What a page takes for granted and a test has not: the hub's models, adapters, checkpoints, data."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from exme.tasks.documents import MINI_DATA
from exme.tasks.mini import MODELS
from exme.tasks.suite import load_suite
from tests.helpers.models.training_runs import make_training_run

# Models of the hub that pages name, and the mini model that stands in for each.
HUB = {
    "Qwen/Qwen2.5-0.5B": "base",
    "Qwen/Qwen2.5-0.5B-Instruct": "sums",
    "meta-llama/Llama-3.1-8B": "base",
}
_COMMIT = "0" * 40


def fill_hub_cache(home: Path) -> None:
    """Put models where an offline `huggingface_hub` looks for them, below HF_HOME."""
    for name, mini in HUB.items():
        place = home / "hub" / f"models--{name.replace('/', '--')}"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text(_COMMIT, encoding="utf-8")
        shutil.copytree(MODELS / mini, place / "snapshots" / _COMMIT)


def make_adapter(folder: Path, seed: int) -> None:
    """A random LoRA adapter of the mini base, saved by peft."""
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model: Any = AutoModelForCausalLM.from_pretrained(MODELS / "base", dtype=torch.float32)
    settings = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "down_proj"])
    wrapped = peft.get_peft_model(model, settings)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.add_(0.01 * torch.randn(parameter.shape))
    wrapped.save_pretrained(str(folder))


def make_samples(folder: Path, right: float) -> None:
    """A model's answers to eight documents as lm-eval's `--log_samples` writes them."""
    folder.mkdir(parents=True)
    lines = [
        {"doc_id": n, "doc_hash": str(n), "filter": "none", "metrics": ["acc"], "acc": right}
        for n in range(8)
    ]
    text = "\n".join(map(json.dumps, lines))
    (folder / "samples_shop_2026-11-30T12-00-00.000001.jsonl").write_text(text, encoding="utf-8")


def furnish(folder: Path) -> None:
    """Make the files of the reader's own that pages name."""
    make_mergekit(folder / "mergekit-environment")
    for seed, name in enumerate(("math", "code")):
        make_adapter(folder / "adapters" / name, seed)
    shutil.copytree(MODELS / "products", folder / "checkpoints" / "my-sft")
    make_training_run(folder / "runs" / "my-sft", (0.4, 0.8, 1.2))
    for name, right in (("one", 1.0), ("other", 0.0)):
        make_samples(folder / "lm-eval-out" / name / "model", right)
    (folder / "merge.yml").write_text(
        "merge_method: task_arithmetic\nbase_model: mini/base\n"
        "models: [{model: mini/sums, parameters: {weight: 0.7}}]\n",
        encoding="utf-8",
    )
    _first_lines(MINI_DATA / "gsm8k", folder / "data" / "gsm8k", 40)


def fill_shared(folder: Path) -> None:
    """Stand in for the folder of real data and models that is no part of the project.

    The documents are those of the mini suites, under the names that the real suites ask for.
    """
    for suite in ("gsm8k", "humaneval", "mbpp"):
        _first_lines(MINI_DATA / suite, folder / "data" / suite, 200)
    subjects = [s for s in load_suite("bbh").lm_eval_tasks.values() if s is not None]
    for subject in subjects[:4]:  # as many as the benchmarks take
        place = folder / "data" / "bbh" / subject
        _first_lines(MINI_DATA / "bbh" / "object_counting", place, 60)
    (folder / "data" / "nltk_data").mkdir()
    shutil.copytree(MODELS / "base", folder / "models" / "stories260K")


def _first_lines(source: Path, target: Path, count: int) -> None:
    target.mkdir(parents=True)
    for file in source.glob("*.jsonl"):
        with file.open(encoding="utf-8") as lines:
            text = "".join(itertools.islice(lines, count))
        (target / file.name).write_text(text, encoding="utf-8")


def lead_elsewhere(folder: Path, clone: Path) -> None:
    """A folder for PYTHONPATH: a pip-audit that reads no database, and the clone's own modules as `exme`.

    The commands that need the latter write into the package, which otherwise is that of the tests.
    """
    (folder / "exme").mkdir(parents=True)
    for name in ("search", "evaluators", "tasks", "studies"):
        (folder / "exme" / name).symlink_to(clone / name)
    asked = "import sys; print('asked of pip-audit:', *sys.argv[1:])\n"
    (folder / "pip_audit.py").write_text(asked, encoding="utf-8")


# mergekit's pins exclude ours, so its environment is one of its own: here one that writes a file of the result's name.
_MERGEKIT = {
    "__init__": "",
    "config": "class MergeConfiguration:\n    model_validate = staticmethod(lambda content: content)\n",
    "io/tensor_writer": "class TensorWriter:\n    pass\n",
    "merge": """\
from pathlib import Path

MergeOptions = dict


def run_merge(config, out, options):
    assert config["merge_method"] == "task_arithmetic" and len(config["models"]) == 2, config
    assert options["device"] == "cpu", options
    Path(out).mkdir()
    (Path(out) / "model.safetensors").write_text("")
""",
}


def make_mergekit(environment: Path) -> None:
    """An environment that has a package of mergekit's name and of the few names that are used of it."""
    packages = environment / "packages"
    for name, text in _MERGEKIT.items():
        file = packages / "mergekit" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    python = environment / "bin" / "python"
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={packages} exec {sys.executable} "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)


class Hub:
    """Stands in for the hub's `HfApi`: writes down, in the current folder, what was uploaded."""

    def create_repo(self, repository: str, **options: Any) -> str:
        Path("pushed.json").write_text(json.dumps([repository, options]), encoding="utf-8")
        return f"https://example.org/{repository}"

    def upload_folder(self, **options: Any) -> None:
        asked = json.loads(Path("pushed.json").read_text(encoding="utf-8"))
        files = sorted(path.name for path in Path(options["folder_path"]).iterdir())
        Path("pushed.json").write_text(json.dumps([*asked, files]), encoding="utf-8")
