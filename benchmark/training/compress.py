"""Training one strategy on one data set: its objective, under its constraint, with the budget of every row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DonutProcessor,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import decoder_inputs, prompt_of, to_pixels
from benchmark.progress import quiet
from benchmark.scales import Budget
from benchmark.training.journal import Curve, Journal
from benchmark.training.trainer import Batch, Documents, EverySteps, Schedule, train
from benchmark.types import AttachedConstraint, Dataset, Objective, Outputs, Strategy

_LARGEST_CACHE = 2**30
"""Bytes of teacher logits that are computed once and kept; beyond that the teacher runs beside the student."""

Validate = Callable[[Donut], float]


@dataclass(slots=True)
class TrainingData:
    """What all rows of a data set learn from: documents in training and validation, and the teacher.

    `documents` are seen in training, each anew whenever the pages have been seen.
    """

    dataset: Dataset
    processor: DonutProcessor
    pages: EncodedDocuments
    validation: EncodedDocuments
    teacher: Donut
    budget: Budget
    documents: int
    _logits: torch.Tensor | None = field(default=None)

    @property
    def steps(self) -> int:
        return max(1, self.documents // self.batch)

    @property
    def batch(self) -> int:
        return min(self.budget.batch, len(self.pages))

    @property
    def prompt(self) -> int:
        return int(self.processor.tokenizer.convert_tokens_to_ids(prompt_of(self.dataset)))

    def teacher_columns(self) -> dict[str, torch.Tensor]:
        """The teacher's logits of all documents, once for every row; nothing if they would not fit."""
        rows, tokens = self.pages.labels.shape
        if rows * tokens * len(self.processor.tokenizer) * 2 > _LARGEST_CACHE:
            return {}
        if self._logits is None:
            with torch.inference_mode(), quiet(self.teacher):
                parts = [self.outputs_of(self.teacher, self._batch(p)).logits for p in torch.arange(rows).split(64)]
            self._logits = torch.cat([part.cpu().half() for part in parts]).clone()
        return {"teacher_logits": self._logits}

    def outputs_of(self, model: Donut, batch: Batch, features: bool = False) -> Outputs:
        """What the model computes with the ground truth so far before it."""
        labels = batch["labels"].to(model.device)
        output = model(
            pixel_values=to_pixels(self.processor, batch["pages"].to(model.device)),
            decoder_input_ids=decoder_inputs(labels, self.prompt, self.processor.tokenizer.pad_token_id),
            use_cache=False,
            output_hidden_states=features,
        )
        if not features:
            return Outputs(output.logits)
        # The first of each are the embeddings.
        encoder = (*output.encoder_hidden_states[1:], output.encoder_last_hidden_state)
        return Outputs(output.logits, encoder, output.decoder_hidden_states[1:])

    def _batch(self, rows: torch.Tensor) -> Batch:
        return {"pages": self.pages.pages[rows], "labels": self.pages.labels[rows]}


def train_strategy(
    model: Donut,
    strategy: Strategy,
    data: TrainingData,
    learning_rate: float,
    validate: Validate,
    seed: int,
    title: str,
    folder: Path,
) -> Curve:
    """Train in place; the curve of (step, validation score). Raises `RuntimeError` if the constraint was broken.

    What a killed training left in `folder` is taken up again.
    """
    objective, budget = strategy.objective, data.budget
    assert objective is not None
    attached = strategy.constraint.attach(model) if strategy.constraint else None
    journal = Journal.open(folder / "journal.json")
    callbacks: list[TrainerCallback] = [EverySteps(lambda step: journal.add(step, validate(model)), budget.evaluations)]
    if attached is not None:
        callbacks.insert(0, _Keep(attached))
    schedule = Schedule(data.steps, data.batch, learning_rate, seed, save_steps=budget.save_steps)
    columns = data.teacher_columns() if objective.teaching == "logits" else {}
    train(model, Documents(data.pages, **columns), schedule, _Taught(objective, data), title, folder, callbacks)
    if attached is not None:
        attached.check()
    return journal.curve


class _Taught:
    """An objective as the trainer wants it: the student's forward pass, what the teacher makes of it, the loss."""

    def __init__(self, objective: Objective, data: TrainingData) -> None:
        self._objective = objective
        self._data = data

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        features = self._objective.teaching == "features"
        teacher = None if self._objective.teaching == "none" else self._teacher(batch, features)
        return self._objective(self._data.outputs_of(model, batch, features), teacher, batch["labels"])

    def _teacher(self, batch: Batch, features: bool) -> Outputs:
        if "teacher_logits" in batch:
            return Outputs(batch["teacher_logits"])
        with torch.no_grad(), quiet(self._data.teacher):
            return self._data.outputs_of(self._data.teacher, batch, features)


class _Keep(TrainerCallback):
    """Restores the constraint after every optimizer step, before anything looks at the model."""

    def __init__(self, attached: AttachedConstraint) -> None:
        self._attached = attached

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._attached.after_step()
