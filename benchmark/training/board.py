"""What a training logs for TensorBoard (the extra ``tensorboard``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmark.errors import UserError
from benchmark.training.journal import Journal


class Board(TrainerCallback):
    """What the trainer logs, and the validation curve, into a folder of its own below `folder`.

    Raises `UserError` without the package.
    """

    def __init__(self, folder: Path, title: str, journal: Journal) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("--tensorboard needs a package: pip install 'donutbench[tensorboard]'") from None
        self._writer = SummaryWriter(str(folder / re.sub(r"\W+", "-", title)))
        self._journal = journal
        self._told = len(journal.curve)

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
