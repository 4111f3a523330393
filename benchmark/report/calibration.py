"""What the choice of calibration documents changes of a row's score, beside what another seed changes.

A start that looks at documents of the training split has seen one set of them of many. ``--sweep draw=0,1,2`` gives the
same strategy others: records that differ in their option `draw` alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.columns import Column, Text, csv_text, escaped, markdown_table, number
from benchmark.report.rows import DRAW, Row, Setting, by_setting, metric, setting_of, undrawn
from benchmark.report.tables import setting_fields

_DIGITS = 3
_TED = metric("ted")
_NOTES = (
    "N-TED accuracy of a strategy whose start looks at documents of the training split, under one seed and with "
    "several sets of them (option `draw`), which have no document in common while there are enough. *± over sets* and "
    "*± over seeds* are sample standard deviations: of the sets of that seed, and of the checkpoints of all seeds with "
    "the first set of each, which is of other documents under another seed. Where the two are alike, results of one "
    "set say as little of others as those of one seed do."
)


@dataclass(frozen=True, slots=True)
class Redrawn:
    """A strategy under one seed: a measured record of each calibration set, the first one's first.

    `seeds` are its records of all seeds without another draw; None if there are none.
    """

    records: tuple[Record, ...]
    seeds: Row | None

    @property
    def name(self) -> str:
        return self.records[0].strategy

    @property
    def seed(self) -> int:
        return self.records[0].seed

    @property
    def scores(self) -> list[float]:
        return [record.metrics.ted for record in self.records if record.metrics is not None]

    @property
    def over_seeds(self) -> float | None:
        return None if self.seeds is None else self.seeds.spread(_TED)

    def __str__(self) -> str:
        scores = self.scores
        text = f"{self.name}, seed {self.seed}: {_shown(statistics.fmean(scores))} ± {_shown(statistics.stdev(scores))}"
        text += f" over {len(scores)} sets ({_shown(min(scores))} to {_shown(max(scores))})"
        if self.seeds is None or self.over_seeds is None:
            return text
        return f"{text}, ± {_shown(self.over_seeds)} over {len(self.seeds.distinct)} seeds"


def redrawn(records: Sequence[Record]) -> dict[Setting, list[Redrawn]]:
    """By setting, which is the same for all sets, the strategies and seeds with several calibration sets."""
    places = dict.fromkeys(undrawn(setting) for setting in by_setting(records))
    found: dict[Setting, dict[str, list[Record]]] = {place: {} for place in places}
    for record in sorted(records, key=lambda record: (record.strategy, record.seed, record.options.get(DRAW, ""))):
        place = undrawn(setting_of(record))
        if record.status == "ok" and record.calibration_hash is not None:
            found[place].setdefault(record.strategy, []).append(record)
    own = {place: [one for of in strategies.values() for one in _by_seed(of)] for place, strategies in found.items()}
    return {place: several for place, several in own.items() if several}


def _by_seed(records: Sequence[Record]) -> list[Redrawn]:
    """Of one strategy; where documents are few, draws give the same set again."""
    plain = tuple(record for record in records if DRAW not in record.options)
    sets: dict[int, dict[str | None, Record]] = {}
    for record in records:
        sets.setdefault(record.seed, {}).setdefault(record.calibration_hash, record)
    return [Redrawn(tuple(of.values()), Row(plain) if plain else None) for of in sets.values() if len(of) > 1]


def calibration_lines(found: Sequence[Redrawn]) -> list[str]:
    """A block of Markdown lines that ends with an empty one; nothing where no set was changed for another."""
    if not found:
        return []
    rule = "What other calibration documents change of ted, beside other seeds ([tables/calibration.md]"
    return [f"{rule}(tables/calibration.md)):", "", *(f"- {one}." for one in found), ""]


def write_calibration(directory: Path, records: Sequence[Record]) -> list[Path]:
    """Write ``tables/calibration.md`` and ``.csv`` where a strategy has several sets.

    Raises `UserError` if that fails.
    """
    found = redrawn(records)
    if not found:
        return []
    texts = {"calibration.csv": _csv(found), "calibration.md": _markdown(found)}
    for name, text in texts.items():
        write_atomically(directory / "tables" / name, text.encode())
    return [directory / "tables" / name for name in texts]


def _markdown(found: Mapping[Setting, Sequence[Redrawn]]) -> str:
    lines = ["# Calibration documents", "", _NOTES, ""]
    for setting, rows in found.items():
        lines += [f"## {escaped(setting.title)}", "", markdown_table(COLUMNS, rows), ""]
    return "\n".join(lines)


def _csv(found: Mapping[Setting, Sequence[Redrawn]]) -> str:
    header = [*Setting._fields, *(name for column in COLUMNS for name in column.names)]
    lines = [
        [*setting_fields(setting), *(field for column in COLUMNS for field in column.fields(row))]
        for setting, rows in found.items()
        for row in rows
    ]
    return csv_text(lines, header)


def _shown(value: float) -> str:
    return number(value, _DIGITS)


def _number(key: str, heading: str, get: Callable[[Redrawn], float | None]) -> Text[Redrawn]:
    def text(row: Redrawn) -> str | None:
        value = get(row)
        return None if value is None else _shown(value)

    return Text(key, heading, text, "right")


def _count(key: str, get: Callable[[Redrawn], int]) -> Text[Redrawn]:
    return Text(key, key, lambda row: str(get(row)), "right")


COLUMNS: tuple[Column[Redrawn], ...] = (
    Text("strategy", "strategy", lambda row: row.name),
    _count("seed", lambda row: row.seed),
    _count("sets", lambda row: len(row.records)),
    _number("ted_mean", "ted", lambda row: statistics.fmean(row.scores)),
    _number("ted_std_sets", "± over sets", lambda row: statistics.stdev(row.scores)),
    _number("ted_lowest", "lowest", lambda row: min(row.scores)),
    _number("ted_highest", "highest", lambda row: max(row.scores)),
    _number("ted_std_seeds", "± over seeds", lambda row: row.over_seeds),
    _count("seeds", lambda row: len(row.seeds.distinct) if row.seeds else 0),
)
