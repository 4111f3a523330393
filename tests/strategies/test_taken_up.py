"""Constraints that learn or decide on their way, in a real training that is killed and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import DonutProcessor

from benchmark import CrossEntropy, Cubic, CubicMask, Strategy, reference
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.scales import TINY, Budget
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.types import Constraint, Dataset
from donutbench_strategies.cofi import Gates
from donutbench_strategies.homodistil import Homotopy
from donutbench_strategies.movement import Movement
from tests.strategies.steps import same, weights, zeros

RAMP = Cubic(begin=0.2, end=0.8, last=1.0, times=3)
CONSTRAINTS: dict[str, Constraint] = {
    "gradual": CubicMask(schedule=RAMP),
    "prune-once": CubicMask(schedule=RAMP, returns=True),
    "movement": Movement(CubicMask(schedule=RAMP, returns=True)),
    "homodistil": Homotopy(0.9, RAMP),
    "cofi": Gates(0.9, ramp=0.2, end=0.8),
    "cofi, after its cut": Gates(0.9, ramp=0.2, end=0.4),
}
BUDGET = Budget(0, 10, batch=2, learning_rate=0.01, evaluations=5, save_steps=1)


@pytest.fixture
def train(
    receipts: EncodedDocuments, datasets: dict[str, Dataset], processor: DonutProcessor, tmp_path: Path
) -> Callable[[Constraint, Donut, str, int | None], Donut]:
    """Five steps of two short receipts; killed when the model has been validated after a step, if one is given."""
    few = receipts.head(6)
    few = replace(few, labels=few.labels[:, :8], points=few.points[:, :8])

    def run(constraint: Constraint, model: Donut, folder: str, killed: int | None = None) -> Donut:
        data = TrainingData(datasets["receipts-mini"], processor, few, few, model, BUDGET, 10)
        seen: list[int] = []

        def validate(model: Donut) -> float:
            seen.append(zeros(model))
            if len(seen) == killed:
                raise InterruptedError
            return 0.0

        strategy = Strategy("mine", "", reference("teacher"), CrossEntropy(), constraint)
        return train_strategy(model, strategy, data, 0.01, validate, 0, "", tmp_path / folder)[0]

    return run


@pytest.mark.parametrize(("name", "cut"), [*((name, 0) for name in CONSTRAINTS), ("movement", 1), ("movement", 2)])
def test_a_killed_training_ends_as_the_unbroken_one(
    name: str,
    cut: int,
    tmp_path: Path,
    train: Callable[[Constraint, Donut, str, int | None], Donut],
    processor: DonutProcessor,
) -> None:
    """Also where the newest of its checkpoints, or both, lack their end."""
    start = build(TINY, TINY.small, len(processor.tokenizer), seed=0)
    with torch.no_grad():  # biases begin at zero, and would be taken for pruned
        for parameter in start.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.02)
    whole = train(CONSTRAINTS[name], deepcopy(start), "whole", None)
    with pytest.raises(InterruptedError):
        train(CONSTRAINTS[name], deepcopy(start), "killed", 4)
    assert sorted(path.name for path in (tmp_path / "killed").glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]
    for step in (3, 2)[:cut]:
        (tmp_path / "killed" / f"checkpoint-{step}" / "trainer_state.json").unlink()
    again = train(CONSTRAINTS[name], deepcopy(start), "killed", None)
    assert same({n: w != 0 for n, w in weights(again).items()}, {n: w != 0 for n, w in weights(whole).items()})
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert not same(weights(again), weights(start))
