"""What a strategy does to a model, one step after the other, and which step may not come after which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from benchmark.errors import UserError

Step = Literal["cut", "factor", "prune", "train", "quantize"]
"""Units cut out, layers made products of two, weights zeroed, weights trained, weights rounded to whole numbers."""

_AFTER: Mapping[Step, tuple[tuple[Step, ...], str]] = {
    "factor": (("cut",), "the ranks were chosen for layers that are whole"),
    "prune": (("cut", "factor"), "its zeros would be lost"),
    "quantize": (("cut", "factor", "prune", "train"), "that needs floats"),
}
"""Of a step those that may not come after it, and why: cut, factor, prune, train, quantize is always right."""


def steps_of(part: object) -> tuple[Step, ...]:
    """The steps of a part, which it names as `steps`; none of one that does not."""
    return tuple(getattr(part, "steps", ()))


def check_order(whose: str, parts: Iterable[tuple[str, Iterable[Step]]]) -> None:
    """Raise `UserError` for a step that comes too late; `parts` are their names and their steps, in order."""
    before: list[tuple[Step, str]] = []
    for name, steps in parts:
        for step in steps:
            for earlier, earlier_name in before:
                illegal, reason = _AFTER.get(earlier, ((), ""))
                if step in illegal:
                    raise UserError(f"{whose}: {step} ({name}) after {earlier} ({earlier_name}): {reason}")
            before.append((step, name))
