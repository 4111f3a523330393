"""Which folder is read, by which name, and what is chosen about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.errors import UserError
from benchmark.types import check_name

KeyOrder = Literal["donut", "file"]
KEY_ORDERS: tuple[KeyOrder, ...] = ("donut", "file")

FROM_FOLDER = "the folder "
"""What the source of such a data set begins with; its name alone follows, for the path is nobody's business."""

Shares = tuple[int, int, int]
"""Percent of train, validation and test."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A data set in a folder of Donut's format.

    `key_order` ``donut`` writes keys in reverse alphabetical order, as Donut does and checkpoints of other people
    have learnt it; ``file`` as they stand in the file. With `shares` the documents are divided into splits by a hash
    of their file names; a split with a share of 0 is what the folder has of it. Raises `UserError` for a name that is
    none.
    """

    name: str
    path: Path
    key_order: KeyOrder = "donut"
    shares: Shares | None = None

    def __post_init__(self) -> None:
        check_name("data set", self.name)


def parse_shares(text: str) -> Shares:
    """``"80,10,10"`` as percent. Raises `UserError` for anything else, and where nothing is left to train on."""
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 4]
    if len(numbers) != len(parts) or len(parts) != 3 or sum(numbers) != 100 or not numbers[0]:
        raise UserError(
            f"--split {text!r} is not the percent of train, validation and test, such as 80,10,10: three whole numbers "
            "that make 100, the first above 0"
        )
    return numbers[0], numbers[1], numbers[2]
