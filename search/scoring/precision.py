"""Which engine, device and dtypes a study is scored with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from exme.evaluators.vllm import check_installed, check_model, why_not_installed, why_not_supported
from exme.search.merging import SPREAD, pick_device
from exme.search.study import StudyFile, measure_of_ones_own
from exme.tasks import UserError


@dataclass(frozen=True)
class Precision:
    """Dtypes and device of a study, as torch names them, and its engine.

    Attributes:
        dtype: what weights are rounded to and exported in.
        compute: what the model computes in; never narrower than `dtype`, so that what is exported
            is what was scored.
        engine: that answers: ``vllm``, or what `LocalModel` makes of the study.
    """

    dtype: str
    compute: str
    device: str
    engine: str = "auto"


@dataclass(frozen=True)
class EngineChoice:
    """The engine that answers, and why this one."""

    name: Literal["fast", "stock", "vllm"]
    why: str


def choose_engine(study: StudyFile, config: Mapping[str, Any]) -> EngineChoice:
    """The engine that a study asks for, or the one that suits this machine and model.

    Raises:
        UserError: the engine cannot be used here.
    """
    if measure_of_ones_own(study.measure):
        if study.engine == "vllm":
            raise UserError(
                f"measure: '{study.measure}' asks the model itself, which vLLM's workers hold; use `engine: auto`"
            )
        return EngineChoice("stock", "the measure asks the model itself")
    if study.engine == "vllm":
        check_installed()
        check_model(config, study.vllm)
        return EngineChoice("vllm", "as the study says")
    if study.engine != "auto":
        return EngineChoice(study.engine, "as the study says")
    if pick_device(study.device).type == "cpu":
        return EngineChoice("fast", "the device is a CPU")
    reason = "the model is spread" if study.device == SPREAD else why_not_installed()
    reason = reason or why_not_supported(config)
    if reason:
        return EngineChoice("stock", reason)
    check_model(config, study.vllm)
    return EngineChoice("vllm", "there is a GPU, and vLLM knows the model")


def settle_precision(study: StudyFile, base_dtype: str, engine: str = "auto") -> Precision:
    """Fill in what the study leaves to us.

    Args:
        base_dtype: dtype that the base's weights are stored in.
        engine: that was chosen; `vllm` has a dtype of its own.
    """
    device = pick_device(study.device)
    dtype: str = base_dtype if study.dtype == "auto" else study.dtype
    compute: str = study.compute_dtype
    if engine == "vllm" and study.vllm.dtype != "auto":
        compute = study.vllm.dtype
    if compute == "auto":
        # bfloat16 arithmetic is emulated on most CPUs, and float32 gives the same answers at any
        # batch size.
        compute = "float32" if device.type == "cpu" else dtype
    if getattr(torch, compute).itemsize < getattr(torch, dtype).itemsize:
        dtype = compute
    return Precision(dtype, compute, str(device), engine)
