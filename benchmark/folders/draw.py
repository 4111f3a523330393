"""Some of the documents of a split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

Row = TypeVar("Row")


def drawn(rows: Sequence[Row], seed: int, count: int | None) -> Sequence[Row]:
    """`count` of the rows, drawn by the seed, in their order: the first ones may be all of one kind."""
    if count is None or count >= len(rows):
        return rows
    return [rows[place] for place in sorted(random.Random(seed).sample(range(len(rows)), count))]
