"""Which of the two programmes for the edit distance runs: numpy's, or the compiled one where numba is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from benchmark.metrics import zhang_shasha
from benchmark.metrics.trees import Tree

Programme = Callable[[Tree, Tree], int]
"""The exact edit distance of two ordered trees; quicker with the one of fewer `relevant` nodes first."""

WORTH_COMPILING = 30_000_000
"""Cells after which the compiled programme takes over: numpy needs 1.3 s for them (750 receipts of 10 items), importing
numba and compiling 0.6 s if it was done before and 1.6 s if not. So whoever scores a few documents never waits for the
compiler, and whoever scores many loses no more by the late start than starting at once would have cost."""


@dataclass(slots=True)
class Programmes:
    """Both give the same integers, so that it never matters to a score which of them runs."""

    cells: int = 0
    """Cells of all distances so far, and of the one in hand."""

    def distance(self, a: Tree, b: Tree) -> int:
        """The exact edit distance."""
        self.cells += a.relevant * b.relevant
        programme = compiled() if self.cells > WORTH_COMPILING else None
        return (programme or zhang_shasha.edit_distance)(a, b)


@cache
def compiled() -> Programme | None:
    """The compiled programme; None where numba is missing, or refuses the numpy that is installed."""
    try:
        from benchmark.metrics.compiled import edit_distance
    except ImportError:
        return None
    return edit_distance
