"""Records in rows: one row is one strategy in one setting, over its seeds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.report import paper
from benchmark.results import Record

Get = Callable[[Record], float | None]


class Setting(NamedTuple):
    """What rows must share to be compared."""

    dataset: str
    scale: str
    budget: str


@dataclass(frozen=True, slots=True)
class Row:
    """The records of one strategy in one setting, by seed; never empty."""

    records: tuple[Record, ...]

    @property
    def strategy(self) -> str:
        return self.records[0].strategy

    @property
    def paper_name(self) -> str | None:
        return self.records[0].paper_name

    @property
    def reference(self) -> bool:
        return self.records[0].reference

    @property
    def start(self) -> str:
        return distinct(record.start for record in self.records)

    @property
    def measured(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "ok")

    @property
    def failures(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "failed")

    def values(self, get: Get) -> list[float]:
        """What `get` finds in the measured records, by seed."""
        return [value for record in self.measured if (value := get(record)) is not None]

    def mean(self, get: Get) -> float | None:
        values = self.values(get)
        return statistics.fmean(values) if values else None


def metric(name: str) -> Get:
    """Look up a field of `Record.metrics`."""
    return lambda record: None if record.metrics is None else getattr(record.metrics, name)


def efficiency(name: str, unit: float = 1) -> Get:
    """Look up a field of `Record.efficiency`, in multiples of `unit`."""

    def get(record: Record) -> float | None:
        value = None if record.efficiency is None else getattr(record.efficiency, name)
        return None if value is None else float(value) / unit

    return get


def by_setting(records: Iterable[Record]) -> dict[Setting, list[Row]]:
    """The rows of each setting: data sets and systems in the paper's order, then by name; reference first."""
    cells: dict[Setting, dict[str, list[Record]]] = {}
    for record in sorted(records, key=_record_order):
        setting = Setting(record.dataset, record.scale, record.budget)
        cells.setdefault(setting, {}).setdefault(record.strategy, []).append(record)
    return {
        setting: sorted((Row(tuple(seeds)) for seeds in strategies.values()), key=_row_order)
        for setting, strategies in cells.items()
    }


def distinct(values: Iterable[object]) -> str:
    """The different values, sorted, as one text."""
    return ", ".join(str(value) for value in sorted(set(values), key=lambda value: (str(type(value)), value)))


def _position(name: str | None, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _record_order(record: Record) -> tuple[int, str, str, str, int]:
    position = _position(record.stands_for, list(paper.STANDS_FOR.values()))
    return position, record.dataset, record.scale, record.budget, record.seed


def _row_order(row: Row) -> tuple[bool, int, str]:
    return not row.reference, _position(row.paper_name, paper.SYSTEMS), row.strategy
