"""Starts that are really smaller: units of a kind cut out of the teacher, until a budget is met."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.errors import UserError
from benchmark.slicing.options import Allocation, Importance, Kind, Measure, check_calibration, check_choice, share_of
from benchmark.steps import Step
from benchmark.types import References

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.models.donut import Donut
    from benchmark.scales import Scale
    from benchmark.slicing.budget import Scores
    from benchmark.slicing.groups import Group

_NAMES = {"ffn": "FFN units", "heads": "attention heads", "width": "channels", "layers": "layers"}


@dataclass(frozen=True, slots=True)
class Sliced:
    """The teacher with fewer units of one kind, so that `ratio` is left of its non-embedding parameters or its MACs.

    A `ratio` above 1 is how many times smaller. `importance` says which units go first: the smallest (``magnitude``),
    those the loss (``taylor``) or the features (``activation``) need least on `documents` of the training split (those
    of a `draw`), any (``random``); of layers those between the others (``spacing``). Under a ``uniform`` `allocation`
    every place loses the same share.
    """

    kind: Kind
    ratio: float
    importance: Importance = "magnitude"
    of: Measure = "parameters"
    allocation: Allocation = "uniform"
    documents: int = 32
    draw: int = 0
    steps: ClassVar[tuple[Step, ...]] = ("cut",)

    def __post_init__(self) -> None:
        check_choice("kind of unit", self.kind, Kind)
        check_choice("importance", self.importance, Importance)
        check_choice("measure of a budget", self.of, Measure)
        check_choice("allocation", self.allocation, Allocation)
        object.__setattr__(self, "ratio", float(self.ratio))  # an option has the type of its value
        if self.importance == "spacing" and self.kind != "layers":
            raise UserError(f"importance spacing is for layers, and not for {_NAMES[self.kind]}")
        share_of(self.ratio)
        check_calibration(self.documents, self.draw)

    @property
    def share(self) -> float:
        return share_of(self.ratio)

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `UserError` as `cut`."""
        model = references.load("teacher")
        self.cut(model, references, scale, seed)
        return model

    def cut(self, model: VisionEncoderDecoderModel, references: References, scale: Scale, seed: int) -> float:
        """Cut a model, in place; the share that is left. Raises `UserError` if nothing comes near enough."""
        from benchmark.models.donut import Donut
        from benchmark.slicing.budget import cut_to
        from benchmark.slicing.donut import units_of

        assert isinstance(model, Donut)
        scores = self._scores(model, units_of(model, self.kind), references, seed)
        try:
            return cut_to(model, scores, self.share, self.of, self.allocation, (scale.height, scale.width))
        except ValueError as error:
            raise UserError(f"cutting {_NAMES[self.kind]} alone: {error}") from error

    def _scores(self, model: Donut, groups: list[Group], references: References, seed: int) -> Scores:
        from benchmark.slicing import importance

        if self.importance in ("taylor", "activation"):
            look = importance.taylor if self.importance == "taylor" else importance.activation
            return look(model, groups, references.calibration(self.documents, self.draw))
        if self.importance == "random":
            return importance.random(groups, seed)
        return importance.spacing(groups) if self.importance == "spacing" else importance.magnitude(model, groups)

    def __str__(self) -> str:
        by = "" if self.importance == "spacing" else f" by {self.importance}"
        return f"teacher, {_NAMES[self.kind]} cut{by} to {self.share:.1%} of its {self.of}"


def sliced(
    kind: Kind,
    ratio: float,
    importance: Importance = "magnitude",
    of: Measure = "parameters",
    allocation: Allocation = "uniform",
    documents: int = 32,
) -> Sliced:
    """Begin with the teacher without some of its ``ffn`` units, ``heads``, ``layers`` or ``width`` (channels)."""
    return Sliced(kind, ratio, importance, of, allocation, documents)
