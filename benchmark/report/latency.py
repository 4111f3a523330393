"""Latency as it is printed: first by the teacher's in the same rounds, which another machine can repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmark.records.record import Efficiency
from benchmark.report.columns import Column, Field, Measured, number, rounded
from benchmark.report.rows import Row, efficiency

latency_ratio = efficiency("latency_ratio")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A model's time by the teacher's: the mean over distinct checkpoints, and an interval that holds all theirs."""

    heading: ClassVar[str] = "latency (x teacher)"
    align: ClassVar[str] = "right"
    names: ClassVar[tuple[str, ...]] = (
        "latency_ratio_measured",
        "latency_ratio_low_measured",
        "latency_ratio_high_measured",
    )

    def text(self, row: Row) -> str:
        mean = row.mean(latency_ratio)
        if mean is None:
            return "" if row.scored else "failed"
        return _with_interval(mean, *_interval(row))

    def fields(self, row: Row) -> tuple[Field, ...]:
        return rounded(row.mean(latency_ratio)), *map(rounded, _interval(row))


RATIO = Ratio()
LATENCY: tuple[Column, ...] = (RATIO, Measured("latency_ms_p50", "latency p50 (ms)", efficiency("latency_ms_p50")))


def control_sentence(rows: Sequence[Row]) -> str:
    """What the ratio of the teacher to itself was, which should be 1; empty where no record says."""
    timed = [record.efficiency for row in rows for record in row.scored if record.efficiency]
    found = {
        _with_interval(one.latency_control, one.latency_control_low, one.latency_control_high)
        for one in timed
        if one.latency_control is not None
    }
    return f"The teacher timed against itself: {', '.join(sorted(found))}." if found else ""


def _interval(row: Row) -> tuple[float | None, float | None]:
    timed: list[Efficiency] = [record.efficiency for record in row.distinct if record.efficiency]
    lows = [one.latency_ratio_low for one in timed if one.latency_ratio_low is not None]
    highs = [one.latency_ratio_high for one in timed if one.latency_ratio_high is not None]
    return min(lows, default=None), max(highs, default=None)


def _with_interval(value: float, low: float | None, high: float | None) -> str:
    return number(value, 2) + ("" if low is None or high is None else f" [{number(low, 2)}, {number(high, 2)}]")
