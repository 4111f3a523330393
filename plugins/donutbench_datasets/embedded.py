"""What the embedded data sets share: documents made on demand from (data set, seed, split, index)."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from benchmark import SPLITS, Dataset, Document, Glyph, Json, Scale, Split, UserError
from donutbench_datasets.render import SHIFTED, USUAL, Sheet
from donutbench_datasets.words import Writer

_HEIGHT, _WIDTH = 96, 160
"""What the layouts need, in pixels."""

_SEEDS: tuple[Split, ...] = (*SPLITS, "shifted")
"""The number of a split in the seed of its documents is its place here: to be added to at the end only."""

Compose = Callable[[Sheet, Writer], tuple[Json, list[Glyph]]]
"""Writes one document on the sheet: its ground truth, and the glyphs of that in their order."""


def tokens(ground_truth: Json) -> int:
    """How many tokens a ground truth takes: its characters, two tags a key, a separator between items."""
    if isinstance(ground_truth, dict):
        return sum(2 + tokens(value) for value in ground_truth.values())
    if isinstance(ground_truth, list):
        return sum(tokens(value) for value in ground_truth) + len(ground_truth) - 1
    return len(str(ground_truth))


@dataclass(frozen=True, slots=True)
class EncodedDocuments(Sequence[Document]):
    """Documents that are drawn when they are asked for; the same index always gives the same bytes."""

    name: str
    compose: Compose
    scale: Scale
    split: Split
    seed: int
    size: int

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self._make(i) for i in range(*index.indices(self.size))]
        if not -self.size <= index < self.size:
            raise IndexError(index)
        return self._make(index % self.size)

    def _make(self, index: int) -> Document:
        entropy = (self.seed, zlib.crc32(self.name.encode()), _SEEDS.index(self.split), index)
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        shifted = self.split == "shifted"
        sheet = Sheet(self.scale, random, SHIFTED if shifted else USUAL)
        # Shifted is what the page looks like: its words are those of the test split.
        ground_truth, glyphs = self.compose(sheet, Writer(random, "test" if shifted else self.split))
        page, placed = sheet.finish(glyphs)
        return Document(f"{self.split}-{self.seed}-{index:06d}", page, ground_truth, placed)


def embedded(
    name: str,
    summary: str,
    compose: Compose,
    shifted: Compose,
    keys: tuple[str, ...],
    stands_for: str,
    reading: bool = False,
) -> Dataset:
    """An embedded data set; `shifted` writes the layouts that no other split has.

    Without a count training has 10,000 documents and the other splits the scale's sizes.
    """

    def open_split(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
        if scale.height < _HEIGHT or scale.width < _WIDTH:
            pages = f"{scale.height}x{scale.width}"
            raise UserError(f"{name} is written on pages of {_HEIGHT}x{_WIDTH} pixels or more, not of {pages}")
        usual: dict[Split, int] = {
            "train": 10_000,
            "validation": scale.validation_documents,
            "test": scale.test_documents,
            "shifted": scale.shifted_documents,
        }
        layout = shifted if split == "shifted" else compose
        return EncodedDocuments(name, layout, scale, split, seed, usual[split] if count is None else count)

    return Dataset(
        name=name,
        summary=summary,
        task="reading" if reading else "extraction",
        keys=keys,
        open=open_split,
        embedded=True,
        shifted=True,
        stands_for=stands_for,
    )
