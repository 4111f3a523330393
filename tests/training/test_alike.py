"""Students that read or write less than their teacher learn from what both have, in the real training loop."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from transformers import DonutProcessor

from benchmark.models.cells import Selection, select_cells
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.vocabulary import keep_tokens, tokens_of
from benchmark.parts.objectives import FeatureDistillation
from benchmark.parts.starts import reference
from benchmark.scales import TINY, Budget
from benchmark.training import compress
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.types import Dataset, Outputs, Strategy, Teaching

CELLS = TINY.grid[0] * TINY.grid[1]
LONGEST = 16


@dataclass(frozen=True)
class Heard:
    """Feature distillation that keeps what it is given."""

    losses: list[float] = field(default_factory=list)
    heard: list[tuple[Outputs, Outputs, torch.Tensor]] = field(default_factory=list)

    @property
    def teaching(self) -> Teaching:
        return "features"

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        assert teacher is not None
        loss = FeatureDistillation()(student, teacher, labels)
        self.heard.append((student, teacher, labels))
        self.losses.append(float(loss.detach()))
        return loss


@pytest.fixture
def data(
    pages: EncodedDocuments, datasets: dict[str, Dataset], processor: DonutProcessor, model: Donut
) -> TrainingData:
    short = replace(pages, labels=pages.labels[:, :LONGEST], points=pages.points[:, :LONGEST])
    budget = Budget(reading_documents=6, task_documents=6, batch=2, learning_rate=0.001, evaluations=1)
    return TrainingData(datasets["receipts-mini"], processor, short, short.head(2), model, budget, len(short))


def trained(model: Donut, data: TrainingData, folder: Path) -> Heard:
    """By three steps of two documents."""
    heard = Heard()
    mine = Strategy("mine", "", reference("teacher"), heard)
    train_strategy(model, mine, data, 0.001, lambda _: 0.0, 0, "", folder)
    assert len(heard.losses) == 3
    assert torch.tensor(heard.losses).isfinite().all()
    return heard


@pytest.fixture(params=[True, False], ids=["teacher kept", "teacher beside"])
def _kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.setattr(compress, "_LARGEST_CACHE", 0)


@pytest.mark.usefixtures("_kept")
def test_fewer_tokens(data: TrainingData, model: Donut, tmp_path: Path) -> None:
    student = deepcopy(model)
    labels = data.pages.labels
    written = sorted(set(labels[labels != -100].tolist()))
    rare = written[-1]
    keep_tokens(student, {*written, data.prompt} - {rare})
    held = len(tokens_of(student))
    before = student.decoder.lm_head.weight.detach().clone()
    heard = trained(student, data, tmp_path)
    for ours, theirs, asked in heard.heard:
        assert ours.logits.shape == theirs.logits.shape == (*asked.shape, held)
        assert bool(ours.logits.isfinite().all())
        assert asked.max() < held
    asked_of_all = sum(int((asked != -100).sum()) for *_, asked in heard.heard)
    assert asked_of_all == int(((labels != -100) & (labels != rare)).sum())
    weight = student.decoder.lm_head.weight
    assert weight is student.decoder.get_input_embeddings().weight
    assert not torch.equal(weight, before)


@pytest.mark.usefixtures("_kept")
def test_fewer_cells(data: TrainingData, model: Donut, tmp_path: Path) -> None:
    student = deepcopy(model)
    select_cells(student, Selection(0.25))
    heard = trained(student, data, tmp_path)
    for ours, theirs, _ in heard.heard:
        assert [layer.shape for layer in ours.encoder] == [layer.shape for layer in theirs.encoder]
        assert ours.encoder[-1].shape[1] == CELLS // 4
    ours, theirs, _ = heard.heard[0]  # nothing has moved: the same cells of the same model, but for half precision
    torch.testing.assert_close(ours.encoder[-1].float(), theirs.encoder[-1].float(), rtol=0.05, atol=0.05)
