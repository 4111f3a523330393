"""LoRA recovery: only the updates move, and they end up in the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import DonutProcessor

from benchmark import Calibration, Span, UserError
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import greedy
from benchmark.scales import TINY
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.types import Dataset, References
from donutbench_strategies.lora_recovery import LoRA, donutbench_register_strategies

SPAN = Span(upstream=False, steps=3)


def logits(model: Donut, documents: Calibration) -> torch.Tensor:
    model.train(False)
    with torch.no_grad():
        found: torch.Tensor = model(
            pixel_values=documents.pixel_values[:2], decoder_input_ids=documents.decoder_input_ids[:2, :8]
        ).logits
    return found


def test_it_changes_nothing_at_first_and_merges_what_it_has_learnt(references: References) -> None:
    model, documents = cast(Donut, references.load("teacher")), references.calibration(2)
    before = logits(model, documents)
    names = set(dict(model.named_parameters()))
    attached = LoRA(rank=4).attach(model, SPAN)
    assert torch.equal(logits(model, documents), before)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora." in name:
                weight.normal_(std=0.1)
    learnt = logits(model, documents)
    assert not torch.allclose(learnt, before, atol=0.1)
    attached.finish()
    assert set(dict(model.named_parameters())) == names
    torch.testing.assert_close(logits(model, documents), learnt, rtol=1e-4, atol=1e-3)
    assert all(weight.requires_grad for weight in model.parameters())


def test_what_is_written_while_it_trains_is_what_the_merged_model_writes(references: References) -> None:
    """Validation reads by a decoder of its own, which joins projections into one."""
    model, documents = cast(Donut, references.load("teacher")), references.calibration(2)
    attached = LoRA(rank=4).attach(model, SPAN)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora." in name:
                weight.normal_(std=0.1)
    model.train(False)
    start = int(documents.decoder_input_ids[0, 0])
    before = greedy(model, documents.pixel_values, start, -1, 24)
    attached.finish()
    assert torch.equal(greedy(model, documents.pixel_values, start, -1, 24), before)
    plain = greedy(cast(Donut, references.load("teacher")), documents.pixel_values, start, -1, 24)
    assert not torch.equal(plain, before)


def test_an_update_has_the_rank_and_the_scale(references: References) -> None:
    model = cast(Donut, references.load("teacher"))
    weight = model.decoder.model.decoder.layers[0].fc1.weight
    before = weight.detach().clone()
    attached = LoRA(rank=3, lora_alpha=6.0).attach(model, SPAN)
    adapter: Any = model.decoder.model.decoder.layers[0].fc1.lora
    with torch.no_grad():
        adapter[2].weight.normal_()
    product = adapter[2].weight.detach() @ adapter[1].weight.detach()
    attached.finish()
    torch.testing.assert_close(weight.detach() - before, 2.0 * product, rtol=1e-4, atol=1e-5)
    assert torch.linalg.matrix_rank(product) == 3


def test_training_moves_matrices_alone(
    references: References,
    receipts: EncodedDocuments,
    datasets: dict[str, Dataset],
    processor: DonutProcessor,
    tmp_path: Path,
) -> None:
    """Three real steps: norms, biases, tables and kernels are what they were, and every matrix has an update."""
    (strategy,) = donutbench_register_strategies()
    strategy = replace(strategy, start=lambda references, scale, seed: references.load("teacher"))
    model = cast(Donut, references.load("teacher"))
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    budget = replace(TINY.quick, batch=2, evaluations=1, save_steps=0)
    few = receipts.head(6)
    data = TrainingData(
        datasets["receipts-mini"], processor, few, few, cast(Donut, references.load("teacher")), budget, 6
    )
    trained, _ = train_strategy(model, strategy, data, 0.01, lambda model: 0.0, 0, "", tmp_path)
    linear = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    moved = {name for name, weight in trained.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == (linear - {"decoder.lm_head.weight"}) & set(before)


@pytest.mark.parametrize(
    ("wrong", "told"), [({"rank": 0}, "a rank of at least 1, not 0"), ({"dropout": 1.0}, "a share below 1, not 1")]
)
def test_what_makes_no_sense_is_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        LoRA(**wrong)
