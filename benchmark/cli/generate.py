"""``generate``: a data set as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import PluginOption, ScaleOption, find_dataset, find_scale
from benchmark.cli.printing import echo


def generate(
    dataset: Annotated[str, typer.Argument()],
    target: Annotated[Path, typer.Argument(help="A folder that is new or empty.")],
    documents: Annotated[int, typer.Option(min=1, help="Training documents; other splits get a tenth.")],
    scale: ScaleOption = "tiny",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    plugin: PluginOption = None,
) -> None:
    """Write a data set in Donut's folder format."""
    sizes = find_scale(scale)
    chosen = find_dataset(dataset, plugin)

    from benchmark.folders.write import write_folder

    write_folder(chosen, sizes, target, documents, seed)
    echo(f"see {target}")
