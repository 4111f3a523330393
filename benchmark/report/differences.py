"""The differences between rows on the same documents, as a table under each leaderboard and as one CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.against import Teds, comparisons
from benchmark.report.columns import Field, csv_text, markdown, rounded
from benchmark.report.ranking import Ranking, rankings
from benchmark.report.rows import Setting


def differences_table(ranking: Ranking) -> list[str]:
    """A block of Markdown lines that ends with an empty one; nothing where no two rows can be compared."""
    tables = comparisons(ranking.rows, ranking.samples)
    if not tables:
        return []
    names = [row.strategy for row in ranking.rows if any(row.strategy in table for table in tables.values())]
    cells = {heading: [str(table.get(name, "")) for name in names] for heading, table in tables.items()}
    frame = pd.DataFrame({"strategy": names, **cells}, dtype=object)
    return [markdown(frame, ["left", *["right"] * len(tables)]), ""]


def write_differences(directory: Path, records: Sequence[Record], teds: Teds) -> list[Path]:
    """Write ``tables/differences.csv``: a line a row and comparison. Raises `UserError` if that fails."""
    header = [*Setting._fields, "strategy", "comparison", "value", "low", "high", "p", "p_holm"]
    lines: list[list[Field]] = []
    for setting, ranking in rankings(records, teds).items():
        place: list[Field] = [*map(setting.text, Setting._fields)]
        for heading, table in comparisons(ranking.rows, ranking.samples).items():
            for name, one in table.items():
                found = asdict(one.difference)
                numbers = [rounded(found[key]) for key in ("value", "low", "high")]
                lines.append([*place, name, heading, *numbers, *(f"{p:.4f}" for p in (found["p"], one.p))])
    path = directory / "tables" / "differences.csv"
    write_atomically(path, csv_text(lines, header).encode())
    return [path]
