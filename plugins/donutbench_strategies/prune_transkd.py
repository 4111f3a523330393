"""TransKD: what the stages of an encoder hand on is followed as well as what they compute.

Liu et al. 2022, section III. Feature maps: the probabilities of each channel over the page, softmax(map / T), by KL
divergence from the teacher's; the student's are fused with those of the deeper stages, of which every channel takes as
much as its own selection says (cross selective fusion). Patch embeddings: what a stage is given, by mean squared
distance, with the embedding assistant: e_i = w_i linear(student's) + w'_i patches(e_(i-1)), a way of the teacher's
width beside the student's own, w learnt.

A stage of Donut's encoder ends with the merging of patches, so that what `Outputs.encoder` has of it is the embedding
of the next stage: both losses are of these. Distances are over the teacher's variance, as in `FeatureDistillation`.
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


@dataclass(frozen=True, slots=True)
class EmbeddingAssistant:
    """Logit distillation, `maps` x the divergence of fused maps, and `embeddings` x the distance of embeddings."""

    temperature: float = 2.0
    alpha: float = 0.5
    maps: float = 1.0
    embeddings: float = 1.0
    parts_rate: float = 2e-3

    def __post_init__(self) -> None:
        self._logits()
        for weight in (self.maps, self.embeddings):
            if not 0 <= weight < float("inf"):
                raise UserError(f"features need a weight of at least 0, not {weight:g}")

    def _logits(self) -> LogitDistillation:
        return LogitDistillation(self.temperature, self.alpha)

    @property
    def teaching(self) -> Teaching:
        return "features"

    def parts(self, student: Outputs, teacher: Outputs) -> nn.ModuleList:
        """The maps of each stage, from the student's width to the teacher's."""
        from torch import nn

        widths = [(ours.shape[-1], goal.shape[-1]) for ours, goal in zip(student.encoder, teacher.encoder, strict=True)]
        deeper = [goal for _, goal in widths[1:]] + [widths[-1][1]]
        earlier = [widths[0][1]] + [goal for _, goal in widths[:-1]]
        return nn.ModuleList(
            nn.ModuleDict(
                {
                    "enter": nn.Conv2d(ours, goal, 1),
                    "deeper": nn.Conv2d(below, goal, 1),
                    "select": nn.Linear(goal, 2 * goal),
                    "embed": nn.Conv2d(ours, goal, 1),
                    "patches": nn.Conv2d(above, goal, 1),
                    "mix": nn.Linear(2, 1, bias=False),
                }
            )
            for (ours, goal), below, above in zip(widths, deeper, earlier, strict=True)
        )

    def __call__(self, student: Outputs, teacher: Outputs, labels: torch.Tensor, parts: nn.ModuleList) -> torch.Tensor:
        import torch

        ours, goals = [side.float() for side in student.maps], [side.float() for side in teacher.maps]
        divergences, distances = list[torch.Tensor](), list[torch.Tensor]()
        below: torch.Tensor | None = None
        for stage, own, goal in zip(reversed(parts), reversed(ours), reversed(goals), strict=True):
            below = selected(stage, own, below)
            divergences.append(channel_divergence(below, goal, self.temperature))
        above: torch.Tensor | None = None
        for stage, own, goal in zip(parts, ours, goals, strict=True):
            above = assisted(stage, own, above)
            distances.append((above - goal).square().mean() / goal.var((0, 2, 3), correction=0).mean())
        features = self.maps * torch.stack(divergences).mean() + self.embeddings * torch.stack(distances).mean()
        return self._logits()(student, teacher, labels) + features

    def __str__(self) -> str:
        return f"{self._logits()} + {self.maps:g} channel maps + {self.embeddings:g} assisted embeddings"


def selected(stage: Any, ours: torch.Tensor, deeper: torch.Tensor | None) -> torch.Tensor:
    """The student's map with that of the deeper stages, of either as much as the means of the channels say."""
    from torch.nn.functional import interpolate

    entered: torch.Tensor = stage["enter"](ours)
    if deeper is None:
        return entered
    residue: torch.Tensor = stage["deeper"](interpolate(deeper, size=entered.shape[-2:]))
    shares: torch.Tensor = (
        stage["select"]((entered + residue).mean((2, 3))).unflatten(1, (2, -1)).softmax(1)[..., None, None]
    )
    return entered * shares[:, 0] + residue * shares[:, 1]


def channel_divergence(ours: torch.Tensor, goal: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 x KL(teacher || student) of where on the page each channel is, the mean over channels and documents."""
    from torch.nn.functional import kl_div

    mine, theirs = ((side.float().flatten(2) / temperature).log_softmax(-1) for side in (ours, goal))
    return temperature**2 * kl_div(mine.flatten(0, 1), theirs.flatten(0, 1), reduction="batchmean", log_target=True)


def assisted(stage: Any, ours: torch.Tensor, earlier: torch.Tensor | None) -> torch.Tensor:
    """The student's embedding in the teacher's width, beside that which follows from the stage before."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    own: torch.Tensor = stage["embed"](ours)
    if earlier is None:
        return own
    way = stage["patches"](adaptive_avg_pool2d(earlier, (own.shape[2], own.shape[3])))
    mixed: torch.Tensor = stage["mix"](torch.stack([own, way], -1))[..., 0]
    return mixed


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-transkd",
        summary="prune, then distill logits, channel maps and assisted patch embeddings under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=EmbeddingAssistant(),
        constraint=FixedMask(),
        paper="Liu et al. 2022 (TransKD), section III",
        protocols=("task",),
    )
