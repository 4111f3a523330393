"""``paper.md``: the results of the DONUT-hole paper, each beside ours and tested on our rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.against import Counts, Teds
from benchmark.report.reproduction.page import reproduction_markdown
from benchmark.report.reproduction.study import studies

__all__ = ["write_reproduction"]


def write_reproduction(directory: Path, records: Sequence[Record], teds: Teds, counts: Counts) -> list[Path]:
    """Write ``paper.md``, where rows of the paper's systems have read what stands for its data sets.

    Raises `UserError` if that fails.
    """
    found = studies(records, teds, counts)
    path = directory / "paper.md"
    if found:
        write_atomically(path, reproduction_markdown(found).encode())
    return [path] if found else []
