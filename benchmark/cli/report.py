"""``report``: the tables again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import DirArgument
from benchmark.cli.printing import echo


def report(
    folder: DirArgument,
    readme: Annotated[
        Path | None, typer.Option(help="Put a summary between the leaderboard marks of this file.")
    ] = None,
) -> None:
    """Write the tables and figures of DIR again, from its records and predictions alone."""
    from benchmark.report import embed_summary, write_report

    first, *_ = write_report(folder)
    if readme is not None:
        embed_summary(readme, folder)
    echo(f"see {first}")
