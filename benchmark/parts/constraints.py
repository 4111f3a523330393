"""Constraints: what must hold of a model while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.parts.schedules import Cubic
from benchmark.parts.starts import WHERE, Magnitude, Score, check_score, sparsity_of
from benchmark.slicing.options import check_choice
from benchmark.types import Allocation, Calibration

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.models.moving import MovingMask
    from benchmark.models.pruning import Mask
    from benchmark.types import Span


@dataclass(frozen=True, slots=True)
class FixedMask:
    """Weights that are zero at the start stay zero (paper, section 2.2).

    They are zeroed again after every optimizer step: masking gradients alone lets Adam's momentum revive them.
    """

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Mask:
        from benchmark.models.pruning import Mask

        return Mask(model)

    def __str__(self) -> str:
        return "fixed mask"


@dataclass(frozen=True, slots=True)
class CubicMask:
    """Weights go while the model trains, those of the lowest scores first, until the `target` is met, exactly.

    `score` says which go, as in a start, but of the model as it is by then: one that looks at documents has no place
    here. `schedule` says when, `allocation` which weights are compared with each other. What is gone is gone, unless it
    `returns`: then it keeps its value behind the mask, and is compared with the others whenever pruning acts.
    """

    target: str = "paper-table"
    score: Score = field(default_factory=Magnitude)
    schedule: Cubic = field(default_factory=Cubic)
    allocation: Allocation = "global"
    returns: bool = False

    def __post_init__(self) -> None:
        check_score(self.score)
        check_choice("allocation", self.allocation, Allocation)
        sparsity_of(self.target)

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> MovingMask:
        """Raises `ValueError` if the weights that can go are too few."""
        from benchmark.models.moving import MovingMask

        due = partial(self.schedule.due, steps=span.steps)
        score = partial(self.score, model, _Nothing(), 0)
        return MovingMask(model, due, sparsity_of(self.target), score, self.allocation, self.returns)

    def __str__(self) -> str:
        share = f"{sparsity_of(self.target):.1%}{WHERE[self.allocation]}"
        return f"mask by {self.score} that grows to {share} {self.schedule}"


class _Nothing:
    """The references of a score in the middle of a training."""

    def load(self, name: str) -> VisionEncoderDecoderModel:
        raise UserError(f"a score that asks for the model {name!r} cannot say which weights go while another trains")

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        raise UserError(f"a score that looks at {count} documents cannot say which weights go while a model trains")

    def tokens(self, count: int) -> frozenset[int]:
        raise UserError(f"a score that looks at {count} documents cannot say which weights go while a model trains")
