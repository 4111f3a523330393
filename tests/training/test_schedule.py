"""What the training loop does with a plan, on a model of one layer: rates, batches, clipping, checkpoints."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn
from transformers import TrainerCallback

from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.progress import Bar
from benchmark.training import trainer
from benchmark.training.trainer import Batch, Documents, EverySteps, Schedule, train


class OneLayer(nn.Module):
    """As much of a Donut as the loop sees. Its output is a loss of constant gradient, `by` times a sum of weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        nn.init.zeros_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        self.attention = ""
        self.computed_in: list[torch.dtype] = []

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    @property
    def decoder(self) -> OneLayer:
        return self

    def set_attn_implementation(self, name: str) -> None:
        self.attention = name

    def forward(self, by: float) -> torch.Tensor:
        self.computed_in.append((self.layer.weight @ self.layer.weight).dtype)
        loss: torch.Tensor = by * (self.layer.weight.diagonal().sum() + self.layer.bias.sum())
        return loss


class Watched(TrainerCallback):
    """Notes at every step the rates, the size of the gradient that the optimizer sees, and how far weights go."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.norms: list[float] = []
        self.moves: list[float] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.rates.append([group["lr"] for group in kwargs["optimizer"].param_groups])
        self._before = kwargs["model"].layer.weight.detach().clone()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        grads = [p.grad.flatten() for p in kwargs["model"].parameters()]
        self.norms.append(float(torch.cat(grads).norm()))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.moves.append(float((kwargs["model"].layer.weight.detach() - self._before).norm()))


class Stop(TrainerCallback):
    """Kills the training after a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self._step:
            raise KeyboardInterrupt


def documents(count: int, seed: int = 0) -> Documents:
    """Documents of 1 to `count` tokens in mixed order; the page of document i holds nothing but i."""
    lengths = torch.randperm(count, generator=torch.Generator().manual_seed(seed)) + 1
    labels = torch.where(torch.arange(count) < lengths[:, None], 7, -100)
    pages = torch.arange(count, dtype=torch.uint8)[:, None, None].expand(-1, 2, 2)
    ids = tuple(map(str, range(count)))
    return Documents(EncodedDocuments(ids, pages, labels, torch.zeros(count, count, 2), ids))


class Run:
    """A training of one layer and what was seen of it."""

    def __init__(
        self,
        plan: Schedule,
        folder: Path,
        count: int = 64,
        by: Callable[[int], float] = lambda step: 1.0,
        callbacks: list[TrainerCallback] | None = None,
    ) -> None:
        self.model = OneLayer()
        self.watched = Watched()
        self.batches: list[list[int]] = []
        self.lengths: list[list[int]] = []
        self.done: list[float] = []
        self._by = by
        self.losses: list[float] = []
        self.kept: list[str] = []
        with suppress(KeyboardInterrupt):
            self.losses = train(
                cast(Donut, self.model),
                documents(count),
                plan,
                self._loss,
                "one layer",
                folder,
                [self.watched, *(callbacks or [])],
            )
        if folder.is_dir():
            self.kept = sorted(path.name for path in folder.iterdir())

    def _loss(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        self.batches.append(batch["pages"][:, 0, 0].tolist())
        self.lengths.append((batch["labels"] != -100).sum(1).tolist())
        self.done.append(done)
        loss: torch.Tensor = model(self._by(len(self.batches)))
        return loss


def cosine(step: int, warmup: int, steps: int) -> float:
    """Share of the rate at a step from 0: Donut's schedule."""
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))


