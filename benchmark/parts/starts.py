"""Starts: (reference models, scale, seed) -> the model that a strategy begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from benchmark.errors import UserError
from benchmark.slicing.options import Allocation, check_choice, share_of
from benchmark.types import References

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

_PAPER = "paper-table"
TARGETS = {_PAPER: 1 - 37 / 141, "half": 0.5}
"""Sparsity of the non-embedding weights: Table 1 (37M of 141M remain, 73.8 %), and the '~50 %' of the paper's text."""

Score = Literal["magnitude", "random"]


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
    """A reference model without a share of its non-embedding weights, zeroed at once.

    `score` says which weights go: those of the smallest magnitude (paper, section 2.2), or random ones; `target` how
    many, or else `ratio`, which is what stays: a share below 1, or above 1 how many times fewer. Under a ``global``
    `allocation` all weights are compared with each other, under a ``uniform`` one every matrix loses the same share.
    """

    score: Score
    target: str
    of: str = "teacher"
    allocation: Allocation = "global"
    ratio: float | None = None

    def __post_init__(self) -> None:
        check_choice("pruning score", self.score, Score)
        check_choice("allocation", self.allocation, Allocation)
        if self.ratio is not None:
            if self.target != _PAPER:
                raise UserError(f"target {self.target} and ratio {self.ratio} both say how much goes")
            share_of(self.ratio)
            object.__setattr__(self, "ratio", float(self.ratio))  # an option is text
        sparsity_of(self.target)

    @property
    def sparsity(self) -> float:
        return sparsity_of(self.target) if self.ratio is None else 1 - share_of(self.ratio)

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `ValueError` if the weights that can go are too few."""
        from benchmark.models.pruning import magnitudes, prune_globally, random_scores, within_each

        model = references.load(self.of)
        scores = magnitudes(model) if self.score == "magnitude" else random_scores(model, seed)
        prune_globally(model, within_each(scores) if self.allocation == "uniform" else scores, self.sparsity)
        return model

    def __str__(self) -> str:
        where = " in each matrix" if self.allocation == "uniform" else ""
        return f"{self.of}, {self.score}-pruned by {self.sparsity:.1%}{where}"


def reference(name: str) -> Reference:
    """Begin with a reference model: ``teacher``, ``none`` or ``small``."""
    return Reference(name)


def magnitude_pruned(target: str = _PAPER, ratio: float | None = None, allocation: Allocation = "global") -> Pruned:
    """Begin with the teacher after one-shot magnitude pruning, global as in the paper (section 2.2)."""
    return Pruned("magnitude", target, allocation=allocation, ratio=ratio)


def random_pruned(target: str = _PAPER, ratio: float | None = None) -> Pruned:
    """Begin with the teacher after removing as many weights at random: what magnitude is worth."""
    return Pruned("random", target, ratio=ratio)
