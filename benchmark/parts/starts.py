"""Starts: (reference models, scale, seed) -> the model that a strategy begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from benchmark.errors import UserError
from benchmark.slicing.options import check_choice, share_of
from benchmark.steps import Step
from benchmark.types import Allocation, References

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

_PAPER = "paper-table"
TARGETS = {_PAPER: 1 - 37 / 141, "half": 0.5}
"""Sparsity of the non-embedding weights: Table 1 (37M of 141M remain, 73.8 %), and the '~50 %' of the paper's text."""

_WHERE: dict[Allocation, str] = {
    "global": "",
    "uniform": " in each matrix",
    "rows": " of each output",
    "erk": " by Erdos-Renyi kernels",
}


class Score(Protocol):
    """What a weight is worth: (model, references, seed) -> a score for each prunable weight, by parameter name.

    The lowest go first. `benchmark.prunable` names the weights.
    """

    def __call__(
        self, model: VisionEncoderDecoderModel, references: References, seed: int
    ) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True, slots=True)
class Magnitude:
    """The absolute value of a weight (paper, section 2.2)."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        from benchmark.models.pruning import magnitudes

        return magnitudes(model)

    def __str__(self) -> str:
        return "magnitude"


@dataclass(frozen=True, slots=True)
class Chance:
    """Nothing: any weight may go."""

    def __call__(self, model: VisionEncoderDecoderModel, references: References, seed: int) -> dict[str, torch.Tensor]:
        from benchmark.models.pruning import random_scores

        return random_scores(model, seed)

    def __str__(self) -> str:
        return "random"


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

    `score` says which weights go; `target` how many, or else `ratio`, which is what stays: a share below 1, or above 1
    how many times fewer. `allocation` says which weights are compared with each other.
    """

    score: Score
    target: str = _PAPER
    of: str = "teacher"
    allocation: Allocation = "global"
    ratio: float | None = None
    steps: ClassVar[tuple[Step, ...]] = ("prune",)

    def __post_init__(self) -> None:
        if not callable(self.score):
            raise UserError(f"score {self.score!r} cannot be called: a score is Magnitude(), or what a plugin brings")
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
        from benchmark.models.pruning import prune_globally

        model = references.load(self.of)
        prune_globally(model, self.score(model, references, seed), self.sparsity, self.allocation)
        return model

    def __str__(self) -> str:
        return f"{self.of}, {self.score}-pruned by {self.sparsity:.1%}{_WHERE[self.allocation]}"


def reference(name: str) -> Reference:
    """Begin with a reference model: ``teacher``, ``none`` or ``small``."""
    return Reference(name)


def pruned(score: Score, target: str = _PAPER, ratio: float | None = None, allocation: Allocation = "global") -> Pruned:
    """Begin with the teacher after one-shot pruning by a score of each weight."""
    return Pruned(score, target, allocation=allocation, ratio=ratio)


def magnitude_pruned(target: str = _PAPER, ratio: float | None = None, allocation: Allocation = "global") -> Pruned:
    """Begin with the teacher after one-shot magnitude pruning, global as in the paper (section 2.2)."""
    return pruned(Magnitude(), target, ratio, allocation)


def random_pruned(target: str = _PAPER, ratio: float | None = None) -> Pruned:
    """Begin with the teacher after removing as many weights at random: what magnitude is worth."""
    return pruned(Chance(), target, ratio)