@pytest.mark.parametrize(("steps", "warmup", "share"), [(40, 2, 0.05), (20, 1, 0.05), (39, 1, 0.05), (20, 5, 0.25)])
def test_the_rate_warms_up_and_falls_as_a_cosine(steps: int, warmup: int, share: float, tmp_path: Path) -> None:
    run = Run(Schedule(steps, 4, 0.03, warmup=share), tmp_path)
    matrices, rest = zip(*run.watched.rates, strict=True)
    expected = [0.03 * cosine(step, warmup, steps) for step in range(steps)]
    assert matrices == pytest.approx(expected)
    assert rest == pytest.approx([0.2 * rate for rate in expected])
    assert (matrices[0], max(matrices)) == (0, pytest.approx(0.03))
    assert matrices[-1] < 0.03 * 0.03


def test_a_plan_warms_up_over_a_twentieth_from_seed_0_and_keeps_nothing() -> None:
    assert Schedule(40, 4, 0.03) == Schedule(40, 4, 0.03, seed=0, warmup=None, save_steps=0, clip=1.0, optimizer="muon")


def test_the_weights_move_as_the_schedule_says(tmp_path: Path) -> None:
    """Muon's update of a constant gradient has one size: what is left is the rate."""
    run = Run(Schedule(20, 4, 0.03), tmp_path)
    shares = [move / max(run.watched.moves) for move in run.watched.moves]
    assert shares == pytest.approx([cosine(step, 1, 20) for step in range(20)], abs=0.05)
    assert shares[0] == 0
    assert run.model.layer.bias.abs().min() > 0


@pytest.mark.parametrize("clip", [1.0, 0.25])
def test_gradients_are_clipped(clip: float, tmp_path: Path) -> None:
    run = Run(Schedule(3, 4, 0.03, clip=clip), tmp_path, by=lambda step: 1e4 if step < 3 else 1e-3)
    assert run.watched.norms[:2] == pytest.approx([clip, clip], rel=1e-3)
    assert run.watched.norms[2] == pytest.approx(1e-3 * math.sqrt(8), rel=0.01)


def test_every_batch_is_full_and_every_document_comes_once_an_epoch(tmp_path: Path) -> None:
    run = Run(Schedule(26, 5, 0.03), tmp_path, count=66)
    assert {len(batch) for batch in run.batches} == {5}
    first, second = (list(chain.from_iterable(epoch)) for epoch in (run.batches[:13], run.batches[13:]))
    assert len(set(first)) == len(set(second)) == 65
    assert first != second


def test_documents_of_like_length_share_a_batch(tmp_path: Path) -> None:
    run = Run(Schedule(16, 4, 0.03), tmp_path)
    spread = sum(max(lengths) - min(lengths) for lengths in run.lengths) / 16
    assert spread < 20  # 38 in any order
    assert max(run.lengths[0]) == 64


def test_the_seed_gives_the_order(tmp_path: Path) -> None:
    runs = [Run(Schedule(16, 4, 0.03, seed=seed), tmp_path / "none").batches for seed in (3, 3, 4)]
    assert runs[0] == runs[1] != runs[2]


