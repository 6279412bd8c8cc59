"""What a config.json says of a model by its effective values: defaults of its class included.

Two models with the same weights answer alike only where these agree: a checkpoint is merged, and scored,
with the base's settings.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from exme.tasks import UserError

# Settings that leave logits as they are: names, special tokens, training, what a call gives back, and what
# the tensors' shapes say already.
_HARMLESS = re.compile(
    r"""architectures | auto_map | _?name_or_path | transformers_version | (torch_)?dtype | _commit_hash
    | use_cache | return_dict | output_\w+ | problem_type | num_labels | id2label | label2id
    | (bos|eos|pad|sep|cls|mask|unk|decoder_start)_token_id
    | \w*dropout\w* | \w*_pdrop | layerdrop | gradient_checkpointing | pretraining_tp
    | init\w* | \w*initializer\w* | router_(aux_loss|z_loss|jitter)\w* | \w*aux_loss\w*
    | summary_\w+ | task_specific_params | chunk_size_feed_forward
    | vocab_size | max_position_embeddings | max_seq_len | max_window_layers""",
    re.VERBOSE,
)
# Rotary embeddings of these kinds reckon with the length of the context.
_BY_LENGTH = ("dynamic", "longrope")
# Activations that are the same function, by another name.
_ALIASES = {"swish": "silu", "gelu_python": "gelu"} | dict.fromkeys(
    ("gelu_new", "gelu_fast", "gelu_accurate"), "gelu_pytorch_tanh"
)
# Settings of classes that read them where a config.json brings them, and have no default.
_OPTIONAL = ("head_dim", "sliding_window", "attention_chunk_size", "partial_rotary_factor")


def effective(config: Mapping[str, Any], *, who: str) -> dict[str, Any]:
    """All settings as transformers takes them; config.json as it is where transformers has no such class.

    Args:
        who: what error messages call the model.

    Raises:
        UserError: transformers cannot read it.
    """
    kind = _class_of(config)
    if kind is None:
        return dict(config)
    try:
        found: dict[str, Any] = kind.from_dict(copy.deepcopy(dict(config))).to_dict()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  (whatever a setting makes of the class's checks)
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"{who}: transformers cannot read its config.json ({reason})") from None
    return found


def differences(
    base: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    """Settings that decide what weights mean and differ: dotted name, the base's value, the other's.

    Args:
        base: effective settings of the base.
        other: of a checkpoint.
    """
    kinds = [settings.get("model_type") for settings in (base, other)]
    if None not in kinds and kinds[0] != kinds[1]:
        yield "model_type", kinds[0], kinds[1]
        return
    known = _defaults(base) if _class_of(other) is not None else base.keys() & other.keys()
    ours, theirs = _flat(base), _flat(other)
    for key in sorted(ours.keys() | theirs.keys()):
        top, last = key.partition(".")[0], key.rpartition(".")[2]
        if top not in known and top not in _OPTIONAL:
            continue  # nothing reads it
        if _HARMLESS.fullmatch(last) and not _counts(last, ours, theirs):
            continue
        if not _means_the_same(key, base, ours.get(key), theirs.get(key)):
            yield key, ours.get(key), theirs.get(key)


def _means_the_same(key: str, base: Mapping[str, Any], ours: Any, theirs: Any) -> bool:
    """Whether two values of a setting are one: by another name, or by what is taken where there is none."""
    if ours == theirs:
        return True
    if key == "head_dim" and None in (ours, theirs):
        width, heads = base.get("hidden_size"), base.get("num_attention_heads")
        return bool(width and heads and (ours or theirs) * heads == width)
    return bool(_ALIASES.get(str(ours), ours) == _ALIASES.get(str(theirs), theirs))


def _counts(setting: str, *settings: Mapping[str, Any]) -> bool:
    """Whether the length of the context matters to one of two models."""
    kinds = (v for s in settings for k, v in s.items() if k.endswith("rope_type"))
    return setting == "max_position_embeddings" and any(kind in _BY_LENGTH for kind in kinds)


def _class_of(config: Mapping[str, Any]) -> Any:
    """transformers' class of settings; None where it knows none."""
    from transformers import CONFIG_MAPPING  # noqa: PLC0415  (slow)

    kind = config.get("model_type")
    return CONFIG_MAPPING[kind] if isinstance(kind, str) and kind in CONFIG_MAPPING else None


def _defaults(settings: Mapping[str, Any]) -> set[str]:
    """Names of the settings that a model's class has."""
    try:
        return set(_class_of(settings)().to_dict())
    except Exception:  # noqa: BLE001  (a class without defaults)
        return set(settings)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key == "type" and "rope_type" in settings:
            continue  # (its former name)
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found
