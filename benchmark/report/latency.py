"""Latency as it is printed: first by the teacher's in the same rounds, which another machine can repeat.

A ratio is told only where the clock was sound: the teacher is timed against itself, and an interval of that which
misses 1 says that the clock sees differences that are not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import ClassVar, Protocol

from benchmark.records.record import Efficiency, Interval, Part, Record
from benchmark.report.columns import Column, Field, Measured, Text, number, rounded
from benchmark.report.rows import Row, efficiency

NOT_TOLD = "not told"
SPARSE = 0.9
"""The density below which a model is sparse: a dense one has a few zeros too."""


def told(costs: Efficiency) -> bool:
    """Whether the ratios of a timing may be told: its control, where that has an interval, does not miss 1."""
    if costs.latency_control_low is None or costs.latency_control_high is None:
        return True
    return costs.latency_control_low <= 1 <= costs.latency_control_high


def latency_ratio(record: Record) -> float | None:
    """The ratio of a record where it is told."""
    return None if record.efficiency is None or not told(record.efficiency) else record.efficiency.latency_ratio


class Costed(Protocol):
    """A row of any table: the costs of its checkpoints as far as they were measured, and whether it has none at all."""

    @property
    def costs(self) -> Sequence[Efficiency]: ...

    @property
    def failed(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Spanned:
    """The mean over distinct checkpoints, and an interval that holds all theirs.

    A `ratio` is not told of a row whose timings, or one of them, had a control that misses 1.
    """

    key: str
    heading: str
    get: Callable[[Efficiency], Interval | None]
    digits: int = 1
    ratio: bool = False
    align: ClassVar[str] = "right"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.key}{end}_measured" for end in ("", "_low", "_high"))

    def text(self, row: Costed) -> str:
        found = self.interval(row)
        if found is not None:
            return with_interval(found.value, found.low, found.high, self.digits)
        if row.failed:
            return "failed"
        return NOT_TOLD if self._found(row) else ""

    def fields(self, row: Costed) -> tuple[Field, ...]:
        found = self.interval(row)
        return (None,) * 3 if found is None else (rounded(found.value), rounded(found.low), rounded(found.high))

    def interval(self, row: Costed) -> Interval | None:
        """None where nothing was measured or it is not told."""
        found = self._found(row)
        if not found or (self.ratio and not all(map(told, row.costs))):
            return None
        lows = [one.low for one in found if one.low is not None]
        highs = [one.high for one in found if one.high is not None]
        mean = fmean(one.value for one in found)
        return Interval(value=mean, low=min(lows, default=None), high=max(highs, default=None))

    def _found(self, row: Costed) -> list[Interval]:
        return [one for costs in row.costs if (one := self.get(costs)) is not None]


def _ratio(name: str, heading: str) -> Spanned:
    """Of the field `name` and its two ends."""

    def get(costs: Efficiency) -> Interval | None:
        value, low, high = (getattr(costs, f"{name}{end}") for end in ("", "_low", "_high"))
        return None if value is None else Interval(value=value, low=low, high=high)

    return Spanned(name, heading, get, digits=2, ratio=True)


RATIO = _ratio("latency_ratio", "latency (x teacher)")
PARTS: tuple[Column[Costed], ...] = (
    _ratio("latency_encoder_ratio", "encoder (x teacher)"),
    _ratio("latency_decoder_ratio", "decoder (x teacher)"),
)
LATENCY: tuple[Column[Row], ...] = (RATIO, Measured("latency_ms_p50", "latency p50 (ms)", efficiency("latency_ms_p50")))


def timing_columns(part: Part, title: str) -> tuple[Column[Costed], ...]:
    """p50 and p95 of a part of the reading in milliseconds, and its ratio to the teacher's."""

    def at(what: str) -> Callable[[Efficiency], Interval | None]:
        return lambda costs: getattr(costs.timings[part], what) if part in costs.timings else None

    return (
        Spanned(f"{part}_ms_p50", f"{title} p50 (ms)", at("p50")),
        Spanned(f"{part}_ms_p95", f"{title} p95 (ms)", at("p95")),
        Spanned(f"{part}_ratio", f"{title} (x teacher)", at("ratio"), digits=2, ratio=True),
    )


def not_faster(row: Costed) -> bool:
    """Whether it is sparse, and its latency, as far as that is told, is not below the teacher's."""
    ratio = RATIO.interval(row)
    if ratio is None or fmean(costs.density for costs in row.costs) >= SPARSE:
        return False
    return (ratio.value if ratio.high is None else ratio.high) >= 1


FLAG: Column[Costed] = Text("flag", "flag", lambda row: "sparse, not faster" if not_faster(row) else None)


def control_sentence(rows: Sequence[Row]) -> str:
    """What the ratio of the teacher to itself was, which should be 1, and `timing_remarks`."""
    found = sorted({_control(costs) for _, costs in _timed(rows)})
    text = f"The teacher timed against itself: {', '.join(found)}." if found else ""
    return " ".join(filter(None, [text, timing_remarks(rows)]))


def timing_remarks(rows: Sequence[Row]) -> str:
    """Why no ratio is told, with the numbers, and what was timed on which processor, if on several."""
    return " ".join(filter(None, [_untold(rows), _processors(rows)]))


def _untold(rows: Sequence[Row]) -> str:
    missing = sorted({_control(costs) for _, costs in _timed(rows) if not told(costs)})
    if not missing:
        return ""
    return f"No speed-up is told of what was timed where the teacher against itself misses 1: {', '.join(missing)}."


def _processors(rows: Sequence[Row]) -> str:
    found: dict[str, dict[str, None]] = {}
    for record, _ in _timed(rows):
        found.setdefault(str(record.environment.get("device", "an unknown one")), {})[record.strategy] = None
    if len(found) < 2:
        return ""
    *others, most = sorted(found, key=lambda device: (len(found[device]), device))
    named = "; ".join(f"{', '.join(found[device])} on {device}" for device in others)
    return f"Timed on {most}, but {named}, beside the teacher there: what is fast on one may not be on the other."


def _timed(rows: Sequence[Row]) -> Iterator[tuple[Record, Efficiency]]:
    """The records whose costs have a control, and those."""
    records = (record for row in rows for record in row.scored)
    return ((r, r.efficiency) for r in records if r.efficiency and r.efficiency.latency_control is not None)


def _control(costs: Efficiency) -> str:
    assert costs.latency_control is not None
    return with_interval(costs.latency_control, costs.latency_control_low, costs.latency_control_high)


def with_interval(value: float, low: float | None, high: float | None, digits: int = 2) -> str:
    ends = "" if low is None or high is None else f" [{number(low, digits)}, {number(high, digits)}]"
    return number(value, digits) + ends
