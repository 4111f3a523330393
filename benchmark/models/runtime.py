"""What computes a model where that is not torch: data in its config (``runtime``), which any reader may check.

The checkpoint of such a model is that of the torch model. onnxruntime reads pages from graphs that are made of it
(`benchmark.models.onnx_reader`); weights, multiply-accumulates and features are asked of the torch model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from torch import nn

from benchmark.models.quantized import int8_layers
from benchmark.types import Precision

if TYPE_CHECKING:
    from benchmark.models.donut import Donut

_NAME = "onnxruntime"


def runtime_of(model: nn.Module) -> Precision | None:
    """The precision in which onnxruntime computes it; None if torch does."""
    runtime = getattr(getattr(model, "config", None), "runtime", None)
    return runtime["precision"] if runtime else None


def set_runtime(model: Donut, precision: Precision) -> None:
    """Let onnxruntime compute this model, in place. Raises `ValueError` as `check_runtime`."""
    runtime = {"name": _NAME, "precision": precision}
    check_runtime(model, runtime)
    model.config.runtime = runtime


def check_runtime(model: nn.Module, runtime: Any) -> None:
    """`ValueError` for a config that names no runtime that there is, or one that cannot compute the model."""
    if runtime is None:
        return
    if not isinstance(runtime, Mapping) or {*runtime} != {"name", "precision"} or runtime["name"] != _NAME:
        raise ValueError(f"its config has {runtime!r:.60} for runtime, and not {_NAME} with a precision")
    if runtime["precision"] not in get_args(Precision):
        raise ValueError(
            f"its config has the precision {runtime['precision']!r:.60}, not {' or '.join(get_args(Precision))}"
        )
    if int8_layers(model):
        raise ValueError(f"its linear layers are torch's int8 ones, which {_NAME} cannot compute")


def reads_alone(model: nn.Module) -> bool:
    """Whether documents that are read together change each other's rounding, so that it reads one at a time."""
    return bool(int8_layers(model)) or runtime_of(model) == "int8"
