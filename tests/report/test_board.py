"""The leaderboard on a terminal and in a pipe."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cli.board import print_leaderboard
from benchmark.records.record import Record
from benchmark.report import leaderboard_frame

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]
Change = Callable[[list[Record]], list[Record]]


def printed(records: list[Record], width: int = 80, terminal: bool = False) -> str:
    file = io.StringIO()
    print_leaderboard(records, Console(file=file, width=width, force_terminal=terminal))
    return file.getvalue()


def row(text: str, strategy: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if strategy in line.split())


def test_a_row_says_what_decides(seeded: list[Record]) -> None:
    text = printed(seeded)
    scores = ["0.889", "±", "0.007", "0.445", "1.431", "1.00", "[0.99,", "1.01]"]
    assert row(text, "prune-distill") == ["2", "prune-distill", *scores]
    assert row(text, "teacher")[:2] == ["teacher", "(reference)"]


def test_sections_and_rows_are_those_of_the_leaderboard(seeded: list[Record], as_task: Change) -> None:
    both = [*as_task(seeded), *seeded]
    text = printed(both)
    titles = [line for line in text.splitlines() if "budget quick" in line]
    assert [title.split(", ")[0:3:2] for title in titles] == [
        ["synthdog-mini", "protocol paper"],
        ["receipts-mini", "protocol paper"],
        ["receipts-mini", "protocol task"],
        ["parcels-mini", "protocol paper"],
        ["parcels-mini", "protocol task"],
    ]
    first = text[: text.index(titles[1])]
    order = [name.split(" ")[0] for name in leaderboard_frame(seeded, "synthdog-mini")["strategy"]]
    places = [first.index(f" {name} ") for name in order]
    assert places == sorted(places)


def test_marked_rows_stand_below_a_line_with_the_reason(seeded: list[Record]) -> None:
    reading = [record for record in seeded if record.task == "reading"]
    lines = printed(reading).splitlines()
    marked = next(number for number, line in enumerate(lines) if " prune † " in line)
    assert set(lines[marked - 1].strip()) == {"─"}
    assert lines[marked].split()[0] == "prune", "it has no rank"
    note = " ".join(lines[marked + 1 :])
    assert "† Not ranked, for the rows above trained on 3,200 documents: prune on 0 (nothing is trained)." in note


def test_without_ranks_it_says_why(records: list[Record]) -> None:
    assert "No ranks: another seed can turn the order" in printed(records)


def test_a_failed_row_says_so_at_the_end(seeded: list[Record], failed: Fail) -> None:
    rows = [failed(r, "boom") if r.strategy == "none" else r for r in seeded if r.task == "reading"]
    text = printed(rows)
    assert row(text, "none") == ["none", "failed"]
    assert text.index(" none ") > text.index(" prune † ")


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_is_cut_or_coloured(seeded: list[Record], as_task: Change, width: int) -> None:
    text = printed([*seeded, *as_task(seeded)], width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if "0.54 [0.53, 0.55]" in line]
    assert len(rows) == 2 * 5  # small and distill, a line each


def test_a_name_is_no_markup(make_record: Make) -> None:
    record = make_record("small", "receipts-mini", options={"x": "[bold]"})
    text = printed([record.model_copy(update={"strategy": "[red]name[/red]"})], terminal=True)
    assert "[red]name[/red]" in text
    assert "x=[bold]" in text


def test_importing_it_loads_no_pandas() -> None:
    code = "import sys, benchmark.cli.board; sys.exit('pandas' in sys.modules or 'rich.table' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
