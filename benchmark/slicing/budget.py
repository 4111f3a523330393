"""How much goes: units in the order of their importance, until what is left fits a budget."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product

import torch

from benchmark.models.arithmetic import donut_macs
from benchmark.models.donut import Donut
from benchmark.models.macs import FIXED_TOKENS
from benchmark.models.parameters import non_embeddings
from benchmark.models.shapes import sketched
from benchmark.slicing.groups import Group, cut, keep
from benchmark.slicing.options import Allocation, Measure

Scores = Mapping[Group, torch.Tensor]
"""One score for each unit of a group; the lowest go first."""
TOLERANCE = 0.02
"""How far what is left may be from a budget, relatively."""
GRAIN = 8
"""FFN units and channels are cut so that a multiple of this many stays: what vector units and tensor cores like."""


@dataclass(frozen=True, slots=True)
class _Removal:
    group: Group
    units: tuple[int, ...]


Removals = Sequence[_Removal]
Left = Callable[[Removals], float]
"""The share that is left without these."""


def cut_to(
    model: Donut, scores: Scores, share: float, of: Measure, allocation: Allocation, page: tuple[int, int]
) -> float:
    """Cut a model, in place, until `share` of its parameters or multiply-accumulates is left; the share that is.

    Parameters are those that are no embeddings; multiply-accumulates those of a `page` (height, width) of 64 tokens.
    Under a ``uniform`` allocation every group loses the same share of its units, under a ``global`` one those units go
    whose scores are lowest beside the mean of their group, under an ``absolute`` one those of the lowest scores.
    `ValueError` if nothing comes within `TOLERANCE`.
    """
    sketch = sketched(model)
    whole = _cost(sketch, of, page)

    def left(removals: Removals) -> float:
        smaller = deepcopy(sketch)
        keep(smaller, _kept(scores, removals))
        return _cost(smaller, of, page) / whole

    removals = in_order(scores, allocation)
    least = left(removals)
    if least > share * (1 + TOLERANCE):
        raise ValueError(f"{least:.1%} of the {of} stay at least, which is more than {share:.1%}")
    nearest, chosen = _nearest(_choices(scores, removals, share, left), share, left)
    if abs(nearest / share - 1) > TOLERANCE:
        raise ValueError(f"the nearest to {share:.1%} of the {of} that can be left is {nearest:.1%}")
    cut(model, _kept(scores, chosen))
    return nearest


def _choices(scores: Scores, removals: Removals, share: float, left: Left) -> Iterable[Removals]:
    """What may be removed for this share to be left, the likeliest first."""
    if all(group.kind == "layers" for group in scores):  # few and large: any number of each
        own = [[r for r in removals if r.group == group] for group in scores]
        counts = product(*(range(len(of_group) + 1) for of_group in own))
        return [[r for of_group, n in zip(own, some, strict=True) for r in of_group[:n]] for some in counts]
    # What is left falls with the number of removals.
    count = bisect_left(range(len(removals)), True, key=lambda count: left(removals[:count]) <= share)
    first, rest = removals[: max(count - 1, 0)], removals[max(count - 1, 0) :]
    # The next in the order may be too large a step, and that of another group fit.
    nexts = {removal.group: removal for removal in reversed(rest)}.values()
    return [first, *([*first, removal] for removal in rest if removal in nexts)]


def _nearest(choices: Iterable[Removals], share: float, left: Left) -> tuple[float, Removals]:
    """The share that is left, and by which removals: the nearest, or the first that is near enough."""
    found: list[tuple[float, Removals]] = []
    for removals in choices:
        found.append((left(removals), removals))
        if abs(found[-1][0] / share - 1) <= TOLERANCE / 2:
            break
    return min(found, key=lambda pair: abs(pair[0] / share - 1))


def in_order(scores: Scores, allocation: Allocation) -> Removals:
    """What goes one after the other; under a ``uniform`` allocation from which group when, whatever the scores are."""
    ordered = [
        (place, _Removal(group, units))
        for group, values in scores.items()
        for place, units in _ordered(group, values, allocation)
    ]
    return [removal for _, removal in sorted(ordered, key=lambda pair: pair[0])]


def _ordered(group: Group, scores: torch.Tensor, allocation: Allocation) -> list[tuple[float, tuple[int, ...]]]:
    """The removals of one group, each with its place in the order of all."""
    grain = GRAIN if group.kind in ("ffn", "width") else 1
    order = scores.argsort(stable=True).tolist()
    removals, gone = [], 0
    least = max(group.least, min(grain, group.count) if group.least else 0)
    while gone < group.count - least:
        size = (group.count - gone) % grain or grain
        units = tuple(order[gone : gone + size])
        gone += size
        removals.append((gone / group.count if allocation == "uniform" else _worth(scores, units, allocation), units))
    return removals


def _worth(scores: torch.Tensor, units: tuple[int, ...], allocation: Allocation) -> float:
    """The mean score of some units, beside that of their group unless it is ``absolute``."""
    mean = scores[list(units)].mean()
    return float(mean if allocation == "absolute" else mean / scores.mean().clamp(min=torch.finfo(scores.dtype).tiny))


def _kept(scores: Scores, removals: Removals) -> dict[Group, list[int]]:
    gone: dict[Group, set[int]] = {group: set() for group in scores}
    for removal in removals:
        gone[removal.group] |= set(removal.units)
    return {group: [u for u in range(group.count) if u not in units] for group, units in gone.items()}


def _cost(model: Donut, of: Measure, page: tuple[int, int]) -> int:
    if of == "parameters":
        return sum(parameter.numel() for parameter in non_embeddings(model).values())
    return donut_macs(model, page, FIXED_TOKENS).total
