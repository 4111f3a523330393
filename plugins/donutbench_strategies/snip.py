"""SNIP: a weight counts by how the loss of one batch turns on its connection (Lee et al. 2019, section 4.1).

|weight x gradient|, the gradient that of all calibration documents together. The paper prunes before training, where
gradients are large and of one sign; here, as every row, it prunes the trained teacher, whose gradients nearly
cancel out over a batch: what that costs is read against `taylor`, which squares before it adds up. Dividing by the
sum of all scores, as the paper does, changes no order and is left out; each document counts the same, however long.
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
class Snip(Calibrated):
    """|weight x the gradient of all documents together|: connection sensitivity."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        import torch

        from benchmark import gradients, prunable

        weights = {name: weight.detach() for name, weight in prunable(model).items()}
        sums = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for gradient in gradients(model, self.calibration(references)):
            for name, total in sums.items():
                total += gradient[name]
        return {name: (weight * sums[name]).abs() for name, weight in weights.items()}

    def __str__(self) -> str:
        return "SNIP"


ALONE = Strategy(
    name="snip",
    summary="weights pruned by their connection sensitivity on one batch, nothing trained",
    start=pruned(Snip()),
    paper="Lee et al. 2019, section 4.1",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="snip-distill",
        summary="weights pruned by their connection sensitivity, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
