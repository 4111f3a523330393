"""``predict``: what a model reads from a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.options import CheckpointArgument, DeviceOption, PromptOption
from benchmark.cli.printing import echo_json
from benchmark.plugin.manager import check_known
from benchmark.running.config import DEVICES


def predict(
    checkpoint: CheckpointArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", exists=True, dir_okay=False)],
    dataset: Annotated[str | None, typer.Option(help="Read the images as documents of this data set.")] = None,
    prompt: PromptOption = None,
    device: DeviceOption = "auto",
) -> None:
    """Print the JSON that a checkpoint reads from each image, one line an image."""
    check_known("device", device, DEVICES)

    from benchmark.scoring.evaluator import predict_images

    for prediction in predict_images(checkpoint, images, device, dataset, prompt):
        echo_json(prediction, indent=None)
