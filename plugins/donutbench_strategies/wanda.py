"""Wanda: a weight counts by its size times the norm of what it is given (Sun et al. 2024, section 3, equation 1).

|W_ij| x ||X_j||, X_j the input j in all rows of calibration documents: of one weight alone, its square is what the
output's squared error grows by without it. Weights are compared with those of the same output, and nothing else is
changed. A kernel, that of the patches, is the matrix that it is on unfolded pages; the means over rows stand for the
norms, which are the same but for a factor of each layer. Documents are 32 of the data set's own, where the paper has
128 passages of plain text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmark import Calibrated, FeatureDistillation, FixedMask, References, Strategy, hookimpl, pruned

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel


@dataclass(frozen=True, slots=True)
class Wanda(Calibrated):
    """The size of a weight times the norm of its input."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        from benchmark import mean_squares, prunable

        weights = prunable(model)
        return {
            name: (weights[name].detach().flatten(1).abs() * square.sqrt()).view_as(weights[name])
            for name, square in mean_squares(model, self.calibration(references)).items()
        }

    def __str__(self) -> str:
        return "Wanda"


ALONE = Strategy(
    name="wanda",
    summary="weights pruned by size times the norm of their inputs, nothing trained",
    start=pruned(Wanda(), allocation="rows"),
    paper="Sun et al. 2024, section 3",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="wanda-distill",
        summary="weights pruned by size times the norm of their inputs, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
