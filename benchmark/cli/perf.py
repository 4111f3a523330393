"""``perf``: our speed against the obvious alternatives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.cli.printing import echo, echo_json
from benchmark.plugin.manager import load_plugins
from benchmark.records.record import Interval

if TYPE_CHECKING:
    from benchmark.perf.comparison import Comparison


def perf(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    repeats: Annotated[
        int, typer.Option(min=1, help="How often each way is timed, in turns; from 6 on ratios have an interval.")
    ] = 7,
    documents: Annotated[int, typer.Option(min=1, help="How many pages are read.")] = 12,
) -> None:
    """Print how many times more the obvious alternatives take than ours: metric, decoding, evaluation, storage."""
    registry = load_plugins(())

    from benchmark.perf import compare_all, differing

    comparisons, notes = compare_all(registry, repeats, documents)
    if as_json:
        found = {"comparisons": [asdict(comparison) for comparison in comparisons], "notes": notes}
        echo_json(found, default=Interval.model_dump)
    else:
        _print_table(comparisons)
        for note in notes:
            echo(note)
    for name in differing(comparisons):
        echo(f"donutbench: {name}: the two ways gave different results", err=True)
    if differing(comparisons):
        raise typer.Exit(1)


def _print_table(comparisons: Iterable[Comparison]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = 200  # whoever reads a pipe wants a row a line
    table = Table("comparison", "ours", "alternative", "took", "took instead", "ratio", "95 %", "same", box=SIMPLE_HEAD)
    for found in comparisons:
        interval = "" if found.ratio.low is None else f"{found.ratio.low:.3g} to {found.ratio.high:.3g}"
        took = [f"{value:,.4g} {found.unit}" for value in (found.ours, found.alternative)]
        same = "yes" if found.same else "no"
        row = (found.name, found.our_way, found.other_way, *took, f"{found.ratio.value:.3g}", interval, same)
        table.add_row(*map(Text, row))
    console.print(table)
    console.print("Milliseconds are of processor time on one thread, ratios those within a repeat.", style="dim")
    for name, documents in dict.fromkeys((found.name, found.documents) for found in comparisons):
        console.print(Text(f"{name}: {documents}", style="dim"))
