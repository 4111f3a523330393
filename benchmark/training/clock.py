"""When a constraint acts, and an objective that learns; and what they know, which outlives a killed training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from benchmark.processes import leads
from benchmark.records.files import write_atomically
from benchmark.types import Attached


class Clock(TrainerCallback):
    """Calls what is attached, by name, around every optimizer step, before anything else looks at the model.

    Its state is written before the checkpoint of the same step is, every `save_steps` (0: never), so that no checkpoint
    is without one; it is restored where a training begins at a later step than the first.
    """

    def __init__(self, attached: Mapping[str, Attached], folder: Path, save_steps: int) -> None:
        self._attached = attached
        self._folder = folder
        self._save_steps = save_steps

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        for name, attached in self._attached.items():
            path = self._path(name, state.global_step)
            if state.global_step and path.is_file():
                attached.restore(load_file(path))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        for attached in self._attached.values():
            attached.before_step(state.global_step + 1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        step = state.global_step
        for name, attached in self._attached.items():
            attached.after_step(step)
            if self._save_steps and step % self._save_steps == 0 and leads():
                self._keep(name, step, attached.state())

    def _keep(self, name: str, step: int, state: Mapping[str, torch.Tensor]) -> None:
        if state:
            tensors = {key: torch.as_tensor(value).detach().cpu().contiguous() for key, value in state.items()}
            write_atomically(self._path(name, step), save(tensors))
            # Two checkpoints are kept, and a third is about to be written.
            self._path(name, step - 3 * self._save_steps).unlink(missing_ok=True)

    def _path(self, name: str, step: int) -> Path:
        return self._folder / f"{name}-{step}.safetensors"
