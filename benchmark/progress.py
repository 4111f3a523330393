"""Telling how far a training is, and keeping libraries silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from benchmark.processes import leads


class Bar(TrainerCallback):
    """A progress bar for one training: what it trains, step, loss, time left. `losses` is filled by the trainer."""

    def __init__(self, title: str, losses: list[float], console: Console | None = None) -> None:
        self._title = title
        self._losses = losses
        console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # A log wants no bar, nor the empty line that it leaves; of a launch one bar is enough.
            disable=not (console.is_terminal and leads()),
        )

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.start()
        self._task = self._bar.add_task(self._title, total=state.max_steps, loss="-")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._bar.update(self._task, completed=state.global_step, loss=f"{self._losses[-1]:.3f}")

    def stop(self) -> None:
        self._bar.stop()


@contextmanager
def silent() -> Iterator[None]:
    """Without the bars and reports of transformers: what is wrong, we say in a line of our own."""
    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode of before afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
