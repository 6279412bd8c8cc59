"""A random Llama of real widths and two fine-tunes of it, for measurements where no weights are at hand.

    python benchmarks/random_llama.py FOLDER [--layers 8] [--tokenizer FOLDER]

writes FOLDER/base, FOLDER/gsm and FOLDER/math in bfloat16: the names that benchmarks/vllm.py reads. The answers mean
nothing; the bytes, the kernels and the agreement of two ways to the same answer do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from exme.search.merging.sources.location import locate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=4096)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(locate("mini/base", who="base"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden,
        intermediate_size=options.hidden * 7 // 2,
        num_hidden_layers=options.layers,
        num_attention_heads=options.hidden // 128,
        num_key_value_heads=max(1, options.hidden // 512),
        head_dim=128,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    noise = torch.Generator(device=device).manual_seed(1)
    base = {key: value.clone() for key, value in model.state_dict().items()}
    for name in ("base", "gsm", "math"):
        if name != "base":
            model.load_state_dict(base)
            with torch.no_grad():
                for parameter in model.parameters():
                    step = torch.randn(
                        parameter.shape, generator=noise, device=device, dtype=parameter.dtype
                    )
                    parameter.add_(step, alpha=2e-3)
        model.save_pretrained(options.folder / name)
        tokenizer.save_pretrained(options.folder / name)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e9:.2f} billion parameters each")


if __name__ == "__main__":
    main()
