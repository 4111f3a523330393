"""How a training fits a machine."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import gcd
from pathlib import Path

from benchmark.errors import UserError


@dataclass(frozen=True, slots=True)
class Mechanics:
    """A batch is seen in `accumulate` parts, whose losses are averaged: a token then counts as the others of its part.

    In a launch of several processes that is said of the share of each, whose losses are averaged too.

    Under `checkpointing` activations are computed again in the backward pass instead of kept: the same to the last
    digits. `board` is a folder for TensorBoard's logs; raises `UserError` without the package that writes them.
    """

    accumulate: int = 1
    checkpointing: bool = False
    board: Path | None = None

    def __post_init__(self) -> None:
        if self.board is not None and find_spec("tensorboard") is None:
            raise UserError("--tensorboard needs a package: pip install 'donutbench[tensorboard]'")

    def parts(self, batch: int) -> int:
        """How many parts a batch, or a share, is seen in; fewer where it is small and does not fall into as many."""
        return gcd(batch, self.accumulate)
