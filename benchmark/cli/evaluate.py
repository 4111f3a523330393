"""``evaluate``: the scores of any checkpoint."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from benchmark.cli.options import (
    DEVICES,
    CheckpointArgument,
    DeviceOption,
    LimitOption,
    PluginOption,
    ScaleOption,
    find_dataset,
    find_scale,
)
from benchmark.plugin.manager import check_known


def evaluate(
    checkpoint: CheckpointArgument,
    dataset: Annotated[str, typer.Option(help="The data set whose test split is read.")],
    scale: ScaleOption = "tiny",
    device: DeviceOption = "auto",
    limit: LimitOption = None,
    plugin: PluginOption = None,
) -> None:
    """Score any DONUT checkpoint on the test split of a data set, as JSON."""
    sizes = find_scale(scale)
    check_known("device", device, DEVICES)
    documents = find_dataset(dataset, plugin)

    from benchmark.scoring.evaluator import evaluate_checkpoint

    scores = evaluate_checkpoint(checkpoint, documents, sizes, device, limit)
    typer.echo(json.dumps(scores, indent=2, ensure_ascii=False))
