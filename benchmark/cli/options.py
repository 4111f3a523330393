"""Options that several commands share, and how their values are checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

from benchmark.errors import UserError
from benchmark.folders.folder import KEY_ORDERS, Folder, KeyOrder, parse_shares
from benchmark.plugin.manager import Registry, check_known, load_plugins
from benchmark.running.config import BUDGETS, DEVICES
from benchmark.scales import SCALES, Scale
from benchmark.types import PROTOCOLS, SPLITS, Dataset, ProtocolName, Split

NamesOption = Annotated[str, typer.Option(help="all, or names joined by commas.")]
PROTOCOL_HELP = f"The way of the model to the task: {', '.join(PROTOCOLS)}."
ProtocolOption = Annotated[str, typer.Option(help=PROTOCOL_HELP)]
TeacherOption = Annotated[
    str | None,
    typer.Option(
        help="Your own checkpoint, the model to be compressed: a folder as transformers saves it, or the id of a model "
        "in the hub's cache. Pages and tokens are as it has them, or the paper's with --scale paper."
    ),
]
BudgetOption = Annotated[str, typer.Option(help=f"How long rows train: {', '.join(BUDGETS)}.")]
SeedsOption = Annotated[str, typer.Option(help="Whole numbers joined by commas.")]
SCALE_HELP = f"Sizes of pages, models and training: {', '.join(SCALES)}."
ScaleOption = Annotated[str, typer.Option(help=SCALE_HELP)]
DeviceOption = Annotated[str, typer.Option(help=f"Where models run: {', '.join(DEVICES)}.")]
LimitOption = Annotated[int | None, typer.Option(min=1, help="Read at most N test documents.")]
SmokeOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Take at most N documents of every split: training and validation are cut too, so this is a smoke test. "
        "Its results have names and tables of their own.",
    ),
]
PluginOption = Annotated[list[Path] | None, typer.Option("--plugin", help="A Python file with hooks.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="NAME=DIR", help="A folder of documents in Donut's format as a data set."),
]
KeyOrderOption = Annotated[
    str | None,
    typer.Option(
        help="The order of keys in the ground truths of --data: donut (the default) is reverse alphabetical, as Donut "
        "writes them, file as they stand in the file."
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="A,B,C",
        help="Percent of train, validation and test, such as 80,10,10: the documents of --data are divided by a hash "
        "of their file names. A split with 0 stays as the folder has it: 90,10,0 takes validation from training.",
    ),
]
CheckpointArgument = Annotated[str, typer.Argument(help="A folder or a hub id.")]
PromptOption = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="The token that tells the checkpoint what to do, such as <s_cord-v2> or <s>: by default that of the data "
        "set, or else the one that the checkpoint begins with by itself.",
    ),
]
DirArgument = Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False)]


def find_scale(name: str) -> Scale:
    return SCALES[check_known("scale", name, SCALES)]


def find_dataset(name: str, plugins: Sequence[Path] | None) -> Dataset:
    return dataset_of(load_plugins(plugins or ()), name)


def dataset_of(registry: Registry, name: str) -> Dataset:
    return registry.datasets[check_known("dataset", name, registry.datasets)].item


def parse_data(data: Sequence[str] | None, key_order: str | None, split: str | None) -> tuple[Folder, ...]:
    """The folders of ``--data``, all read with the same options. Raises `UserError` for what does not fit together."""
    for option, value in (("--key-order", key_order), ("--split", split)):
        if value is not None and not data:
            raise UserError(f"{option} is about the documents of --data, and there are none")
    order = cast(KeyOrder, check_known("key order", key_order or KEY_ORDERS[0], KEY_ORDERS))
    shares = None if split is None else parse_shares(split)
    folders: dict[str, Folder] = {}
    for text in data or ():
        name, equals, path = text.partition("=")
        if not name or not equals or not path:
            raise UserError(f"--data {text!r} is not NAME=DIR")
        if name in folders:
            raise UserError(f"--data {text}: the name is that of {folders[name].path} already")
        # A shell expands no ~ after the = of a name with a hyphen.
        folders[name] = Folder(name, Path(path).expanduser(), order, shares)
    return tuple(folders.values())


def registry_of(plugins: Sequence[Path], data: Sequence[Folder], needed: Sequence[Split] = SPLITS) -> Registry:
    """What plugins and folders bring. Raises as `load_plugins` and `with_folders`."""
    registry = load_plugins(plugins)
    if not data:
        return registry
    from benchmark.folders.read import with_folders

    return with_folders(registry, data, needed)


def find_protocol(name: str) -> ProtocolName:
    check_known("protocol", name, PROTOCOLS)
    return cast(ProtocolName, name)
