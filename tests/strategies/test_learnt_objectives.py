"""Objectives with parts of their own: what they compare, that they learn, and that a kill loses nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn
from transformers import DonutProcessor

from benchmark import Outputs, UserError
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.scales import TINY
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.learnt import Learnt, lesson_of
from benchmark.types import Dataset, LearntObjective
from donutbench_strategies import prune_review, prune_transkd
from donutbench_strategies.prune_review import KnowledgeReview, context_distance, fused
from donutbench_strategies.prune_transkd import EmbeddingAssistant, assisted, channel_divergence, selected
from tests.strategies.conftest import OfReceipts

PAGE = (96, 160)
GRIDS = ((12, 20), (6, 10), (3, 5))
OBJECTIVES: tuple[LearntObjective, ...] = (KnowledgeReview(), EmbeddingAssistant())


def outputs(widths: tuple[int, ...], seed: int) -> Outputs:
    draws = torch.Generator().manual_seed(seed)
    encoder = tuple(
        torch.randn(2, rows * columns, width, generator=draws)
        for (rows, columns), width in zip(GRIDS, widths, strict=True)
    )
    return Outputs(torch.randn(2, 4, 9, generator=draws), encoder, page=PAGE)


def test_cells_lie_on_the_page_row_by_row() -> None:
    cells = torch.arange(240.0)[None, :, None]
    (found,) = Outputs(torch.zeros(1), (cells,), page=PAGE).maps
    assert found.shape == (1, 1, 12, 20)
    assert torch.equal(found[0, 0], torch.arange(240.0).view(12, 20))
    assert [tuple(m.shape[2:]) for m in outputs((3, 4, 5), 0).maps] == [*GRIDS]
    (tall,) = Outputs(torch.zeros(1), (torch.zeros(1, 1200, 2),), page=(1280, 960)).maps
    assert tall.shape == (1, 2, 40, 30)


class TestReview:
    def test_the_distance_is_that_of_all_grids(self) -> None:
        draws = np.random.default_rng(0)
        ours, goal = draws.normal(size=(2, 3, 8, 8)), draws.normal(size=(2, 3, 8, 8))
        whole, total = ((ours - goal) ** 2).mean(), 1.0
        for side, weight in ((4, 1 / 2), (2, 1 / 4), (1, 1 / 8)):
            small = (ours - goal).reshape(2, 3, side, 8 // side, side, 8 // side).mean((3, 5))
            whole, total = whole + weight * (small**2).mean(), total + weight
        wanted = whole / total / goal.var((0, 2, 3)).mean()
        found = context_distance(torch.from_numpy(ours), torch.from_numpy(goal))
        assert float(found) == pytest.approx(wanted)
        assert float(context_distance(torch.from_numpy(goal), torch.from_numpy(goal))) == 0

    def test_a_small_grid_is_pooled_less(self) -> None:
        ours, goal = torch.zeros(1, 1, 3, 5), torch.arange(15.0).view(1, 1, 3, 5)
        pooled = torch.nn.functional.adaptive_avg_pool2d(goal, 2).square().mean(), goal.mean() ** 2
        wanted = (goal.square().mean() + pooled[0] / 2 + pooled[1] / 4) / 1.75 / goal.var(correction=0)
        torch.testing.assert_close(context_distance(ours, goal), wanted)

    def test_the_residue_is_taken_where_the_map_says(self) -> None:
        (first, *_), student = (
            KnowledgeReview().parts(outputs((3, 4, 5), 0), outputs((6, 7, 8), 1)),
            outputs((3, 4, 5), 0),
        )
        stage: Any = first
        residue = torch.randn(2, 8, 6, 10)
        with torch.no_grad():
            entered = stage["enter"](student.maps[0])
            stage["choose"].weight.zero_()
            stage["choose"].bias.copy_(torch.tensor([30.0, -30.0]))
            torch.testing.assert_close(fused(stage, student.maps[0], residue), entered)
            stage["choose"].bias.copy_(torch.tensor([-30.0, 30.0]))
            enlarged = residue.repeat_interleave(2, 2).repeat_interleave(2, 3)
            torch.testing.assert_close(fused(stage, student.maps[0], residue), enlarged)


class TestAssistant:
    def test_the_divergence_is_of_places_by_channel(self) -> None:
        draws = np.random.default_rng(1)
        ours, goal = draws.normal(size=(2, 3, 4, 5)), draws.normal(size=(2, 3, 4, 5))
        mine, theirs = (softmax(side.reshape(6, 20) / 2.0, axis=1) for side in (ours, goal))
        wanted = 4 * (theirs * (np.log(theirs) - np.log(mine))).sum(1).mean()
        found = channel_divergence(torch.from_numpy(ours), torch.from_numpy(goal), 2.0)
        assert float(found) == pytest.approx(wanted)
        shifted = torch.from_numpy(ours) + torch.from_numpy(draws.normal(size=(2, 3, 1, 1)))
        torch.testing.assert_close(channel_divergence(shifted, torch.from_numpy(goal), 2.0), found)

    def test_ways_are_mixed_by_learnt_weights(self) -> None:
        stage: Any = EmbeddingAssistant().parts(outputs((3, 4, 5), 0), outputs((6, 7, 8), 1))[1]
        ours, earlier = outputs((3, 4, 5), 0).maps[1], torch.randn(2, 6, 12, 20)
        with torch.no_grad():
            stage["mix"].weight.copy_(torch.tensor([[0.25, 2.0]]))
            wanted = 0.25 * stage["embed"](ours) + 2.0 * stage["patches"](torch.nn.functional.avg_pool2d(earlier, 2))
            torch.testing.assert_close(assisted(stage, ours, earlier), wanted)
            torch.testing.assert_close(assisted(stage, ours, None), stage["embed"](ours))

    def test_shares_of_a_channel_add_up(self) -> None:
        """What both ways agree on is what is selected, whatever the shares."""
        stage: Any = EmbeddingAssistant().parts(outputs((3, 4, 5), 0), outputs((6, 7, 8), 1))[2]
        with torch.no_grad():
            for layer in ("enter", "deeper"):
                stage[layer].weight.zero_()
                stage[layer].bias.fill_(1.5)
            found = selected(stage, outputs((3, 4, 5), 0).maps[2], torch.randn(2, 8, 3, 5))
        torch.testing.assert_close(found, torch.full((2, 8, 3, 5), 1.5))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_parts_alone_learn_to_see_the_teacher_in_a_student_of_other_widths(objective: LearntObjective) -> None:
    student, labels = outputs((3, 4, 5), 0), torch.zeros(2, 4, dtype=torch.long)
    mixing = torch.randn(3, 6), torch.randn(4, 7), torch.randn(5, 8)
    teacher = replace(student, encoder=tuple(own @ way for own, way in zip(student.encoder, mixing, strict=True)))
    torch.manual_seed(0)
    lesson = Learnt(replace(cast(Any, objective), parts_rate=0.02))
    losses = []
    for step in range(1, 61):
        found = lesson(student, teacher, labels)
        torch.autograd.backward(found)
        lesson.after_step(step)
        losses.append(float(found.detach()))
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_what_is_restored_goes_on_as_it_was(objective: LearntObjective) -> None:
    student, teacher, labels = outputs((3, 4, 5), 0), outputs((6, 7, 8), 1), torch.zeros(2, 4, dtype=torch.long)

    def taught(lesson: Learnt, steps: int) -> float:
        for step in range(steps):
            found = lesson(student, teacher, labels)
            torch.autograd.backward(found)
            lesson.after_step(step)
        return float(found.detach())

    torch.manual_seed(0)
    lesson = Learnt(objective)
    taught(lesson, 3)
    kept: Mapping[str, torch.Tensor] = {name: value.clone() for name, value in lesson.state().items()}
    torch.manual_seed(1)
    again = Learnt(objective)
    again.restore(kept)
    assert taught(again, 3) == pytest.approx(taught(lesson, 3), rel=1e-6)


def test_without_a_teacher_it_is_told() -> None:
    with pytest.raises(ValueError, match="learns from the teacher's outputs"):
        lesson_of(KnowledgeReview())(outputs((3, 4, 5), 0), None, torch.zeros(2, 4, dtype=torch.long))


@pytest.mark.parametrize("plugin", [prune_review, prune_transkd])
def test_a_training_learns_parts_and_keeps_none(
    plugin: Any,
    references: OfReceipts,
    receipts: EncodedDocuments,
    datasets: dict[str, Dataset],
    processor: DonutProcessor,
    tmp_path: Path,
) -> None:
    """Two real steps: the state of the parts is beside the checkpoint, and the model has no weights but its own."""
    (strategy,) = plugin.donutbench_register_strategies()
    model = cast(Donut, strategy.start(references, TINY, 0))
    names = set(model.state_dict())
    budget = replace(TINY.quick, batch=2, evaluations=1, save_steps=1)
    few = receipts.head(4)
    data = TrainingData(datasets["receipts-mini"], processor, few, few, references.load("teacher"), budget, 4)
    trained, _ = train_strategy(model, strategy, data, 0.01, lambda model: 0.0, 0, "", tmp_path)
    assert set(trained.state_dict()) == names
    assert (tmp_path / "objective-2.safetensors").is_file()
    assert not any(isinstance(module, nn.ModuleDict) for module in trained.modules())


@pytest.mark.parametrize("wrong", [{"weight": -1.0}, {"temperature": 0.0}])
def test_what_makes_no_sense_is_told(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"above 0|at least 0"):
        KnowledgeReview(**wrong)
    with pytest.raises(UserError, match=r"above 0|at least 0"):
        EmbeddingAssistant(**{"maps" if name == "weight" else name: value for name, value in wrong.items()})
