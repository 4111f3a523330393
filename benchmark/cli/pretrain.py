"""``pretrain``: the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import benchmark
from benchmark.cli.options import DeviceOption, ScaleOption, find_scale
from benchmark.errors import UserError
from benchmark.plugin.manager import check_known, load_plugins
from benchmark.running.config import DEVICES

ZOO = Path(benchmark.__file__).parent / "zoo"
UNFINISHED = Path("reports/local/pretrain")


def pretrain(
    scale: ScaleOption,
    output: Annotated[Path | None, typer.Option(help="Where the checkpoints go; else the package's zoo/SCALE.")] = None,
    device: DeviceOption = "auto",
    only: Annotated[list[str] | None, typer.Option(help="Make only this checkpoint.")] = None,
) -> None:
    """Train the checkpoints of a scale on the embedded data; goes on where it stopped."""
    sizes = find_scale(scale)
    check_known("device", device, DEVICES)
    plugins = load_plugins()
    datasets = [entry.item for entry in plugins.datasets.values() if entry.item.embedded]
    if not datasets:
        raise UserError("no embedded dataset is registered: install donutbench")

    from benchmark.devices import find_device
    from benchmark.pretraining.pretrain import pretrain as train

    strategies = [entry.item for entry in plugins.strategies.values()]
    train(sizes, datasets, strategies, output or ZOO / scale, UNFINISHED / scale, only or (), find_device(device))
