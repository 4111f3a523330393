"""The training loop: a loss that is not finite ends it at the very step, and what led there is not taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback

from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.running.config import RunConfig
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Batch, Documents, Schedule, _arguments, train

PLAN = Schedule(steps=6, batch=2, learning_rate=1e-3, save_steps=1)


class Factors:
    """The loss at each call is that of all weights times the next factor."""

    def __init__(self, factors: Iterator[float]) -> None:
        self._factors = factors
        self.calls = 0

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        self.calls += 1
        weights = torch.stack([weight.square().sum() for weight in model.parameters()])
        return weights.sum() * next(self._factors)


@pytest.fixture
def student() -> Donut:
    return build(replace(TINY, max_tokens=48), TINY.small, 60, seed=0)


def killed_after(steps: int) -> Iterator[float]:
    yield from repeat(1.0, steps)
    raise KeyboardInterrupt


class TestLossThatIsNotFinite:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_it_ends_the_training_at_its_step(
        self, value: float, student: Donut, pages: EncodedDocuments, tmp_path: Path
    ) -> None:
        loss = Factors(iter([1.0, 1.0, value, 1.0, 1.0, 1.0]))
        with pytest.raises(FloatingPointError, match=f"^the loss of step 3 of 6 is {value}$"):
            train(student, Documents(pages), PLAN, loss, "student", tmp_path / "work", [])
        assert loss.calls == 3
        assert all(torch.isfinite(weight).all() for weight in student.parameters())

    def test_the_next_attempt_begins_anew(self, student: Donut, pages: EncodedDocuments, tmp_path: Path) -> None:
        """From the newest checkpoint it could slip past the step: an objective may have a state of its own."""
        places: tuple[str, Path, list[TrainerCallback]] = ("student", tmp_path / "work", [])
        with pytest.raises(FloatingPointError):
            train(student, Documents(pages), PLAN, Factors(iter([1.0, 1.0, float("nan")])), *places)
        assert not (tmp_path / "work").exists()
        again = Factors(repeat(1.0))
        assert len(train(student, Documents(pages), PLAN, again, *places)) == again.calls == 6

    def test_steps_are_counted_from_the_beginning_of_a_killed_training(
        self, student: Donut, pages: EncodedDocuments, tmp_path: Path
    ) -> None:
        places: tuple[str, Path, list[TrainerCallback]] = ("student", tmp_path / "work", [])
        with pytest.raises(KeyboardInterrupt):
            train(student, Documents(pages), PLAN, Factors(killed_after(3)), *places)
        resumed = Factors(iter([1.0, float("nan")]))
        with pytest.raises(FloatingPointError, match="step 5 of 6"):
            train(student, Documents(pages), PLAN, resumed, *places)
        assert resumed.calls == 2


TURNS = '''
"""An objective whose loss is NaN at the second step."""

from pathlib import Path

from benchmark import CrossEntropy, Strategy, hookimpl

STEPS = Path(__file__).with_suffix(".steps")


class Turns:
    teaching = "none"
    calls = 0

    def __call__(self, student, teacher, labels):
        self.calls += 1
        with STEPS.open("a") as file:
            file.write(f"{self.calls} ")
        return CrossEntropy()(student, teacher, labels) * (float("nan") if self.calls == 2 else 1)

    def __repr__(self):
        return "Turns()"


def start(references, scale, seed):
    return references.load("teacher")


@hookimpl
def donutbench_register_strategies():
    yield Strategy("turns", "fails", start=start, objective=Turns())
'''


def test_in_a_run_it_costs_its_cell_each_time(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin.py"
    plugin.write_text(TURNS)
    output = tmp_path / "out"
    config = RunConfig(("turns",), ("synthdog-mini",), output=output, plugins=(plugin,), device="cpu", limit=24)
    for _ in range(2):
        (record,) = run(config)
        assert (record.status, record.metrics) == ("failed", None)
        assert record.error == "FloatingPointError: the loss of step 2 of 3 is nan"
    assert plugin.with_suffix(".steps").read_text() == "1 2 1 2 ", "no step after it, and no half of a training"
    left = [path for name in ("unfinished", "checkpoints") for path in (output / name).rglob("*.*")]
    assert left == []


def test_a_batch_is_not_spread_over_the_gpus_in_sight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.TrainingArguments.n_gpu", 4)
    arguments = _arguments(PLAN, tmp_path, "cpu", Mechanics())
    assert (arguments.n_gpu, arguments.train_batch_size) == (1, 2)
