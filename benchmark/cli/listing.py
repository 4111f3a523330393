"""``list``: what there is, and where it comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import PluginOption
from benchmark.cli.printing import echo_json
from benchmark.plugin.manager import Registry, load_plugins
from benchmark.scales import SCALES

Listing = dict[str, list[dict[str, str]]]


def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plugin: PluginOption = None,
) -> None:
    """List strategies, data sets and scales, and where each comes from."""
    listing = _describe(load_plugins(plugin or ()))
    if as_json:
        echo_json(listing)
    else:
        _print_tables(listing)


def _describe(registry: Registry) -> Listing:
    return {
        "strategies": [
            {
                **_row(name, entry.item.summary, entry.source, entry.item.paper),
                "protocols": ", ".join(entry.item.protocols),
            }
            for name, entry in registry.strategies.items()
        ],
        "datasets": [
            _row(name, entry.item.summary, entry.source, entry.item.stands_for or "")
            for name, entry in registry.datasets.items()
        ],
        "scales": [_row(scale.name, scale.summary, "donutbench", "") for scale in SCALES.values()],
    }


def _row(name: str, summary: str, source: str, paper: str) -> dict[str, str]:
    """`paper` is where a strategy comes from, or the paper's data set that a data set is printed beside."""
    return {"name": name, "summary": summary, "source": source, "paper": paper}


def _print_tables(listing: Listing) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = 200  # whoever reads a pipe wants a row a line
    for kind, rows in listing.items():
        table = Table(*(rows[0] if rows else ()), title=kind, title_justify="left", box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*map(Text, row.values()))
        console.print(table)
