"""One pass of many rows through the model. Knows which token attends to which; not what is decoded, nor what an answer is."""

from .compiled import kernel
from .passes import forward, shared_prefix_attention

__all__ = ["forward", "kernel", "shared_prefix_attention"]
