"""Nothing of a training is made on another device than the model: on a fake GPU, which computes shapes alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from transformers import DonutProcessor

from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.pruning import Mask
from benchmark.pretraining.auxiliary import CellReader
from benchmark.pretraining.loss import PretrainingLoss
from benchmark.scales import TINY
from benchmark.training.compress import TrainingData
from benchmark.training.trainer import Batch, Documents, eager_attention
from benchmark.types import Dataset, Objective
from tests.strategies.registered import OBJECTIVES

TOKENS = 40


@contextmanager
def fake_gpu() -> Iterator[FakeTensorMode]:
    shapes = ShapeEnv(allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    with FakeTensorMode(shape_env=shapes, static_shapes=True) as mode:
        yield mode


@pytest.fixture
def batch(pages: EncodedDocuments) -> Batch:
    """On the CPU, real."""
    documents = Documents(pages)
    return documents.collate([{**documents[row], "input_ids": range(TOKENS)} for row in range(2)])


def on_the_gpu(mode: FakeTensorMode, batch: Batch) -> Batch:
    return {name: mode.from_tensor(value).to("cuda") for name, value in batch.items()}


def moved(mode: FakeTensorMode, model: Donut) -> Donut:
    """With fake weights in the place of its own, in place; tied ones stay tied."""
    known: dict[torch.Tensor, nn.Parameter] = {}
    for module in model.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                if weight not in known:
                    known[weight] = nn.Parameter(mode.from_tensor(weight).detach().to("cuda"))
                module._parameters[name] = known[weight]
        for name, value in module._buffers.items():
            if value is not None:
                module._buffers[name] = mode.from_tensor(value).to("cuda")
    return model


def student(processor: DonutProcessor) -> Donut:
    model = build(TINY, TINY.small, len(processor.tokenizer), seed=0)
    eager_attention(model)
    return model


def pretraining(processor: DonutProcessor) -> PretrainingLoss:
    return PretrainingLoss(
        scale=TINY, processor=processor, prompt=5, steps=10, encoder_share=0.3, aided_share=0.8, shift=3, seed=0
    )


def test_a_fake_gpu_tells_devices_apart() -> None:
    with fake_gpu(), pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        torch.ones(3) + torch.ones(3, device="cuda")


@pytest.mark.parametrize("done", [0.1, 0.5, 0.9], ids=["the encoder alone", "aided", "alone"])
def test_the_aids_of_the_zoo(
    done: float, batch: Batch, processor: DonutProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # How far it moves a page is a number, which a fake cannot draw.
    monkeypatch.setattr(PretrainingLoss, "_shifted", lambda self, pages, points, step: (pages, points))
    model = student(processor)
    model.cell_reader = CellReader(model.encoder.config.hidden_size, len(processor.tokenizer))
    with fake_gpu() as gpu:
        found = pretraining(processor)(moved(gpu, model), on_the_gpu(gpu, batch), done)
        assert found.device.type == "cuda"


def test_points_are_moved_where_they_are(batch: Batch, processor: DonutProcessor) -> None:
    pages, points = (batch[name].to("meta") for name in ("pages", "points"))
    moved = pretraining(processor)._shifted(pages, points, 3)
    assert [tensor.device.type for tensor in moved] == ["meta", "meta"]


# A fake GPU takes no module that is made while it is there, as the parts of an objective are.
@pytest.mark.parametrize("objective", [o for o in OBJECTIVES.values() if not hasattr(o, "parts")], ids=str)
def test_objectives_and_what_keeps_zeros(
    objective: Objective,
    batch: Batch,
    pages: EncodedDocuments,
    datasets: dict[str, Dataset],
    processor: DonutProcessor,
) -> None:
    budget = replace(TINY.quick, batch=2)
    whole, own = build(TINY, TINY.teacher, len(processor.tokenizer), seed=1), student(processor)
    with fake_gpu() as gpu:
        model, teacher = moved(gpu, own), moved(gpu, whole)
        data = TrainingData(datasets["receipts-mini"], processor, pages, pages, teacher, budget, 2)
        seen = on_the_gpu(gpu, batch)
        with torch.no_grad():
            theirs = data.outputs_of(teacher, seen, objective.teaching)
        mask = Mask(model)
        found = objective(data.outputs_of(model, seen, objective.teaching), theirs, seen["labels"])
        assert found.device.type == "cuda"
        mask.after_step(1)
