"""A start that is smaller in several ways at once: one budget, split over the kinds of units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.errors import UserError
from benchmark.parts.sliced import Sliced
from benchmark.slicing.options import Importance, Kind, Measure
from benchmark.steps import Step
from benchmark.types import References

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale


@dataclass(frozen=True, slots=True)
class Mixed:
    """The teacher with fewer layers, channels and heads, and then so few FFN units that `ratio` of it is left.

    `layers`, `width` and `heads` are what each leaves of the cost that it finds, in this order; at 1 it is left alone.
    The other options are those of `sliced`; layers go by spacing, unless `importance` is ``activation``.
    """

    ratio: float
    layers: float = 1.0
    width: float = 1.0
    heads: float = 1.0
    importance: Importance = "magnitude"
    of: Measure = "macs"
    documents: int = 32
    draw: int = 0
    steps: ClassVar[tuple[Step, ...]] = ("cut",)

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads"):
            if not 0 < getattr(self, name) <= 1:
                raise UserError(f"{name}={getattr(self, name):g} is no share of what is there")
        # As options they have the type of their value.
        for name in ("ratio", "layers", "width", "heads"):
            object.__setattr__(self, name, float(getattr(self, name)))
        self._ffn(self.ratio)
        list(self._cuts())

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        """Raises `UserError` if a share cannot be met, or the others leave less than the budget."""
        model, left = references.load("teacher"), 1.0
        for each in self._cuts():
            left *= each.cut(model, references, scale, seed)
        share = self._ffn(self.ratio).share
        if left <= share:
            raise UserError(f"before any FFN unit is cut {left:.1%} of the {self.of} is left, and not {share:.1%}")
        self._ffn(share / left).cut(model, references, scale, seed)
        return model

    def _cuts(self) -> Iterator[Sliced]:
        """What is cut before the FFN units."""
        if self.layers < 1:
            yield self._cut("layers", self.layers)
        if self.width < 1:
            yield self._cut("width", self.width)
        if self.heads < 1:
            yield self._cut("heads", self.heads)

    def _ffn(self, ratio: float) -> Sliced:
        return self._cut("ffn", ratio)

    def _cut(self, kind: Kind, ratio: float) -> Sliced:
        by: Importance = "spacing" if kind == "layers" and self.importance != "activation" else self.importance
        return Sliced(kind, ratio, by, self.of, documents=self.documents, draw=self.draw)

    def __str__(self) -> str:
        shares = {"layers": self.layers, "channels": self.width, "heads": self.heads}
        parts = [*(f"{name} to {share:.0%}" for name, share in shares.items() if share < 1), "FFN units to the rest"]
        return f"teacher, cut to {self._ffn(self.ratio).share:.1%} of its {self.of}: {', '.join(parts)}"


def mixed(
    ratio: float, layers: float = 1.0, width: float = 1.0, heads: float = 1.0, importance: Importance = "magnitude"
) -> Mixed:
    """Begin with the teacher without some of its layers, channels, heads and FFN units, to one budget."""
    return Mixed(ratio, layers, width, heads, importance)
