"""Which of the encoder's cells the decoder reads: data in the encoder's config (``selection``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast, get_args

import numpy as np
import torch
from torch.nn.functional import pad, unfold

from benchmark.types import By

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

    from benchmark.models.donut import Donut


@dataclass(frozen=True, slots=True)
class Selection:
    """A share `keep` of the cells, as many of each page: those with the most ``ink``, or some by ``chance``.

    Chance, which `seed` decides, looks at no page and takes the same places of all. Raises `ValueError` for a share
    that is none or an unknown choice.
    """

    keep: float
    by: By = "ink"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in get_args(By):
            raise ValueError(f"its selection of cells is by {self.by!r}, not by {' or '.join(get_args(By))}")
        if not 0 < self.keep <= 1:
            raise ValueError(f"its selection of cells keeps {self.keep!r}, which is no share of them")

    def count(self, cells: int) -> int:
        """How many of so many cells are kept."""
        return max(1, round(self.keep * cells))

    def places(self, pixels: torch.Tensor, cell: int) -> torch.Tensor:
        """Pixels (documents, channels, height, width), a cell being so many high and wide -> (documents, kept).

        Cells are numbered along the rows, and their places are in order.
        """
        documents, _, height, width = pixels.shape
        cells = -(-height // cell) * -(-width // cell)
        kept = self.count(cells)
        if self.by == "chance":
            drawn = np.sort(np.random.default_rng(self.seed).permutation(cells)[:kept])
            return torch.from_numpy(drawn).to(pixels.device).expand(documents, -1)
        # Of cells that are equally blank the first are kept, on any device.
        return ink(pixels, cell).sort(dim=1, descending=True, stable=True).indices[:, :kept].sort(dim=1).values


def ink(pixels: torch.Tensor, cell: int) -> torch.Tensor:
    """How much darker a cell is, in the mean, than its brightest pixel.

    (documents, channels, height, width) -> (documents, cells). What is brightest in it is its paper, in shade too; the
    black that Donut fills a page up with is as blank as white. Exactly zero for a cell of one colour.
    """
    grey = pixels.float().mean(1, keepdim=True)
    below, right = -grey.shape[2] % cell, -grey.shape[3] % cell
    values = unfold(pad(grey, (0, right, 0, below), mode="replicate"), cell, stride=cell)
    return (values.amax(1, keepdim=True) - values).mean(1)


def select_cells(model: VisionEncoderDecoderModel, selection: Selection) -> None:
    """Let the decoder of a `Donut` read these cells of the encoder alone, in place; its config says so.

    Raises `ValueError` if it reads some alone already.
    """
    encoder = cast("Donut", model).encoder
    if encoder.selection is not None:
        raise ValueError(f"its decoder reads only {encoder.selection.keep:.0%} of the cells already")
    encoder.selection = selection
    encoder.config.selection = asdict(selection)
