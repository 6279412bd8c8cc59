"""Every suite's score by ExMe and by lm-eval alone, on the same documents: `exme verify` over all of them.

    python benchmarks/suites.py [--data FOLDER] [--model FOLDER]

One table: the three mini models and a model of yours, on the mini data and on real data (JSON lines in FOLDER). Answers on real
data are cut at --max-gen-toks: small models ramble on to any limit. ifeval needs NLTK_DATA where punkt_tab is not installed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from exme.search.cli.verify import verify_study
from exme.tasks.mini import MODEL_NAMES
from exme.tasks.suite import suite_names

MINI = {"base": "mini/base", "checkpoints": {"sums": "mini/sums", "products": "mini/products"}}


def rows(content: dict[str, Any], model: str, label: str, data: str) -> Iterator[str]:
    """The table's rows of one model on all suites."""
    study = {"run_generated_code": True, "batch_size": 32, **content}
    for suite in study["suites"]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "study.yaml"
            path.write_text(yaml.safe_dump(study))
            (found,) = verify_study(path, suite, model, None, Path(folder) / "runs")
        same = found.count - len(found.differing)
        yield (
            f"| {data} | {label} | {suite} | {found.count} | {found.ours:.3f} | {found.theirs:.3f} | "
            f"{same} of {found.count} | {found.our_seconds:.1f} | {found.their_seconds:.1f} |"
        )


def main() -> None:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with the real data of the suites")
    parser.add_argument("--model", help="folder of a model of yours")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--max-gen-toks", type=int, default=32, help="on real data")
    parser.add_argument("--mini-models", nargs="*", choices=MODEL_NAMES, default=MODEL_NAMES)
    parser.add_argument("--suites", nargs="*", default=suite_names(), help="all by default")
    parser.add_argument("--only-real", action="store_true", help="leave the mini data out")
    options = parser.parse_args()
    few = {"documents": {"search": options.documents, "report": 1}, "suites": options.suites}
    kinds: dict[str, dict[str, Any]] = (
        {} if options.only_real else {"mini": {**few, "data": "mini"}}
    )
    if options.data is not None:
        folder = str(Path(options.data).resolve())
        kinds["real"] = {**few, "data": folder, "max_gen_toks": options.max_gen_toks}
    print("| data | model | suite | documents | ours | lm-eval | equal | s, ours | s, lm-eval |")
    print(f"|{'---|' * 9}")
    for data, content in kinds.items():
        for name in options.mini_models:
            for row in rows({**MINI, **content}, name, f"mini/{name}", data):
                print(row, flush=True)
        if options.model is not None:
            model = Path(options.model).resolve()
            with tempfile.TemporaryDirectory() as same:  # (a study names no folder twice)
                for file in model.iterdir():
                    (Path(same) / file.name).symlink_to(file)
                own = {"base": str(model), "checkpoints": {"same": same}, "method": "expo"}
                for row in rows({**own, **content}, "base", model.name, data):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
