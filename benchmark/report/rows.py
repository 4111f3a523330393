"""Records in rows: one row is one strategy in one setting, over its seeds, which are its distinct checkpoints."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.records.record import Efficiency, Record
from benchmark.report import paper

Get = Callable[[Record], float | None]
DRAW = "draw"
"""The option of a start that says which calibration documents it looks at; the first ones without it."""


class Setting(NamedTuple):
    """What rows must share to be compared.

    `options` are pairs, sorted by key. `test_documents` is 0 where no cell of the setting was measured.
    """

    dataset: str
    scale: str
    protocol: str
    budget: str
    options: tuple[tuple[str, str], ...]
    limit: int | None
    device: str
    test_documents: int

    def text(self, part: str) -> str:
        """A field as it is printed; empty where there is none."""
        if part == "options":
            return ", ".join(f"{key}={value}" for key, value in self.options)
        value = getattr(self, part)
        return "" if value is None else str(value)

    @property
    def conditions(self) -> str:
        """All but the data set and the test size, in words."""
        parts = [f"scale {self.scale}", f"protocol {self.protocol}", f"budget {self.budget}"]
        parts += [self.text("options")] if self.options else []
        parts += [] if self.limit is None else [f"limit {self.limit}"]
        parts += [] if self.device == "cpu" else [f"device {self.device}"]
        return ", ".join(parts)

    @property
    def title(self) -> str:
        """One line, another one for every setting."""
        size = f", {self.test_documents} test documents" if self.test_documents else ""
        return f"{self.dataset}, {self.conditions}{size}"


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
    def scored(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "ok")

    @property
    def failures(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if record.status == "failed")

    @property
    def checkpoints(self) -> tuple[tuple[Record, ...], ...]:
        """The measured records, those of one and the same checkpoint together.

        A record that does not say which it scored stands for one of its own.
        """
        found: dict[str | int, list[Record]] = {}
        for number, record in enumerate(self.scored):
            found.setdefault(record.model_hash or number, []).append(record)
        return tuple(tuple(same) for same in found.values())

    @property
    def distinct(self) -> tuple[Record, ...]:
        """A measured record of each checkpoint: what means and spreads are taken over."""
        return tuple(same[0] for same in self.checkpoints)

    @property
    def costs(self) -> tuple[Efficiency, ...]:
        """What its distinct checkpoints cost, as far as that was measured."""
        return tuple(record.efficiency for record in self.distinct if record.efficiency is not None)

    @property
    def failed(self) -> bool:
        """Whether nothing of it was scored."""
        return not self.scored

    @property
    def deterministic(self) -> bool:
        """Whether nothing was trained, and several seeds gave the same model: another one would too."""
        untrained = all(record.objective is None for record in self.scored)
        return untrained and len(self.scored) > 1 and len(self.distinct) == 1

    def values(self, get: Get) -> list[float]:
        """What `get` finds in the measured records of distinct checkpoints, by seed."""
        return [value for record in self.distinct if (value := get(record)) is not None]

    def mean(self, get: Get) -> float | None:
        values = self.values(get)
        return statistics.fmean(values) if values else None

    def spread(self, get: Get) -> float | None:
        """The sample standard deviation; None of fewer than two checkpoints."""
        values = self.values(get)
        return statistics.stdev(values) if len(values) > 1 else None


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
    """The rows of each setting: data sets and systems in the paper's order, then by name; reference first.

    What failed belongs to the setting that agrees in everything but the test size. A reference that has no options
    is in the settings with options too, which are read against it. What repeats a strategy with other calibration
    documents is in none: it is no other strategy, and `report.calibration` tells of it.
    """
    found = sorted(_without_repeats(list(records)), key=lambda record: record.seed)
    groups = {setting: _rows(setting, found) for setting in _settings(found)}
    return dict(sorted(groups.items(), key=lambda group: _setting_order(*group)))


def principal(settings: Mapping[Setting, list[Row]]) -> dict[Setting, list[Row]]:
    """All settings but those that vary the options of another one with more than references in it.

    What is varied is a point of that one's figures.
    """
    plain = {setting for setting, rows in settings.items() if not (setting.options or all(r.reference for r in rows))}
    return {
        setting: rows
        for setting, rows in settings.items()
        if not setting.options or setting._replace(options=()) not in plain
    }


def setting_of(record: Record) -> Setting:
    return Setting(
        dataset=record.dataset,
        scale=record.scale,
        protocol=record.protocol,
        budget=record.budget,
        options=tuple(sorted(record.options.items())),
        limit=record.limit,
        device=record.device,
        test_documents=record.test_documents if record.status == "ok" else 0,
    )


def undrawn(setting: Setting) -> Setting:
    """The setting whatever calibration documents starts look at."""
    return setting._replace(options=tuple(option for option in setting.options if option[0] != DRAW))


def _without_repeats(records: Sequence[Record]) -> list[Record]:
    """All but those that looked at other documents than a record that is the same without the option."""

    def place(record: Record) -> tuple[str, int, Setting]:
        return record.strategy, record.seed, undrawn(setting_of(record))

    looked = [record for record in records if record.status == "ok" and record.calibration_hash is not None]
    plain = {place(record) for record in looked if DRAW not in record.options}
    repeats = {record.cell for record in looked if DRAW in record.options and place(record) in plain}
    return [record for record in records if record.cell not in repeats]


def _settings(records: Sequence[Record]) -> set[Setting]:
    measured = {setting_of(record) for record in records if record.status == "ok"}
    failed = {setting_of(record) for record in records if record.status == "failed"}
    sizes = {setting_of(record) for record in records if record.status == "ok" and record.reference}
    for setting in failed:
        if not any(_sizeless(other) == setting for other in measured):
            like = {s.test_documents for s in sizes if _sizeless(s) == setting._replace(options=())} or {0}
            measured |= {setting._replace(test_documents=size) for size in like}
    return measured


def _sizeless(setting: Setting) -> Setting:
    return setting._replace(test_documents=0)


def _rows(setting: Setting, records: Sequence[Record]) -> list[Row]:
    own: dict[str, list[Record]] = {}
    guests: dict[str, list[Record]] = {}
    for record in records:
        place = setting_of(record)
        if record.status == "failed":
            place = place._replace(test_documents=setting.test_documents)
        if place == setting:
            own.setdefault(record.strategy, []).append(record)
        elif record.reference and not record.options and place._replace(options=setting.options) == setting:
            guests.setdefault(record.strategy, []).append(record)
    # One row never mixes a reference with the variant of it that has the options.
    return sorted((Row(tuple(seeds)) for seeds in {**guests, **own}.values()), key=_row_order)


def distinct(values: Iterable[object]) -> str:
    """The different values, sorted, as one text."""
    return ", ".join(str(value) for value in sorted(set(values), key=lambda value: (str(type(value)), value)))


def _position(name: str | None, names: Sequence[str]) -> int:
    return names.index(name) if name in names else len(names)


def _setting_order(setting: Setting, rows: Sequence[Row]) -> tuple[object, ...]:
    position = _position(rows[0].records[0].stands_for, list(paper.STANDS_FOR.values()))
    return position, *setting._replace(limit=setting.limit or 0, test_documents=-setting.test_documents)


def _row_order(row: Row) -> tuple[bool, int, str]:
    return not row.reference, _position(row.paper_name, paper.SYSTEMS), row.strategy