def test_the_loss_is_told_how_far_it_is_and_returned(tmp_path: Path) -> None:
    run = Run(Schedule(5, 4, 0.03, warmup=0.2), tmp_path)
    assert run.done == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert len(run.losses) == 5
    assert run.losses[:2] == [0, 0]  # the first step has rate 0
    assert 0 > run.losses[2] > run.losses[3] > run.losses[4]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_computes_as_the_hardware_does_best_and_in_plain_attention(
    dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("trainer", "muon"):
        monkeypatch.setattr(f"benchmark.training.{module}.precision", lambda device: dtype)
    run = Run(Schedule(2, 4, 0.03), tmp_path)
    assert run.model.computed_in == [dtype] * 2
    assert run.model.attention == "eager"
    assert run.model.layer.weight.dtype == torch.float32


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    assert not any("checkpoint" in name for name in Run(Schedule(4, 4, 0.03), tmp_path).kept)


@pytest.mark.parametrize("save_steps", [1, 3])
def test_the_newest_checkpoint_is_kept_and_the_one_before(save_steps: int, tmp_path: Path) -> None:
    kept = Run(Schedule(7, 4, 0.03, save_steps=save_steps), tmp_path, callbacks=[Stop(7)]).kept
    assert kept == [f"checkpoint-{6 - save_steps}", "checkpoint-6"]


def test_a_killed_training_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    plan = Schedule(16, 4, 0.03, seed=1, save_steps=3)
    whole = Run(plan, tmp_path / "whole")
    killed = Run(plan, tmp_path / "killed", callbacks=[Stop(8)])
    assert killed.kept == ["checkpoint-3", "checkpoint-6"]
    rest = Run(plan, tmp_path / "killed")
    assert killed.batches == whole.batches[:8]
    assert rest.batches == whole.batches[6:]
    assert rest.done == whole.done[6:]
    assert rest.watched.rates == whole.watched.rates[6:]
    assert rest.losses == whole.losses[6:]
    assert torch.equal(rest.model.layer.weight, whole.model.layer.weight)
    assert torch.equal(rest.model.layer.bias, whole.model.layer.bias)


@pytest.mark.parametrize("save_steps", [3, 4, 8])
def test_it_goes_on_in_the_epoch_that_it_was_killed_in(save_steps: int, tmp_path: Path) -> None:
    """Epochs are of 4 batches; it is killed within the third, at its start and before a checkpoint of it."""
    plan = Schedule(14, 4, 0.03, seed=1, save_steps=save_steps)
    whole = Run(plan, tmp_path / "whole", count=16)
    epochs = [whole.batches[at : at + 4] for at in (0, 4, 8)]
    assert len({repr(epoch) for epoch in epochs}) == 3
    Run(plan, tmp_path / "killed", count=16, callbacks=[Stop(11)])
    kept = 10 // save_steps * save_steps
    rest = Run(plan, tmp_path / "killed", count=16)
    assert rest.batches == whole.batches[kept:]
    assert rest.losses == whole.losses[kept:]


def test_the_bar_has_the_title_and_the_losses_and_is_stopped_whatever_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bars: list[Bar] = []
    stopped: list[bool] = []

    class Noted(Bar):
        def __init__(self, title: str, losses: list[float]) -> None:
            super().__init__(title, losses)
            self.given = (title, losses)
            bars.append(self)

        def stop(self) -> None:
            stopped.append(True)
            super().stop()

    monkeypatch.setattr(trainer, "Bar", Noted)
    run = Run(Schedule(2, 4, 0.03), tmp_path)
    assert cast(Any, bars[0]).given == ("one layer", run.losses)
    assert stopped == [True]
    Run(Schedule(2, 4, 0.03), tmp_path, callbacks=[Stop(1)])
    assert stopped == [True, True]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("steps", "times", "expected"),
    [
        (10, 4, [3, 5, 8, 10]),
        (160, 4, [40, 80, 120, 160]),
        (7, 3, [3, 5, 7]),
        (9, 2, [5, 9]),
        (3, 4, [1, 2, 3]),
        (1, 10, [1]),
        (5, 1, [5]),
        (6, 0, []),
    ],
)
def test_every_so_many_steps(steps: int, times: int, expected: list[int]) -> None:
    assert called(steps, times) == expected


def test_calls_are_even_and_the_last_is_at_the_end() -> None:
    for steps in range(1, 40):
        for times in range(1, 12):
            at = called(steps, times)
            assert len(at) == min(times, steps)
            assert at[-1] == steps
            gaps = Counter(b - a for a, b in zip([0, *at], at, strict=False))
            assert max(gaps) - min(gaps) <= 1, (steps, times, at)


def called(steps: int, times: int) -> list[int]:
    at: list[int] = []
    callback = EverySteps(at.append, times)
    for step in range(1, steps + 1):
        state: Any = SimpleNamespace(global_step=step, max_steps=steps)
        callback.on_step_end(cast(Any, None), state, cast(Any, None), model=torch.nn.Identity())
    return at
