"""``export``: the model of a cell, to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import DirArgument
from benchmark.cli.printing import echo


def export(
    folder: DirArgument,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The name of a record in DIR/results.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder that is not there yet, or empty.")],
    packed: Annotated[
        bool, typer.Option("--packed", help="Leave the zeros out: a smaller file, which donutbench alone loads.")
    ] = False,
) -> None:
    """Write the model of a cell of DIR into a folder that others load, with a model card."""
    from benchmark.export import export as write

    beyond = write(folder, cell, target, packed)
    echo(f"see {target / 'README.md'}" + (f"; transformers alone cannot load it: {beyond}" if beyond else ""))
