"""Latency as it is printed: first by the teacher's in the same rounds, which another machine can repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmark.report.columns import Column, Field, Measured, number, rounded
from benchmark.report.rows import Row, efficiency

latency_ratio = efficiency("latency_ratio")


@dataclass(frozen=True, slots=True)
class Ratio:
    """A model's time by the teacher's: the mean over distinct checkpoints, and an interval that holds all theirs.

    `name` is the field of `Efficiency`.
    """

    name: str
    heading: str
    align: ClassVar[str] = "right"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}{end}_measured" for end in ("", "_low", "_high"))

    def text(self, row: Row) -> str:
        mean = row.mean(efficiency(self.name))
        if mean is None:
            return "" if row.scored else "failed"
        return with_interval(mean, *self._interval(row))

    def fields(self, row: Row) -> tuple[Field, ...]:
        return rounded(row.mean(efficiency(self.name))), *map(rounded, self._interval(row))

    def _interval(self, row: Row) -> tuple[float | None, float | None]:
        lows, highs = (row.values(efficiency(f"{self.name}{end}")) for end in ("_low", "_high"))
        return min(lows, default=None), max(highs, default=None)


RATIO = Ratio("latency_ratio", "latency (x teacher)")
PARTS: tuple[Column, ...] = (
    Ratio("latency_encoder_ratio", "encoder (x teacher)"),
    Ratio("latency_decoder_ratio", "decoder (x teacher)"),
)
LATENCY: tuple[Column, ...] = (RATIO, Measured("latency_ms_p50", "latency p50 (ms)", efficiency("latency_ms_p50")))


def control_sentence(rows: Sequence[Row]) -> str:
    """What the ratio of the teacher to itself was, which should be 1; empty where no record says."""
    timed = [record.efficiency for row in rows for record in row.scored if record.efficiency]
    found = {
        with_interval(one.latency_control, one.latency_control_low, one.latency_control_high)
        for one in timed
        if one.latency_control is not None
    }
    return f"The teacher timed against itself: {', '.join(sorted(found))}." if found else ""


def with_interval(value: float, low: float | None, high: float | None) -> str:
    return number(value, 2) + ("" if low is None or high is None else f" [{number(low, 2)}, {number(high, 2)}]")
