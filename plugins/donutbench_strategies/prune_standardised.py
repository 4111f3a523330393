"""Logit standardisation: the student follows the teacher's logits up to a shift and a scale of each token's own.

Sun et al. 2024, section 4: before they are softened, the logits z of a token become (z - mean) / standard deviation, on
both sides, so that a small student need not reach the size of the teacher's. The cross-entropy sees the student's
logits as they are. The weights and T are those of `prune-logits`, so that only this differs; the paper weighs the
distillation nine times as much as there, and says that it may. Standardised logits of a whole vocabulary are softer the
larger it is: with the 57,525 tokens of DONUT a T below 2 is worth a try.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import CrossEntropy, FixedMask, LogitDistillation, Outputs, Strategy, hookimpl, magnitude_pruned

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class StandardisedDistillation(LogitDistillation):
    """Logit distillation, with both sides' logits standardised for the part of the teacher."""

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        assert teacher is not None
        ours, theirs = (Outputs(standardised(side.logits.float())) for side in (student, teacher))
        soft = LogitDistillation(self.temperature, alpha=0.0)(ours, theirs, labels)
        return self.alpha * CrossEntropy()(student, None, labels) + (1 - self.alpha) * soft

    def __str__(self) -> str:
        return f"{LogitDistillation.__str__(self)}, logits standardised"


def standardised(logits: torch.Tensor) -> torch.Tensor:
    """(..., vocabulary) -> the same shape, mean 0 and variance 1 along it; what does not vary is 0."""
    centred = logits - logits.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-12).sqrt()


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-standardised",
        summary="prune, then distill standardised logits under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=StandardisedDistillation(),
        constraint=FixedMask(),
        paper="Sun et al. 2024, section 4",
        protocols=("task",),
    )
