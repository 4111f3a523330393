"""What a model computes on calibration documents: what its layers are given, and what the loss says of its weights.

One document at a time and without what is beyond its end: a page of the paper's size takes gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, unfold
from transformers import VisionEncoderDecoderModel

from benchmark.models.parameters import prunable
from benchmark.progress import quiet
from benchmark.types import Calibration

Note = Callable[[str, torch.Tensor], None]
"""(name of a weight, its inputs as rows) -> nothing: called at each forward pass of the layer."""


def each(calibration: Calibration) -> Iterator[Calibration]:
    """One document after the other, cut to its own tokens."""
    for row, labels in enumerate(calibration.labels):
        length = int((labels != -100).sum())
        inputs = calibration.decoder_input_ids[row : row + 1, :length]
        yield Calibration(calibration.pixel_values[row : row + 1], inputs, labels[None, :length])


def run_through(model: VisionEncoderDecoderModel, calibration: Calibration) -> None:
    """A forward pass of each document, ground truth in hand; for whoever watches."""
    with quiet(model), torch.no_grad():
        for document in each(calibration):
            model(pixel_values=document.pixel_values, decoder_input_ids=document.decoder_input_ids, use_cache=False)


def mean_squares(model: VisionEncoderDecoderModel, calibration: Calibration) -> dict[str, torch.Tensor]:
    """By prunable weight the mean square of each of its inputs, (inputs,): their norms but for a constant (Wanda)."""
    totals: dict[str, torch.Tensor] = {}
    rows: dict[str, int] = {}

    def note(name: str, inputs: torch.Tensor) -> None:
        totals[name] = totals.get(name, torch.zeros(())) + inputs.double().square().sum(0)
        rows[name] = rows.get(name, 0) + len(inputs)

    with watched(model, prunable(model), note):
        run_through(model, calibration)
    return {name: (total / rows[name]).float() for name, total in totals.items()}


def mean_products(
    model: VisionEncoderDecoderModel, calibration: Calibration, names: Collection[str]
) -> dict[str, torch.Tensor]:
    """By weight the mean product of each pair of its inputs, (inputs, inputs), in float64: X^T X over its rows."""
    totals: dict[str, torch.Tensor] = {}
    rows: dict[str, int] = {}

    def note(name: str, inputs: torch.Tensor) -> None:
        totals[name] = totals.get(name, torch.zeros(())) + (inputs.T @ inputs).double()
        rows[name] = rows.get(name, 0) + len(inputs)

    with watched(model, names, note):
        run_through(model, calibration)
    return {name: total / rows[name] for name, total in totals.items()}


def gradients(model: VisionEncoderDecoderModel, calibration: Calibration) -> Iterator[dict[str, torch.Tensor]]:
    """Of each document the gradient of its cross-entropy, by parameter, tied ones under each of their names."""
    with quiet(model), torch.enable_grad():
        for document in each(calibration):
            model.zero_grad()
            logits = model(pixel_values=document.pixel_values, decoder_input_ids=document.decoder_input_ids).logits
            cross_entropy(logits.flatten(0, 1), document.labels.flatten()).backward()
            named = model.named_parameters(remove_duplicate=False)
            yield {name: weight.grad for name, weight in named if weight.grad is not None}
    model.zero_grad()


@contextmanager
def watched(model: VisionEncoderDecoderModel, names: Collection[str], note: Note) -> Iterator[None]:
    """Call `note` with what the layers of these weights are given, as rows: a weight, flattened to two dimensions,
    multiplies them.
    """
    handles = []
    for name in names:
        module = model.get_submodule(name.rpartition(".")[0])
        handles.append(module.register_forward_pre_hook(partial(_note_rows, note, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _note_rows(note: Note, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
    given: torch.Tensor = inputs[0].detach()
    if isinstance(module, nn.Conv2d):
        given = unfold(given, module.kernel_size, module.dilation, module.padding, module.stride).mT  # type: ignore[arg-type]
    note(name, given.flatten(0, -2))
