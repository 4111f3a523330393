"""How much goes: units in the order of their importance, until what is left fits a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch

from benchmark.models.donut import Donut
from benchmark.models.macs import count_macs
from benchmark.models.parameters import non_embeddings
from benchmark.models.shapes import without_weights
from benchmark.slicing.groups import Units, cut, keep

Measure = Literal["parameters", "macs"]
Allocation = Literal["uniform", "global"]
Scores = Mapping[Units, torch.Tensor]
"""One score for each unit of a group; the lowest go first."""
TOLERANCE = 0.02
"""How far what is left may be from the budget, relatively, where the units are small enough."""
GRAIN = 8
"""FFN units and channels are cut so that a multiple of this many stays: what vector units and tensor cores like."""
_TOKENS = 64
_ANY_TOKEN = 0


@dataclass(frozen=True, slots=True)
class _Removal:
    group: Units
    units: tuple[int, ...]


def cut_to(
    model: Donut, scores: Scores, share: float, of: Measure, allocation: Allocation, page: tuple[int, int]
) -> float:
    """Cut a model, in place, until about `share` of its parameters or multiply-accumulates is left; the share that is.

    Parameters are those that are no embeddings; multiply-accumulates those of a `page` (height, width) of 64 tokens.
    Under a ``uniform`` allocation every group loses the same share of its units, under a ``global`` one those units go
    whose scores are lowest beside the mean of their group. `ValueError` if even the least that has to stay is more.
    """
    removals, sketch = _removals(scores, allocation), without_weights(model)
    whole = _cost(sketch, of, page)

    def left(chosen: Sequence[_Removal]) -> float:
        smaller = deepcopy(sketch)
        keep(smaller, _kept(scores, chosen))
        return _cost(smaller, of, page) / whole

    least = left(removals)
    if least > share * (1 + TOLERANCE):
        raise ValueError(f"{least:.1%} of the {of} stay at least, which is more than {share:.1%}")
    count = _first(len(removals), lambda count: left(removals[:count]) <= share)
    chosen = _nearest(removals, max(count - 1, 0), share, left)
    cut(model, _kept(scores, chosen))
    return left(chosen)


def _nearest(
    removals: Sequence[_Removal], count: int, share: float, left: Callable[[Sequence[_Removal]], float]
) -> Sequence[_Removal]:
    """The first `count` removals, and one that may be next in its group if that comes nearer to the share.

    Steps differ in size: a layer is a large one, and the first in the order may be too large where the second fits.
    """
    nexts = {removal.group: removal for removal in reversed(removals[count:])}
    choices = [
        removals[:count],
        *([*removals[:count], removal] for removal in removals[count:] if removal in nexts.values()),
    ]
    misses: list[float] = []
    for choice in choices:
        misses.append(abs(left(choice) / share - 1))
        if len(misses) > 1 and min(misses) <= TOLERANCE:
            break
    return choices[misses.index(min(misses))]


def _first(most: int, holds: Callable[[int], bool]) -> int:
    """The smallest count up to `most` for which this holds, which then does for all larger ones."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _removals(scores: Scores, allocation: Allocation) -> list[_Removal]:
    """What goes one after the other."""
    ordered = [
        (place, _Removal(group, units))
        for group, values in scores.items()
        for place, units in _ordered(group, values, allocation)
    ]
    return [removal for _, removal in sorted(ordered, key=lambda pair: pair[0])]


def _ordered(group: Units, scores: torch.Tensor, allocation: Allocation) -> list[tuple[float, tuple[int, ...]]]:
    """The removals of one group, each with its place in the order of all."""
    grain = GRAIN if group.kind in ("ffn", "width") else 1
    order = scores.argsort(stable=True).tolist()
    removals, gone = [], 0
    least = max(group.least, min(grain, group.units) if group.least else 0)
    while gone < group.units - least:
        size = (group.units - gone) % grain or grain
        units = tuple(order[gone : gone + size])
        gone += size
        relative = float(scores[list(units)].mean() / scores.mean().clamp(min=1e-12))
        removals.append((gone / group.units if allocation == "uniform" else relative, units))
    return removals


def _kept(scores: Scores, removals: Sequence[_Removal]) -> dict[Units, list[int]]:
    gone: dict[Units, set[int]] = {group: set() for group in scores}
    for removal in removals:
        gone[removal.group] |= set(removal.units)
    return {group: [u for u in range(group.units) if u not in units] for group, units in gone.items()}


def _cost(model: Donut, of: Measure, page: tuple[int, int]) -> int:
    if of == "parameters":
        return sum(parameter.numel() for parameter in non_embeddings(model).values())
    return count_macs(model, torch.zeros(1, 3, *page, device="meta"), _ANY_TOKEN, _TOKENS)
