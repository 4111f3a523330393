"""Training one strategy on one data set: its objective, under its constraint, with the budget of every row."""

from __future__ import annotations

import tempfile
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
from benchmark.models.processor import decoder_inputs, prompt_of, to_pixels
from benchmark.progress import quiet
from benchmark.scales import Budget
from benchmark.training.pages import Pages
from benchmark.training.trainer import Batch, Documents, EverySteps, Plan, train
from benchmark.types import AttachedConstraint, Dataset, Objective, Strategy

_LARGEST_CACHE = 2**30
"""Bytes of teacher logits that are computed once and kept; beyond that the teacher runs beside the student."""

Curve = list[tuple[int, float]]
Validate = Callable[[Donut], float]


@dataclass(slots=True)
class Course:
    """What all rows of a data set learn from: documents in training and validation, and the teacher."""

    dataset: Dataset
    processor: DonutProcessor
    pages: Pages
    validation: Pages
    teacher: Donut
    budget: Budget
    _logits: torch.Tensor | None = field(default=None)

    @property
    def steps(self) -> int:
        return max(1, len(self.pages) // self.batch)

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
                parts = [self.logits_of(self.teacher, self._batch(part)) for part in torch.arange(rows).split(64)]
            self._logits = torch.cat([part.cpu().half() for part in parts]).clone()
        return {"teacher_logits": self._logits}

    def logits_of(self, model: Donut, batch: Batch) -> torch.Tensor:
        """Teacher-forced logits (documents, tokens, vocabulary)."""
        labels = batch["labels"].to(model.device)
        output = model(
            pixel_values=to_pixels(batch["pages"].to(model.device)),
            decoder_input_ids=decoder_inputs(labels, self.prompt, self.processor.tokenizer.pad_token_id),
            use_cache=False,
        )
        logits: torch.Tensor = output.logits
        return logits

    def _batch(self, rows: torch.Tensor) -> Batch:
        return {"pages": self.pages.pages[rows], "labels": self.pages.labels[rows]}


def train_strategy(
    model: Donut, strategy: Strategy, course: Course, validate: Validate, seed: int, title: str
) -> tuple[Curve, int]:
    """Train in place; the curve of (step, validation score) and the steps. Raises if the constraint was broken."""
    objective = strategy.objective
    assert objective is not None
    attached = strategy.constraint.attach(model) if strategy.constraint else None
    curve: Curve = []
    callbacks: list[TrainerCallback] = [
        EverySteps(lambda step: curve.append((step, validate(model))), course.budget.evaluations)
    ]
    if attached is not None:
        callbacks.insert(0, _Keep(attached))
    plan = Plan(course.steps, course.batch, course.budget.learning_rate, seed)
    columns = course.teacher_columns() if objective.needs_teacher else {}
    with tempfile.TemporaryDirectory() as folder:
        loss = _Distil(objective, course)
        train(
            model,
            Documents(course.pages, **columns),
            plan,
            loss,
            title,
            Path(folder),
            callbacks,
        )
    _check(attached)
    return curve, course.steps


class _Distil:
    """An objective as the trainer wants it: the student's forward pass, the teacher's logits, the loss."""

    def __init__(self, objective: Objective, course: Course) -> None:
        self._objective = objective
        self._course = course

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        teacher = batch.get("teacher_logits")
        if teacher is None and self._objective.needs_teacher:
            with torch.no_grad(), quiet(self._course.teacher):
                teacher = self._course.logits_of(self._course.teacher, batch)
        return self._objective(self._course.logits_of(model, batch), teacher, batch["labels"])


class _Keep(TrainerCallback):
    """Restores the constraint after every optimizer step, before anything looks at the model."""

    def __init__(self, attached: AttachedConstraint) -> None:
        self._attached = attached

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._attached.after_step()


def _check(attached: AttachedConstraint | None) -> None:
    if attached is not None:
        attached.check()
