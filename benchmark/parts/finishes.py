"""Finishes: what is done to a model at the very end, when nothing is trained any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.steps import Step

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
