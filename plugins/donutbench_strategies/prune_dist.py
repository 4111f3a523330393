"""DIST: the student's predictions need not be the teacher's, only correlated with them (Huang et al. 2022, section 3).

With y = softmax(logits / T): 1 - the mean correlation (Pearson) of a token's probabilities over the vocabulary, between
classes, and 1 - that of a class's probabilities over the tokens of the batch, within classes, times T^2, beside the
cross-entropy; all weights are 1, as in the authors' code. Of the vocabulary of a Donut most is in no batch: within
classes only those that are among its labels are compared, the others' columns hardly vary. T is 2, as in the other rows
of this start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark import (
    CrossEntropy,
    FixedMask,
    Outputs,
    Strategy,
    Teaching,
    UserError,
    hookimpl,
    magnitude_pruned,
)

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class RelationDistillation:
    """Cross-entropy, and how far relations between and within classes are from the teacher's."""

    temperature: float = 2.0
    inter: float = 1.0
    intra: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise UserError(f"distillation needs a temperature above 0, not {self.temperature:g}")

    @property
    def teaching(self) -> Teaching:
        return "logits"

    @property
    def whole_batch(self) -> bool:
        return True

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        assert teacher is not None
        kept = labels != -100
        present = labels[kept].unique()
        ours, theirs = ((side.logits[kept].float() / self.temperature).softmax(-1) for side in (student, teacher))
        inter = 1 - correlation(ours, theirs, 1).mean()
        intra = 1 - correlation(ours[:, present], theirs[:, present], 0).mean()
        relations: torch.Tensor = self.inter * inter + self.intra * intra
        return CrossEntropy()(student, None, labels) + self.temperature**2 * relations

    def __str__(self) -> str:
        weights = f"{self.inter:g} between and {self.intra:g} within classes"
        return f"cross-entropy + relation distillation, {weights}, T = {self.temperature:g}"


def correlation(a: torch.Tensor, b: torch.Tensor, dim: int) -> torch.Tensor:
    """Pearson's, along a dimension; 0 where one side does not vary."""
    from torch.nn.functional import cosine_similarity

    return cosine_similarity(a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True), dim)


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="prune-dist",
        summary="prune, then distill relations between and within classes (DIST) under the mask",
        start=magnitude_pruned(target="paper-table"),
        objective=RelationDistillation(),
        constraint=FixedMask(),
        paper="Huang et al. 2022 (DIST), section 3",
        protocols=("task",),
    )
