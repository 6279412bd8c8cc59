"""A real model and real training runs: SmolLM2-135M-Instruct, fine-tuned here, searched, and compared with what else one could do.

Knows ExMe as a user does, and transformers' own Trainer; is no part of the package. `python -m benchmarks.real --help`.
"""
