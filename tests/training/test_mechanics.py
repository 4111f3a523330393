"""How a training fits a machine: parts of a batch, activations computed again, logs. What is learnt stays the same."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from transformers import DonutProcessor

from benchmark import CrossEntropy, Strategy, reference
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import to_pixels
from benchmark.scales import TINY, Budget
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Batch, Documents, EverySteps, Schedule, train
from benchmark.types import Dataset

PLAN = Schedule(steps=3, batch=4, learning_rate=1e-3, optimizer="adam")
BUDGET = Budget(0, 8, batch=4, learning_rate=1e-3, evaluations=2, optimizer="adam")


@pytest.fixture
def student(processor: DonutProcessor) -> Donut:
    torch.manual_seed(0)
    return build(TINY, replace(TINY.small, depths=(2, 2)), len(processor.tokenizer), seed=0)


class ByDocument:
    """A loss that is a mean over documents, whose means over equal parts of a batch have the batch's mean."""

    def __init__(self, processor: DonutProcessor) -> None:
        self._processor = processor
        self.at_once: list[int] = []

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        self.at_once.append(len(batch["rows"]))
        output = model(
            pixel_values=to_pixels(self._processor, batch["pages"]),
            decoder_input_ids=batch["labels"][:, :3].clamp(min=0),
            use_cache=False,
        )
        mean: torch.Tensor = output.logits.float().square().mean((1, 2)).mean()
        return mean


@pytest.fixture
def in_one(
    student: Donut, pages: EncodedDocuments, processor: DonutProcessor, tmp_path: Path
) -> tuple[Donut, list[float]]:
    model = deepcopy(student)
    return model, train(model, Documents(pages), PLAN, ByDocument(processor), "whole", tmp_path / "whole", [])


def assert_same(ours: Donut, theirs: Donut) -> None:
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-4), name


def test_a_batch_in_parts_is_the_same_batch(
    student: Donut,
    in_one: tuple[Donut, list[float]],
    pages: EncodedDocuments,
    processor: DonutProcessor,
    tmp_path: Path,
) -> None:
    loss = ByDocument(processor)
    losses = train(student, Documents(pages), PLAN, loss, "parts", tmp_path / "parts", [], Mechanics(accumulate=4))
    model, expected = in_one
    assert loss.at_once == [1] * 12
    assert losses == pytest.approx(expected, rel=1e-3)
    assert_same(student, model)


def test_it_learns_in_bfloat16_and_reads_in_float32(
    student: Donut,
    in_one: tuple[Donut, list[float]],
    pages: EncodedDocuments,
    processor: DonutProcessor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither validation nor what comes after it reads otherwise than the same weights, loaded again."""
    monkeypatch.setenv("DONUTBENCH_PRECISION", "bfloat16")
    fresh = deepcopy(student)

    def reads_as_loaded(_: int = 0) -> None:
        fresh.load_state_dict(student.state_dict())
        ours, theirs = (outputs(model, pages, processor) for model in (student, fresh))
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)  # their attention is not the same code

    loss, look = ByDocument(processor), EverySteps(reads_as_loaded, 2)
    losses = train(student, Documents(pages), PLAN, loss, "lower", tmp_path / "lower", [look])
    reads_as_loaded()
    _, expected = in_one
    assert losses == pytest.approx(expected, rel=0.05)
    assert losses != expected, "not in bfloat16"


def outputs(model: Donut, pages: EncodedDocuments, processor: DonutProcessor) -> torch.Tensor:
    begun = pages.labels[:2, :3].clamp(min=0)
    with torch.no_grad():
        logits: torch.Tensor = model(pixel_values=to_pixels(processor, pages.pages[:2]), decoder_input_ids=begun).logits
    return logits


def test_activations_that_are_computed_again_are_the_same(
    student: Donut,
    in_one: tuple[Donut, list[float]],
    pages: EncodedDocuments,
    processor: DonutProcessor,
    tmp_path: Path,
) -> None:
    mechanics = Mechanics(checkpointing=True)
    losses = train(student, Documents(pages), PLAN, ByDocument(processor), "again", tmp_path / "again", [], mechanics)
    model, expected = in_one
    assert losses == pytest.approx(expected, rel=1e-3)
    assert_same(student, model)


@pytest.mark.parametrize(("batch", "accumulate", "parts"), [(8, 4, 4), (3, 4, 1), (6, 4, 2), (1, 8, 1)])
def test_a_small_batch_is_seen_in_fewer_parts(batch: int, accumulate: int, parts: int) -> None:
    assert Mechanics(accumulate=accumulate).parts(batch) == parts


def test_a_board_has_losses_rates_and_the_validation_curve(
    student: Donut,
    model: Donut,
    pages: EncodedDocuments,
    datasets: dict[str, Dataset],
    processor: DonutProcessor,
    tmp_path: Path,
) -> None:
    mechanics = Mechanics(board=tmp_path / "logs")
    documents = pages
    data = TrainingData(
        datasets["receipts-mini"], processor, documents, documents.head(2), model, BUDGET, 16, mechanics
    )
    strategy = Strategy("mine", "", reference("small"), CrossEntropy())
    _, curve = train_strategy(
        student, strategy, data, 1e-3, lambda model: 0.25, 0, "mine", tmp_path / "mine__receipts" / "key"
    )
    (folder,) = (tmp_path / "logs").iterdir()
    assert folder.name == "mine__receipts"
    events = EventAccumulator(str(folder))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "learning_rate", "grad_norm", "validation N-TED"}
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    assert (
        [(event.step, event.value) for event in events.Scalars("validation N-TED")] == curve == [(2, 0.25), (4, 0.25)]
    )
