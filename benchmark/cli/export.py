"""``export``: the model of a cell, to take away."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from benchmark.cli.options import DirArgument
from benchmark.cli.printing import echo
from benchmark.plugin.manager import check_known
from benchmark.types import Precision


def export(
    folder: DirArgument,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="The name of a record in DIR/results.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A folder that is not there yet, or empty.")],
    packed: Annotated[
        bool, typer.Option("--packed", help="Leave the zeros out: a smaller file, which donutbench alone loads.")
    ] = False,
    onnx: Annotated[
        str | None,
        typer.Option(metavar="fp32|int8", help="Write graphs for onnxruntime instead; int8: linear layers rounded."),
    ] = None,
) -> None:
    """Write the model of a cell of DIR into a folder that others load, with a model card."""
    from benchmark.export import export as write

    if onnx is not None:
        check_known("precision", onnx, get_args(Precision))
    beyond = write(folder, cell, target, packed, cast("Precision | None", onnx))
    echo(f"see {target / 'README.md'}" + (f"; transformers alone cannot load it: {beyond}" if beyond else ""))
