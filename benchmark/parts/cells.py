"""A start whose decoder reads a share of the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.slicing.options import check_choice
from benchmark.types import By, References

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale


@dataclass(frozen=True, slots=True)
class FewerCells:
    """The teacher, of whose cells the decoder reads the share `keep` of each page: those of most ink, or any."""

    by: By
    keep: float = 0.5

    def __post_init__(self) -> None:
        check_choice("choice of cells", self.by, By)
        object.__setattr__(self, "keep", float(self.keep))  # an option has the type of its value
        if not 0 < self.keep <= 1:
            raise UserError(f"keep={self.keep:g} is no share of the cells")

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel:
        from benchmark.models.cells import Selection, select_cells

        model = references.load("teacher")
        select_cells(model, Selection(self.keep, self.by, seed if self.by == "chance" else 0))
        return model

    def __str__(self) -> str:
        return f"teacher, its decoder reading {self.keep:.0%} of the cells, by {self.by}"


def fewer_cells(by: By, keep: float = 0.5) -> FewerCells:
    """Begin with the teacher whose decoder reads only the cells with the most ``ink``, or as many by ``chance``."""
    return FewerCells(by, keep)
