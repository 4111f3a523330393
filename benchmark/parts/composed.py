"""A start made of several, each applied to the model that the one before it has made."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.steps import Step, check_order, steps_of
from benchmark.types import Calibration, References, Start

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

_OF_TEACHER = "teacher, "


@dataclass(frozen=True, slots=True)
class Then:
    """Starts in a row: what one has made is the teacher that the next one loads.

    Their fields are no options, for several may have one of a name: a start of one's own that holds the budgets and
    calls this has those.
    """

    parts: tuple[Start, ...]

    def __post_init__(self) -> None:
        check_order("a start made of several", ((_text(part), steps_of(part)) for part in self.parts))
        for part in self.parts[1:]:
            if not steps_of(part):
                raise UserError(f"start {_text(part)!r} cannot follow another: it has no `steps` that say what it does")
        if "quantize" in self.steps:
            raise UserError("quantize is no part of a start: it is the finish of a strategy")

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for part in self.parts for step in steps_of(part))

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `UserError` as its parts do, and for one that begins with another reference model."""
        first, *rest = self.parts
        model = first(references, scale, seed)
        for part in rest:
            model = part(_Made(references, model), scale, seed)
        return model

    def __str__(self) -> str:
        first, *rest = map(_text, self.parts)
        return ", then ".join([first, *(text.removeprefix(_OF_TEACHER) for text in rest)])


def _text(part: object) -> str:
    return str(getattr(part, "__name__", part))


@dataclass(frozen=True, slots=True)
class _Made:
    """References whose teacher is a model that has been made of it."""

    references: References
    model: VisionEncoderDecoderModel

    def load(self, name: str) -> VisionEncoderDecoderModel:
        if name != "teacher":
            raise UserError(f"a start that follows another begins with what that has made, and not with {name!r}")
        return deepcopy(self.model)

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        return self.references.calibration(count, draw)

    def tokens(self, count: int) -> frozenset[int]:
        return self.references.tokens(count)


def then(first: Start, *rest: Start) -> Then:
    """Begin with what several starts make one after the other: units are cut, layers factored, weights pruned."""
    return Then((first, *rest))
