"""Finishes: what is done to a model at the very end, when nothing is trained any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.slicing.options import check_choice
from benchmark.steps import Step
from benchmark.types import Precision

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Int8:
    """Every linear layer but the head in int8, its inputs quantized as they come (`benchmark.models.quantized`)."""

    steps: ClassVar[tuple[Step, ...]] = ("quantize",)

    def __call__(self, model: VisionEncoderDecoderModel) -> VisionEncoderDecoderModel:
        from benchmark.models.donut import Donut
        from benchmark.models.quantized import quantize

        assert isinstance(model, Donut)
        quantize(model)
        return model

    def __str__(self) -> str:
        return "int8 linear layers"


@dataclass(frozen=True, slots=True)
class OnnxRuntime:
    """onnxruntime reads for the model, linear layers in floats or in int8 (`benchmark.models.onnx_graphs`).

    Nothing of the model changes but its config. Raises `UserError` if the extra ``onnx`` is not installed.
    """

    precision: Precision = "fp32"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")

    def __post_init__(self) -> None:
        check_choice("precision of onnxruntime", self.precision, Precision)

    def __call__(self, model: VisionEncoderDecoderModel) -> VisionEncoderDecoderModel:
        from benchmark.models.donut import Donut
        from benchmark.models.onnx_graphs import check_installed
        from benchmark.models.runtime import set_runtime

        check_installed()
        assert isinstance(model, Donut)
        set_runtime(model, self.precision)
        return model

    def __str__(self) -> str:
        return f"onnxruntime in {self.precision}"
