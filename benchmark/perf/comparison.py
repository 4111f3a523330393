"""Two ways to the same result, in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.devices import one_thread
from benchmark.measure.quantiles import median
from benchmark.records.record import Interval

Way = Callable[[], Any]
"""Computes a result, which is compared with that of the other way."""
Clock = Callable[[], float]
"""Seconds."""

_LEAST, _MOST_CALLS = 0.05, 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much more the alternative takes than ours.

    `ours` and `alternative` are medians, in `unit`: milliseconds of processor time, or bytes. `ratio` is the median of
    the ratios within a repeat, with its 95 % interval if there are enough; `same` says that both ways gave the same.
    """

    name: str
    documents: str
    our_way: str
    other_way: str
    unit: str
    ours: float
    alternative: float
    ratio: Interval
    repeats: int
    same: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """Comparisons that need what is not installed."""

    what: str
    extra: str

    def __str__(self) -> str:
        return f"{self.what} not compared: pip install 'donutbench[{self.extra}]' brings what is missing"


def compare_times(
    name: str,
    documents: str,
    ours: Mapping[str, Way],
    alternative: tuple[str, Way],
    repeats: int,
    clock: Clock = time.process_time,
) -> list[Comparison]:
    """A comparison for each of our ways, all timed in the same repeats, in an order that is drawn anew each time.

    The first round warms caches and compilers, and gives the results. A short way of ours is then called until it has
    taken `_LEAST` seconds, as one call alone meets caches that the long one has filled. The clock is the processor's
    and torch runs on one thread, so that on a busy machine, too, a long way is not charged for what others did
    meanwhile.
    """
    other_way, other = alternative
    ways = [*ours.values(), other]
    orders = np.random.default_rng(0)
    with one_thread():
        results = [way() for way in ways]
        calls = [math.ceil(_LEAST / max(_seconds(way, 1, clock), _LEAST / _MOST_CALLS)) for way in ways[:-1]] + [1]
        times = np.empty((repeats, len(ways)))
        for repeat in range(repeats):
            for i in orders.permutation(len(ways)):
                times[repeat, i] = 1000 * _seconds(ways[i], calls[i], clock)
    return [
        Comparison(
            name=name,
            documents=documents,
            our_way=our_way,
            other_way=other_way,
            unit="ms",
            ours=float(np.median(times[:, i])),
            alternative=float(np.median(times[:, -1])),
            ratio=median(times[:, -1] / times[:, i]),
            repeats=repeats,
            same=results[i] == results[-1],
        )
        for i, our_way in enumerate(ours)
    ]


def _seconds(way: Way, calls: int, clock: Clock) -> float:
    """Of one call, in the mean."""
    start = clock()
    for _ in range(calls):
        way()
    return (clock() - start) / calls
