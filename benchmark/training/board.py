"""What a training logs for TensorBoard (the extra ``tensorboard``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmark.training.journal import Journal


class Board(TrainerCallback):
    """What the trainer logs, and the validation curve, into `folder`."""

    def __init__(self, folder: Path, journal: Journal) -> None:
        self._folder = folder
        self._journal = journal
        self._told = len(journal.curve)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a killed training has logged beyond its newest checkpoint comes again.
        self._writer = SummaryWriter(str(self._folder), purge_step=state.global_step + 1 if state.global_step else None)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        for name, value in parts["logs"].items():
            if name in ("loss", "learning_rate", "grad_norm"):
                self._writer.add_scalar(name, value, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for step, ted in self._journal.curve[self._told :]:
            self._writer.add_scalar("validation N-TED", ted, step)
        self._told = len(self._journal.curve)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._writer.close()
