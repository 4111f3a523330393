"""``evaluate``: the scores of any checkpoint."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.cli.options import (
    CheckpointArgument,
    DataOption,
    DeviceOption,
    KeyOrderOption,
    LimitOption,
    PluginOption,
    PromptOption,
    ScaleOption,
    SplitOption,
    dataset_of,
    find_scale,
    parse_data,
    registry_of,
)
from benchmark.cli.printing import echo_json
from benchmark.errors import UserError
from benchmark.plugin.manager import check_known
from benchmark.running.config import DEVICES


def evaluate(
    checkpoint: CheckpointArgument,
    dataset: Annotated[
        str | None, typer.Option(help="The data set whose test split is read; that of --data needs no name.")
    ] = None,
    data: DataOption = None,
    key_order: KeyOrderOption = None,
    split: SplitOption = None,
    prompt: PromptOption = None,
    scale: ScaleOption = "tiny",
    device: DeviceOption = "auto",
    limit: LimitOption = None,
    plugin: PluginOption = None,
) -> None:
    """Score any DONUT checkpoint on the test split of a data set, as JSON."""
    sizes = find_scale(scale)
    check_known("device", device, DEVICES)
    folders = parse_data(data, key_order, split)
    name = dataset or (folders[0].name if len(folders) == 1 else None)
    if name is None:
        raise UserError("say with --dataset which data set is read, or bring one with --data NAME=DIR")
    documents = dataset_of(registry_of(plugin or (), folders, needed=("test",)), name)

    from benchmark.scoring.evaluator import evaluate_checkpoint

    scores = evaluate_checkpoint(checkpoint, documents, sizes, device, limit, prompt)
    echo_json(scores)
