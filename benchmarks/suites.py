"""Every suite's score by ExMe and by lm-eval alone, on the same documents: `exme verify` over all of them.

    python benchmarks/suites.py --data FOLDER --model FOLDER

Three tables: the mini models on the mini data, the mini models on real data, and a model of yours on real data. Answers are cut at
--max-gen-toks on real data: small models ramble on to any limit.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml

from exme.search.verify import table, verify_study
from exme.tasks.suite import load_suite, suite_names

MINI = {"base": "mini/base", "checkpoints": {"sums": "mini/sums", "products": "mini/products"}}


def verified(content: dict[str, Any], suites: list[str], documents: int, model: str) -> str:
    """The table of one study on these suites."""
    study = {"suites": suites, "run_generated_code": True, "batch_size": 16, **content}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        path.write_text(yaml.safe_dump(study))
        return table(verify_study(path, "all", model, documents, Path(folder) / "runs"))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with the real data of the suites")
    parser.add_argument("--model", help="folder of a model to judge on them")
    parser.add_argument("--documents", type=int, default=40)
    parser.add_argument("--max-gen-toks", type=int, default=96)
    options = parser.parse_args()
    mini = [name for name in suite_names() if load_suite(name).mini]
    few = {"documents": {"search": options.documents, "report": 1}}
    print("\nmini model `sums`, mini data\n")
    print(verified({**MINI, **few, "data": "mini"}, mini, options.documents, "sums"), flush=True)
    if options.data is None:
        return
    real = {**few, "data": str(Path(options.data).resolve()), "max_gen_toks": options.max_gen_toks}
    print("\nmini model `sums`, real data\n")
    print(verified({**MINI, **real}, suite_names(), options.documents, "sums"), flush=True)
    if options.model is None:
        return
    folder = str(Path(options.model).resolve())
    own = {"base": folder, "checkpoints": {"same": folder}, "method": "expo"}
    print(f"\n{Path(folder).name}, real data\n")
    print(verified({**own, **real}, suite_names(), options.documents, "base"), flush=True)


if __name__ == "__main__":
    main()
