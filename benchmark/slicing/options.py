"""What can be chosen of a cut. Nothing here loads torch, so that a start can be described without it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from benchmark.errors import UserError

Kind = Literal["ffn", "heads", "width", "layers"]
"""What is cut out: units of feed-forward layers, attention heads, channels of the residual stream, layers."""
Importance = Literal["magnitude", "taylor", "activation", "random", "spacing"]
"""What goes first: see `benchmark.slicing.importance`."""
Measure = Literal["parameters", "macs"]
"""What a budget is a share of: parameters that are no embeddings, or multiply-accumulates."""
Allocation = Literal["uniform", "global", "absolute"]
"""Whether every group loses the same share, or the units go first that are worth least beside their group, or least of
all."""


def share_of(ratio: object) -> float:
    """What a ratio leaves: itself below 1, and above 1 it is how many times smaller. Raises `UserError` for others."""
    try:
        number = float(str(ratio))
    except ValueError:
        number = float("nan")
    if not 0 < number < float("inf") or number == 1:
        given = ratio if isinstance(ratio, str) else f"{ratio:g}"
        raise UserError(f"ratio {given} is neither a share below 1 that stays nor a factor above 1")
    return number if number < 1 else 1 / number


def check_calibration(documents: int, draw: int) -> None:
    """Raise `UserError` for documents to look at that there cannot be: a count of them, and which set of as many."""
    if documents < 1:
        raise UserError(f"what looks at data needs at least 1 document, not {documents}")
    if draw < 0:
        raise UserError(f"draws of documents are counted from 0, and there is none of number {draw}")


def check_choice(what: str, name: str, known: Any) -> None:
    """Raise `UserError` if `name` is none of a `Literal`'s."""
    if name not in get_args(known):
        raise UserError(f"unknown {what} {name!r}: choose from {', '.join(get_args(known))}")
