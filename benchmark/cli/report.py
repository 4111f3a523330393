"""``report``: the tables again."""

from __future__ import annotations

import typer

from benchmark.cli.options import DirArgument


def report(folder: DirArgument) -> None:
    """Write the tables and figures of DIR again, from its records alone."""
    from benchmark.report import write_report

    write_report(folder)
    typer.echo(f"see {folder / 'leaderboard.md'}")
