"""What is said of a claim: by an interval, or by checkpoints where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Verdict = Literal["holds", "not decided", "does not hold"]
VERDICTS: tuple[Verdict, ...] = ("holds", "not decided", "does not hold")


def positive(value: float, sure: bool) -> Verdict:
    """Of the claim that a difference is above 0, which is `sure` not to be 0."""
    if not sure:
        return "not decided"
    return "holds" if value > 0 else "does not hold"


def above(ours: Sequence[float], theirs: Sequence[float]) -> Verdict:
    """Of the claim that one network has more than another: it holds if all its checkpoints have."""
    if min(ours) > max(theirs):
        return "holds"
    return "does not hold" if max(ours) < min(theirs) else "not decided"


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim that says several things at once."""
    return max(verdicts, key=VERDICTS.index)
