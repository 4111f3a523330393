"""The differences between rows on the same documents: a table under each leaderboard, and all of them, of F1 too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmark.metrics.paired import micro_f1
from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.against import Compared, Counts, Teds, comparisons, samples_of
from benchmark.report.columns import Field, csv_text, escaped, markdown, rounded
from benchmark.report.ranking import Ranking, rankings
from benchmark.report.rows import Setting

_NOTES = (
    "A row minus another one on the same test documents: N-TED accuracy, and the micro F1 computed anew in every "
    "resample. In brackets is the 95 % interval of a paired bootstrap over documents and checkpoints; a star marks "
    "what is decisive after Holm's correction for the rows of the column."
)
_HEADER = (*Setting._fields, "strategy", "comparison", "value", "low", "high", "p", "p_holm")

Tables = Mapping[str, Mapping[str, Compared]]
"""What is compared with -> strategy -> how."""


def differences_table(ranking: Ranking) -> list[str]:
    """A block of Markdown lines that ends with an empty one; nothing where no two rows can be compared."""
    return _markdown(ranking, comparisons(ranking.groups, ranking.samples))


def write_differences(directory: Path, records: Sequence[Record], teds: Teds, counts: Counts) -> list[Path]:
    """Write ``tables/differences.md`` and ``.csv``. Raises `UserError` if that fails."""
    text, lines = ["# Differences on the same documents", "", _NOTES, ""], list[list[Field]]()
    for setting, ranking in rankings(records, teds).items():
        f1 = comparisons(ranking.groups, samples_of(ranking.rows, counts, micro_f1), "f1")
        both = [table for table in (comparisons(ranking.groups, ranking.samples), f1) if table]
        if both:
            text += [
                f"## {escaped(setting.title)}",
                "",
                *(line for table in both for line in _markdown(ranking, table)),
            ]
        lines += [fields for table in both for fields in _fields(setting, table)]
    texts = {"differences.csv": csv_text(lines, _HEADER), "differences.md": "\n".join(text)}
    for name, content in texts.items():
        write_atomically(directory / "tables" / name, content.encode())
    return [directory / "tables" / name for name in texts]


def _markdown(ranking: Ranking, tables: Tables) -> list[str]:
    if not tables:
        return []
    names = [row.strategy for row in ranking.rows if any(row.strategy in table for table in tables.values())]
    cells = {heading: [str(table.get(name, "")) for name in names] for heading, table in tables.items()}
    frame = pd.DataFrame({"strategy": names, **cells}, dtype=object)
    return [markdown(frame, ["left", *["right"] * len(tables)]), ""]


def _fields(setting: Setting, tables: Tables) -> Iterator[list[Field]]:
    place: list[Field] = [*map(setting.text, Setting._fields)]
    for heading, table in tables.items():
        for name, one in table.items():
            found = one.difference
            numbers = map(rounded, (found.value, found.low, found.high))
            yield [*place, name, heading, *numbers, *(f"{p:.3g}" for p in (found.p, one.p))]
