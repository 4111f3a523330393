"""Training one strategy on one data set: its objective, under its constraint, with the budget of every row."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import DonutProcessor, TrainerCallback

from benchmark.devices import precision
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import decoder_inputs, prompt_of, to_pixels
from benchmark.processes import from_first, leads
from benchmark.progress import quiet
from benchmark.scales import Budget
from benchmark.training.board import Board
from benchmark.training.clock import Clock
from benchmark.training.journal import Curve, Journal
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Batch, Documents, EverySteps, Schedule, train
from benchmark.types import Attached, Dataset, Objective, Outputs, Span, Strategy

_LARGEST_CACHE = 2**30
"""Bytes of the teacher's outputs that are computed once and kept; beyond that it runs beside the student."""
_AT_ONCE = 64

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
    mechanics: Mechanics = field(default_factory=Mechanics)
    _taught: dict[bool, Outputs | None] = field(default_factory=dict, init=False)

    @property
    def steps(self) -> int:
        return max(1, self.documents // self.batch)

    @property
    def batch(self) -> int:
        return min(self.budget.batch, len(self.pages))

    @property
    def prompt(self) -> int:
        return int(self.processor.tokenizer.convert_tokens_to_ids(prompt_of(self.dataset)))

    def taught(self, features: bool) -> Outputs | None:
        """What the teacher makes of all documents, in half precision, once for every row; None if it would not fit."""
        if not features and self._taught.get(True) is not None:
            return self._taught[True]
        if features not in self._taught:
            self._taught[features] = self._teach(features)
        return self._taught[features]

    def forget(self) -> None:
        """Free what the teacher has made: another data set is trained on."""
        self._taught.clear()

    def _teach(self, features: bool) -> Outputs | None:
        count, device = len(self.pages), self.teacher.device.type
        # As precise as beside a student.
        lower = torch.autocast(device, torch.bfloat16, enabled=precision(device) == torch.bfloat16)
        with torch.no_grad(), quiet(self.teacher), lower:
            first = self.outputs_of(self.teacher, self._batch(slice(0, 1)), features)
            sizes = [tensor.shape[1:] for tensor in _tensors(first)]
            if count * sum(map(math.prod, sizes)) * torch.half.itemsize > _LARGEST_CACHE:
                return None
            whole = [torch.empty(count, *size, dtype=torch.half) for size in sizes]
            for part in (slice(begin, begin + _AT_ONCE) for begin in range(0, count, _AT_ONCE)):
                made = self.outputs_of(self.teacher, self._batch(part), features)
                for kept, tensor in zip(whole, _tensors(made), strict=True):
                    kept[part] = tensor
        if not all(bool(kept.isfinite().all()) for kept in whole):  # half precision ends at 65504
            return None
        stages = len(first.encoder)
        return Outputs(whole[0], tuple(whole[1 : 1 + stages]), tuple(whole[1 + stages :]))

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

    def _batch(self, rows: slice) -> Batch:
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
) -> tuple[Donut, Curve]:
    """Train in place; the model to keep and the curve of (step, validation score), which the first process has.

    Raises `RuntimeError` if the constraint was broken.

    What a killed training left in `folder` is taken up again; TensorBoard's logs have the name of the one above it.
    """
    objective, budget = strategy.objective, data.budget
    assert objective is not None
    span = Span(data.dataset.task == "reading", data.steps)
    attached: object = strategy.constraint.attach(model, span) if strategy.constraint else Attached()
    if not isinstance(attached, Attached):
        found = type(attached).__name__
        raise TypeError(f"the constraint of {strategy.name!r} attached a {found}, not an Attached")
    journal = Journal.open(folder / "journal.json")
    callbacks: list[TrainerCallback] = [
        Clock(attached, folder, budget.save_steps),
        EverySteps(lambda step: from_first(lambda: journal.add(step, validate(model))), budget.evaluations),
    ]
    if data.mechanics.board is not None and leads():
        callbacks.append(Board(data.mechanics.board / folder.parent.name, journal))
    schedule = Schedule(
        data.steps, data.batch, learning_rate, seed, save_steps=budget.save_steps, optimizer=budget.optimizer
    )
    loss = _Taught(objective, data, attached)
    train(model, Documents(data.pages), schedule, loss, title, folder, callbacks, data.mechanics)
    attached.check()
    finished = attached.finish()
    if finished is not None and not isinstance(finished, Donut):
        raise TypeError(f"the constraint of {strategy.name!r} finished with a {type(finished).__name__}, not a Donut")
    return finished or model, journal.curve


class _Taught:
    """An objective as the trainer wants it: the student's forward pass, what the teacher makes of it, the loss."""

    def __init__(self, objective: Objective, data: TrainingData, attached: Attached) -> None:
        self._objective = objective
        self._data = data
        self._attached = attached
        self._features = objective.teaching == "features"

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        teacher = None if self._objective.teaching == "none" else self._teacher(batch)
        loss = self._objective(self._data.outputs_of(model, batch, self._features), teacher, batch["labels"])
        penalty = self._attached.penalty()
        return loss if penalty is None else loss + penalty

    def _teacher(self, batch: Batch) -> Outputs:
        taught = self._data.taught(self._features)
        if taught is not None:
            return _rows(taught, batch, self._features)
        with torch.no_grad(), quiet(self._data.teacher):
            return self._data.outputs_of(self._data.teacher, batch, self._features)


def _tensors(outputs: Outputs) -> tuple[torch.Tensor, ...]:
    return outputs.logits, *outputs.encoder, *outputs.decoder


def _rows(taught: Outputs, batch: Batch, features: bool) -> Outputs:
    """What was kept of the documents of a batch."""
    labels, rows = batch["labels"], batch["rows"].cpu()

    def tokens(kept: torch.Tensor) -> torch.Tensor:
        return kept[rows, : labels.shape[1]].to(labels.device).float()

    if not features:
        return Outputs(tokens(taught.logits))
    encoder = tuple(kept[rows].to(labels.device).float() for kept in taught.encoder)
    return Outputs(tokens(taught.logits), encoder, tuple(map(tokens, taught.decoder)))
