"""Starts: (reference models, scale, seed) -> the model that a strategy begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from benchmark.errors import UserError
from benchmark.slicing.options import check_calibration, check_choice, share_of
from benchmark.steps import Step
from benchmark.types import Allocation, Calibration, References

if TYPE_CHECKING:
    import torch
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

_PAPER = "paper-table"
TARGETS = {_PAPER: 1 - 37 / 141, "half": 0.5}
"""Sparsity of the non-embedding weights: Table 1 (37M of 141M remain, 73.8 %), and the '~50 %' of the paper's text."""

WHERE: dict[Allocation, str] = {
    "global": "",
    "uniform": " in each matrix",
    "rows": " of each output",
    "erk": " by Erdos-Renyi kernels",
}
"""How an allocation is told behind a share."""


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


def check_score(score: Score) -> None:
    """Raise `UserError` for what is none."""
    if not callable(score):
        raise UserError(f"score {score!r} cannot be called: a score is Magnitude(), or what a plugin brings")


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a score or a start that looks at data begins with: how many documents, and which set of as many (`draw`)."""

    documents: int = 32
    draw: int = 0

    def __post_init__(self) -> None:
        check_calibration(self.documents, self.draw)

    def calibration(self, references: References) -> Calibration:
        return references.calibration(self.documents, self.draw)


def sparsity_of(target: str, ratio: float | None = None) -> float:
    """What a target prunes: a name, or a number between 0 and 1; or a ratio, which is what stays.

    Raises `UserError` for anything else, and for a ratio beside a target that is not the default.
    """
    if ratio is not None:
        if target != _PAPER:
            raise UserError(f"target {target} and ratio {ratio} both say how much goes")
        return 1 - share_of(ratio)
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
        check_score(self.score)
        check_choice("allocation", self.allocation, Allocation)
        sparsity_of(self.target, self.ratio)
        if self.ratio is not None:
            object.__setattr__(self, "ratio", float(self.ratio))  # an option is text

    @property
    def sparsity(self) -> float:
        return sparsity_of(self.target, self.ratio)

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `ValueError` if the weights that can go are too few."""
        from benchmark.models.pruning import prune_globally

        model = references.load(self.of)
        prune_globally(model, self.score(model, references, seed), self.sparsity, self.allocation)
        return model

    def __str__(self) -> str:
        return f"{self.of}, {self.score}-pruned by {self.sparsity:.1%}{WHERE[self.allocation]}"


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
