"""When a constraint acts, and what it knows, which outlives a killed training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmark.processes import leads
from benchmark.records.files import write_atomically
from benchmark.types import Attached


class Clock(TrainerCallback):
    """Calls a constraint around every optimizer step, before anything else looks at the model.

    Its state is written before the checkpoint of the same step is, every `save_steps` (0: never), so that no checkpoint
    is without one; it is restored where a training begins at a later step than the first.
    """

    def __init__(self, attached: Attached, folder: Path, save_steps: int) -> None:
        self._attached = attached
        self._folder = folder
        self._save_steps = save_steps

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        path = self._path(state.global_step)
        if state.global_step and path.is_file():
            self._attached.restore(load_file(path))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self._attached.before_step(state.global_step + 1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        step = state.global_step
        self._attached.after_step(step)
        saves = self._save_steps and step % self._save_steps == 0 and leads()
        if saves and (kept := self._attached.state()):
            tensors = {name: torch.as_tensor(value).detach().cpu().contiguous() for name, value in kept.items()}
            write_atomically(self._path(step), save(tensors))
            self._path(step - 2 * self._save_steps).unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self._folder / f"constraint-{step}.safetensors"
