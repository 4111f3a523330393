"""Knowledge review: each stage of the student answers for the teacher's together with all deeper ones.

Chen et al. 2021, sections 3.2 and 3.3. From the deepest stage up: a 1x1 convolution of the student's features; the
residue of the deeper stages, enlarged to their grid; a map of two channels says of each place how much of either is
taken (attention based fusion); a 3x3 convolution leads to the teacher's width. The squared distance is that on the full
grid and of what is pooled to 4x4, 2x2 and 1, which count 1, 1/2, 1/4 and 1/8 (hierarchical context loss).

Here it is over the teacher's variance, as in `FeatureDistillation`, whose place it takes with the same weight; the
authors' weights (0.6 to 8, ramped) are for losses of other sizes. The decoder's features, which the paper's models do
not have, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark import (
    FixedMask,
    LogitDistillation,
    Outputs,
    Strategy,
    Teaching,
    UserError,
    hookimpl,
    magnitude_pruned,
)

if TYPE_CHECKING:
    import torch
    from torch import nn

_POOLED = (4, 2, 1)


@dataclass(frozen=True, slots=True)
class KnowledgeReview:
    """Logit distillation, and `weight` x the reviewed distance of the encoder's stages."""

    temperature: float = 2.0
    alpha: float = 0.5
    weight: float = 2.0
    parts_rate: float = 2e-3

    def __post_init__(self) -> None:
        self._logits()
        if not 0 <= self.weight < float("inf"):
            raise UserError(f"features need a weight of at least 0, not {self.weight:g}")

    def _logits(self) -> LogitDistillation:
        return LogitDistillation(self.temperature, self.alpha)

    @property
    def teaching(self) -> Teaching:
        return "features"

    def parts(self, student: Outputs, teacher: Outputs) -> nn.ModuleList:
        """The convolutions of each stage."""
        from torch import nn

        shared = max(goal.shape[-1] for goal in teacher.encoder)
        return nn.ModuleList(
            nn.ModuleDict(
                {
                    "enter": nn.Conv2d(ours.shape[-1], shared, 1),
                    "choose": nn.Conv2d(2 * shared, 2, 1),
                    "leave": nn.Conv2d(shared, goal.shape[-1], 3, padding=1),
                }
            )
            for ours, goal in zip(student.encoder, teacher.encoder, strict=True)
        )

    def __call__(self, student: Outputs, teacher: Outputs, labels: torch.Tensor, parts: nn.ModuleList) -> torch.Tensor:
        import torch

        distances, residue = list[torch.Tensor](), None
        stage: Any  # a ModuleDict, whose items mypy takes for tensors too
        for stage, ours, goal in zip(reversed(parts), reversed(student.maps), reversed(teacher.maps), strict=True):
            residue = fused(stage, ours.float(), residue)
            distances.append(context_distance(stage["leave"](residue), goal.float()))
        return self._logits()(student, teacher, labels) + self.weight * torch.stack(distances).mean()

    def __str__(self) -> str:
        return f"{self._logits()} + {self.weight:g} knowledge review"


def fused(stage: Any, ours: torch.Tensor, residue: torch.Tensor | None) -> torch.Tensor:
    """The student's stage with what the deeper ones have left, at each place as much of either as the map says."""
    import torch
    from torch.nn.functional import interpolate

    entered: torch.Tensor = stage["enter"](ours)
    if residue is None:
        return entered
    residue = interpolate(residue, size=entered.shape[-2:])
    shares: torch.Tensor = stage["choose"](torch.cat([entered, residue], 1)).sigmoid()
    return entered * shares[:, :1] + residue * shares[:, 1:]


def context_distance(ours: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
    """The mean squared distance on all grids, over the teacher's variance; (documents, width, rows, columns)."""
    from torch.nn.functional import adaptive_avg_pool2d, mse_loss

    distance, total, weight = mse_loss(ours, goal), 1.0, 1.0
    for side in _POOLED:
        if side < min(goal.shape[-2:]):
            weight /= 2
            total += weight
            distance = distance + weight * mse_loss(adaptive_avg_pool2d(ours, side), adaptive_avg_pool2d(goal, side))
    found: torch.Tensor = distance / total / goal.var((0, 2, 3), correction=0).mean()
    return found


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-review",
        summary="prune, then distill logits and reviewed stages of the encoder under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=KnowledgeReview(),
        constraint=FixedMask(),
        paper="Chen et al. 2021 (Knowledge Review), sections 3.2 and 3.3",
        protocols=("task",),
    )
