"""Constraints: what must hold of a model while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.models.pruning import Mask
    from benchmark.types import Span


@dataclass(frozen=True, slots=True)
class FixedMask:
    """Weights that are zero at the start stay zero (paper, section 2.2).

    They are zeroed again after every optimizer step: masking gradients alone lets Adam's momentum revive them.
    """

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Mask:
        from benchmark.models.pruning import Mask

        return Mask(model)

    def __str__(self) -> str:
        return "fixed mask"
