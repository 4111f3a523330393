"""Options that several commands share, and how their values are checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from benchmark.errors import UserError
from benchmark.plugin.manager import check_known, load_plugins
from benchmark.scales import SCALES, Scale
from benchmark.types import PROTOCOLS, Dataset, ProtocolName

BUDGETS = ("quick", "full")
DEVICES = ("auto", "cpu", "cuda")

NamesOption = Annotated[str, typer.Option(help="all, or names joined by commas.")]
PROTOCOL_HELP = f"The way of the model to the task: {', '.join(PROTOCOLS)}."
ProtocolOption = Annotated[str, typer.Option(help=PROTOCOL_HELP)]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        help="Your own checkpoint, the model to be compressed: a folder as transformers saves it, or the id of a model "
        "in the hub's cache. Pages and tokens are as it has them, and --scale is not asked."
    ),
]
BudgetOption = Annotated[str, typer.Option(help=f"How long rows train: {', '.join(BUDGETS)}.")]
SeedsOption = Annotated[str, typer.Option(help="Whole numbers joined by commas.")]
ScaleOption = Annotated[str, typer.Option(help=f"Sizes of pages, models and training: {', '.join(SCALES)}.")]
DeviceOption = Annotated[str, typer.Option(help=f"Where models run: {', '.join(DEVICES)}.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Read only the first N test documents.")]
SmokeOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        min=1,
        help="Take at most N documents of every split: training and validation are cut too, so this is a smoke test. "
        "Its results have names and tables of their own.",
    ),
]
PluginOption = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file with hooks.")]
CheckpointArgument = Annotated[str, typer.Argument(help="A folder or a hub id.")]
DirArgument = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False)]


def find_scale(name: str) -> Scale:
    return SCALES[check_known("scale", name, SCALES)]


def find_dataset(name: str, plugins: Sequence[Path] | None) -> Dataset:
    datasets = load_plugins(plugins or ()).datasets
    return datasets[check_known("dataset", name, datasets)].item


def find_protocol(name: str) -> ProtocolName:
    check_known("protocol", name, PROTOCOLS)
    return cast(ProtocolName, name)


def parse_seeds(text: str) -> tuple[int, ...]:
    seeds = [seed.strip() for seed in text.split(",")]
    if not all(seed.isdecimal() and int(seed) < 2**32 for seed in seeds):
        raise UserError(f"--seeds {text!r} is not a list of whole numbers below 2^32 joined by commas")
    return tuple(dict.fromkeys(int(seed) for seed in seeds))
