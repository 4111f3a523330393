"""The leaderboard on a terminal: what decides, in 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from benchmark.records.record import Record
    from benchmark.report.against import Teds
    from benchmark.report.columns import Measured
    from benchmark.report.ranking import Ranking
    from benchmark.report.rows import Row

_APART = "†"


def print_leaderboard(records: Sequence[Record], console: Console, teds: Teds | None = None) -> None:
    """Print a table a setting, in the order and with the ranks of ``leaderboard.md``."""
    from rich.text import Text

    from benchmark.report.ranking import rankings

    for setting, ranking in rankings(records, teds).items():
        console.print(Text(setting.title, style="bold"))
        console.print(_table(ranking))
        for sentence in _notes(ranking):
            console.print(Text(sentence, style="dim"))
        console.print()


def _table(ranking: Ranking) -> Table:
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False)
    table.add_column("rank", justify="right", no_wrap=True)
    table.add_column("strategy", overflow="fold")
    for heading in ("N-TED", "F1", "packed\n(MB)", "latency\n(x teacher)"):
        table.add_column(heading, justify="right", no_wrap=True)
    ranks = ranking.ranks
    for group in ranking.groups:
        for row in group:
            remark = f" {_APART}" if row in ranking.apart else ranking.remark(row)
            cells = [ranks.get(row.strategy, ""), row.strategy + remark, *_numbers(row)]
            table.add_row(*map(Text, cells))
        if group:
            table.add_section()
    return table


def _numbers(row: Row) -> list[str]:
    from benchmark.report.columns import F1, PACKED, TED
    from benchmark.report.latency import RATIO

    if not row.scored:
        return ["failed", "", "", ""]
    return [TED.text(row), _mean(F1, row), _mean(PACKED, row), RATIO.text(row)]


def _mean(column: Measured, row: Row) -> str:
    """Without its spread, for which 80 columns have no room."""
    from benchmark.report.columns import number

    mean = row.mean(column.get)
    return "" if mean is None else number(mean, column.digits)


def _notes(ranking: Ranking) -> list[str]:
    from benchmark.report.latency import timing_remarks

    apart = f"{_APART} {ranking.why_apart}" if ranking.apart else ""
    sentences = (ranking.teacher, ranking.why_unranked, ranking.undecided, apart, timing_remarks(ranking.rows))
    return [sentence for sentence in sentences if sentence]
