"""Pages that do not fit into memory, read when they are asked for: 24,000 at 1280x960 in colour are 88 GB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmark.errors import UserError
from benchmark.types import Document, Page


@dataclass(frozen=True, slots=True)
class LazyPages:
    """What a tensor of pages gives, uint8 (documents, height, width) or (..., 3), read and fitted anew every time.

    `fit` makes the page of a document; all are in colour if `colour`.
    """

    documents: Sequence[Document]
    fit: Callable[[Document], Page]
    colour: bool

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, rows: slice | torch.Tensor) -> torch.Tensor:
        """The pages of a slice, or of a tensor of numbers (rows,)."""
        numbers = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        return stacked([self.fit(self.documents[number]) for number in numbers], self.colour)

    def split(self, size: int) -> Iterator[torch.Tensor]:
        return (self[begin : begin + size] for begin in range(0, len(self), size))


Pages = torch.Tensor | LazyPages
"""uint8 (documents, height, width) or (..., 3): takes a slice, a tensor of rows, `split` and `len`."""


def stacked(pages: Sequence[Page], colour: bool) -> torch.Tensor:
    """Pages of one size as a tensor; grey ones in colour too if `colour`. Raises `UserError` if they are of several."""
    sizes = sorted({page.shape[:2] for page in pages})
    if len(sizes) > 1:
        first, other = ("x".join(map(str, size)) for size in sizes[:2])
        raise UserError(f"the processor makes pages of {first} and of {other} pixels: with do_pad all have one size")
    if colour:
        pages = [np.repeat(page[:, :, None], 3, axis=2) if page.ndim == 2 else page for page in pages]
    return torch.from_numpy(np.stack(pages))
