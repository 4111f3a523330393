"""Starts: (reference models, scale, seed) -> the model that a strategy begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmark.errors import UserError
from benchmark.types import References

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

TARGETS = {"paper-table": 1 - 37 / 141, "half": 0.5}
"""Sparsity of the non-embedding weights: Table 1 (37M of 141M remain, 73.8 %), and the '~50 %' of the paper's text."""


SCORES = ("magnitude", "random")


def sparsity_of(target: str) -> float:
    """A named target, or a number between 0 and 1. Raises `UserError` for anything else."""
    if target in TARGETS:
        return TARGETS[target]
    try:
        sparsity = float(target)
    except ValueError:
        sparsity = -1.0
    if not 0.0 <= sparsity < 1.0:
        raise UserError(f"sparsity target {target!r} is neither a number in [0, 1) nor one of {', '.join(TARGETS)}")
    return sparsity


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference model as it is."""

    name: str

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        return references.load(self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Pruned:
    """A reference model without a share of its non-embedding weights, zeroed at once over all layers together.

    `score` says which weights go: those of the smallest magnitude (paper, section 2.2), or random ones.
    """

    score: Literal["magnitude", "random"]
    target: str
    of: str = "teacher"

    def __post_init__(self) -> None:
        if self.score not in SCORES:
            raise UserError(f"unknown pruning score {self.score!r}: choose from {', '.join(SCORES)}")
        sparsity_of(self.target)

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        from benchmark.models.pruning import magnitudes, prune_globally, random_scores

        model = references.load(self.of)
        scores = magnitudes(model) if self.score == "magnitude" else random_scores(model, seed)
        prune_globally(model, scores, sparsity_of(self.target))
        return model

    def __str__(self) -> str:
        return f"{self.of}, {self.score}-pruned by {sparsity_of(self.target):.1%}"


def reference(name: str) -> Reference:
    """Begin with a reference model: ``teacher``, ``none`` or ``small``."""
    return Reference(name)


def magnitude_pruned(target: str = "paper-table") -> Pruned:
    """Begin with the teacher after one-shot global magnitude pruning (paper, section 2.2)."""
    return Pruned("magnitude", target)


def random_pruned(target: str = "paper-table") -> Pruned:
    """Begin with the teacher after removing as many weights at random: what magnitude is worth."""
    return Pruned("random", target)
