"""What mergekit makes of small random models: the golden files that our methods are held against.

    python benchmarks/mergekit_golden.py --environment ~/mergekit-environment

makes the environment with mergekit 0.1.5 where it is not there yet (it must not share ours: mergekit
pins versions of its own), runs every configuration below on random Llama and Qwen2 models in float32,
and writes inputs and outputs to tests/search/merging/methods/golden/mergekit-<kind>.safetensors. The configurations
go into the same files, as metadata.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

VERSION = "0.1.5"
GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "search" / "merging" / "methods" / "golden"
NAMES = ("base", "math", "code", "chat")
SIZES: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
}


def configurations() -> dict[str, dict[str, Any]]:
    """Each: mergekit's method, weights by checkpoint, parameters, and ours by the same names.

    `ours` holds coefficients, method and parameters of our candidate.
    """
    found: dict[str, dict[str, Any]] = {}

    def add(
        method: str,
        ours: str,
        weights: dict[str, float],
        shared: dict[str, Any],
        each: dict[str, float],
    ) -> None:
        number = sum(name.startswith(f"{ours}-") for name in found) + 1
        scale = float(shared.get("lambda", 1.0))
        total = sum(weights.values())
        mean = method == "linear" or shared.get("normalize", method in ("ties", "della"))
        coefficients = {n: scale * w / (total if mean else 1.0) for n, w in weights.items()}
        found[f"{ours}-{number}"] = {
            "mergekit": {"merge_method": method, "parameters": shared},
            "models": {n: {"weight": w, **each} for n, w in weights.items()},
            "ours": {"method": ours, "coefficients": coefficients, "parameters": each},
        }

    pair, three = {"math": 1.0, "code": 1.0}, {"math": 0.5, "code": 0.3, "chat": 0.2}
    uneven = {"math": 0.6, "code": 0.2}  # normalised, four decimals say it: ours have no more
    for weights in (pair, three, {"math": 0.3, "code": 0.9}):
        add("linear", "linear", weights, {}, {})
    for weights in (
        uneven,
        three,
        {"math": 1.3, "code": 0.4},
        {"math": -0.4, "code": 1.2, "chat": 0.9},
    ):
        add("task_arithmetic", "task_arithmetic", weights, {}, {})
    add("task_arithmetic", "exme", pair, {"lambda": 0.4}, {})
    for weights in (pair, uneven, three):
        for density, scale in ((0.2, 1.0), (0.5, 1.7), (1.0, 0.6)):
            add("ties", "ties", weights, {"lambda": scale}, {"density": density})
    for density, gamma in ((0.5, 0.125), (0.25, 0.25), (0.75, 0.0)):
        add("breadcrumbs", "breadcrumbs", three, {}, {"density": density, "gamma": gamma})
    add("dare_linear", "dare_linear", uneven, {}, {"density": 1.0})
    add("dare_ties", "dare_ties", three, {"normalize": True, "lambda": 1.2}, {"density": 1.0})
    add("della", "della", three, {"lambda": 1.0}, {"density": 1.0, "epsilon": 0.0})
    for weights in (pair, {"math": 1.0, "code": 1.0, "chat": 1.0}):
        add("model_stock", "model_stock", weights, {}, {})
        made = list(found.values())[-1]
        made["ours"]["coefficients"] = dict.fromkeys(weights, 1 / len(weights))
        made["ours"]["parameters"] = {"stock": 1.0}
        made["models"] = {name: {} for name in weights}
    for t in (0.25, 0.5, 0.9):
        found[f"slerp-{t}"] = {
            "mergekit": {"merge_method": "slerp", "parameters": {"t": t}},
            "models": {"math": {}, "code": {}},
            "ours": {
                "method": "slerp",
                "coefficients": {"math": 1 - t, "code": t},
                "parameters": {},
                "base": "zero",  # mergekit interpolates about the origin
            },
        }
    for kind, value in (("attn", 0.2), ("layers.1.", 1.4)):
        weights = [{"filter": kind, "value": value}, {"value": 0.6}]  # type: ignore[assignment]
        found[f"groups-{kind}"] = {
            "mergekit": {"merge_method": "task_arithmetic", "parameters": {}},
            "models": {name: {"weight": weights} for name in ("math", "code")},
            "ours": {
                "method": "task_arithmetic",
                "parameters": {},
                "groups": {"patterns": {"special": [f"*{kind}*"]}},
                "grouped": {
                    "special": {"math": value, "code": value},
                    "rest": {"math": 0.6, "code": 0.6},
                },
                "coefficients": {},
            },
        }
    return found


def make_models(kind: str, folder: Path) -> None:
    """A random base and three fine-tunes of it, float32."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config  # noqa: PLC0415

    config = {"llama": LlamaConfig, "qwen2": Qwen2Config}[kind](**SIZES)
    generator = torch.Generator().manual_seed(0)
    base: dict[str, Any] = {}
    for name in NAMES:
        model = AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                if name == "base":
                    base[parameter_name] = noise * 0.3
                    parameter.copy_(base[parameter_name])
                else:
                    parameter.copy_(base[parameter_name] + noise * 0.05)
        model.save_pretrained(folder / name)


def run_inside(kind: str, out: Path) -> None:
    """In mergekit's environment: make the models, merge them, write the golden file."""
    from mergekit.config import MergeConfiguration  # noqa: PLC0415
    from mergekit.merge import MergeOptions, run_merge  # noqa: PLC0415
    from safetensors.torch import load_file, save_file  # noqa: PLC0415

    tensors: dict[str, Any] = {}
    plans = configurations()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_models(kind, folder)
        for name in NAMES:
            found = load_file(folder / name / "model.safetensors")
            tensors |= {f"{name}|{tensor}": value for tensor, value in found.items()}
        for title, plan in plans.items():
            content = {
                **plan["mergekit"],
                "base_model": str(folder / "base"),
                "models": [
                    {"model": str(folder / name), "parameters": parameters}
                    for name, parameters in plan["models"].items()
                ],
                "dtype": "float32",
            }
            if content["merge_method"] == "linear":
                del content["base_model"]
            if content["merge_method"] == "slerp":
                content["base_model"] = str(folder / "math")
            merged = folder / "merged" / title
            run_merge(
                MergeConfiguration.model_validate(content),
                str(merged),
                options=MergeOptions(copy_tokenizer=False, device="cpu", quiet=True),
            )
            found = load_file(merged / "model.safetensors")
            tensors |= {f"{title}|{tensor}": value for tensor, value in found.items()}
    ours = {title: plan["ours"] for title, plan in plans.items()}
    metadata = {"mergekit": VERSION, "ours": json.dumps(ours)}
    save_file(tensors, out / f"mergekit-{kind}.safetensors", metadata=metadata)


def main() -> None:
    """Make the environment, and the golden files in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environment", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=GOLDEN)
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        run_inside(options.inside, options.out)
        return
    python = options.environment.expanduser() / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"mergekit=={VERSION}"], check=True
        )
    options.out.mkdir(parents=True, exist_ok=True)
    for kind in ("llama", "qwen2"):
        command = [python, __file__, "--environment", options.environment, "--out", options.out]
        subprocess.run([*command, "--inside", kind], check=True)
        print(f"{options.out / f'mergekit-{kind}.safetensors'}")


if __name__ == "__main__":
    sys.exit(main())  # type: ignore[func-returns-value]
