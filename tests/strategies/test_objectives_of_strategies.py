"""Every objective of every built-in strategy: a loss, with gradients, that is lower for a student that is the teacher.

On the shipped teacher of receipts and real documents.
"""

from __future__ import annotations

import pytest
import torch
from transformers import DonutProcessor

from benchmark import FixedMask, Outputs, magnitude_pruned
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.scales import TINY
from benchmark.training.compress import TrainingData
from benchmark.training.learnt import lesson_of
from benchmark.training.trainer import Batch
from benchmark.types import Dataset, LearntObjective, Objective
from tests.strategies.conftest import OfReceipts
from tests.strategies.registered import OBJECTIVES, STRATEGIES


@pytest.fixture(scope="module")
def data(
    datasets: dict[str, Dataset], processor: DonutProcessor, receipts: EncodedDocuments, references: OfReceipts
) -> TrainingData:
    return TrainingData(
        datasets["receipts-mini"], processor, receipts, receipts, references.load("teacher"), TINY.quick, len(receipts)
    )


@pytest.fixture
def batch(receipts: EncodedDocuments) -> Batch:
    return {"pages": receipts.pages[:4], "labels": receipts.labels[:4]}


def heard(objective: Objective | LearntObjective, data: TrainingData, batch: Batch) -> Outputs | None:
    """What an objective is told of the teacher."""
    if objective.teaching in ("none", "answers"):
        return None
    with torch.no_grad():
        return data.outputs_of(data.teacher, batch, objective.teaching)


def loss(objective: Objective | LearntObjective, model: Donut, data: TrainingData, batch: Batch) -> torch.Tensor:
    torch.manual_seed(0)
    student = data.outputs_of(model, batch, objective.teaching)
    return lesson_of(objective)(student, heard(objective, data, batch), batch["labels"])


@pytest.mark.parametrize("text", OBJECTIVES)
def test_it_can_be_followed_and_the_teacher_is_lower(
    text: str, data: TrainingData, batch: Batch, references: OfReceipts
) -> None:
    objective, student = OBJECTIVES[text], references.load("teacher")
    prune_globally(student, magnitudes(student), 0.5)
    found = loss(objective, student, data, batch)
    assert found.shape == ()
    assert found.isfinite()
    torch.autograd.backward(found)
    slopes = [weight.grad for weight in student.parameters() if weight.grad is not None]
    assert len(slopes) > 0.9 * len([*student.parameters()])
    assert all(slope.isfinite().all() for slope in slopes)
    assert any((slope != 0).any() for slope in slopes)
    if not hasattr(objective, "parts"):  # what has to be learnt first tells nobody from the teacher
        with torch.no_grad():
            assert loss(objective, references.load("teacher"), data, batch) < 0.5 * found.detach()


@pytest.mark.parametrize("text", OBJECTIVES)
def test_what_lies_beyond_the_end_of_a_document_does_not_count(text: str, data: TrainingData, batch: Batch) -> None:
    """Tokens of padding are seen by no token before them: labels of -100 must keep them out of the loss."""
    objective = OBJECTIVES[text]
    longest = int((batch["labels"] != -100).sum(1).max())
    short, long = (batch["labels"][:, : longest + more] for more in (0, 9))
    long = torch.nn.functional.pad(long, (0, longest + 9 - long.shape[1]), value=-100)
    with torch.no_grad():
        losses = [loss(objective, data.teacher, data, {**batch, "labels": labels}) for labels in (short, long)]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_objectives_of_one_start_differ_in_nothing_else() -> None:
    names = ("logits", "dist", "standardised", "attention", "sequence")
    for strategy in (STRATEGIES[f"prune-{name}"] for name in names):
        assert strategy.start == magnitude_pruned("paper-table") == STRATEGIES["prune-distill"].start
        assert strategy.constraint == FixedMask() == STRATEGIES["prune-distill"].constraint
        assert strategy.protocols == ("task",)
    assert len({str(STRATEGIES[f"prune-{name}"].objective) for name in names}) == len(names)
