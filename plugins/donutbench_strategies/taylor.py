"""Taylor: a weight counts by what the loss would change without it (Molchanov et al. 2019, section 3.1, equation 8).

To first order that is weight x gradient; its square is averaged over documents, each with its own gradient: over all
together those of a trained model cancel out. The paper scores whole filters by the sum over their weights; here
each weight is scored by itself and all are compared, at once and not over many steps. The loss is the cross-entropy.
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
class Taylor(Calibrated):
    """The mean over documents of (weight x gradient)^2."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        import torch

        from benchmark import gradients, prunable

        weights = {name: weight.detach() for name, weight in prunable(model).items()}
        scores = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        calibration = self.calibration(references)
        for gradient in gradients(model, calibration):
            for name, weight in weights.items():
                scores[name] += (weight * gradient[name]).square() / len(calibration.labels)
        return scores

    def __str__(self) -> str:
        return "Taylor"


ALONE = Strategy(
    name="taylor",
    summary="weights pruned by what the loss changes without them, nothing trained",
    start=pruned(Taylor()),
    paper="Molchanov et al. 2019, section 3.1",
    protocols=("task",),
)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield ALONE
    yield replace(
        ALONE,
        name="taylor-distill",
        summary="weights pruned by what the loss changes without them, then distilled under the mask",
        objective=FeatureDistillation(temperature=2.0),
        constraint=FixedMask(),
    )
