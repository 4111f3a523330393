"""Training one strategy on one data set: its objective, under its constraint, with the budget of every row."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import torch
from transformers import DonutProcessor, TrainerCallback

from benchmark.devices import precision
from benchmark.models.donut import Donut, donut_of
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import decoder_inputs, prompt_of, to_pixels
from benchmark.processes import from_first, leads
from benchmark.progress import quiet
from benchmark.scales import Budget
from benchmark.training.alike import read_alike, written_alike
from benchmark.training.answers import Answers, answers_of
from benchmark.training.board import Board
from benchmark.training.clock import Clock
from benchmark.training.journal import Curve, Journal
from benchmark.training.learnt import lesson_of
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Batch, Documents, EverySteps, Schedule, eager_attention, train
from benchmark.types import Attached, Dataset, Objective, Outputs, Span, Strategy, Teaching

_LARGEST_CACHE = 2**30
"""Bytes of the teacher's outputs that are computed once and kept; beyond that it runs beside the student.

Of one `Teaching` at a time: another pass over the pages is cheaper than another gigabyte.
"""
_AT_ONCE = 64

Validate = Callable[[Donut], float]


@dataclass(slots=True)
class TrainingData:
    """What all rows of a data set learn from: documents in training and validation, and the teacher.

    `documents` are seen in training, each anew whenever the pages have been seen. `longest` is the most tokens that the
    teacher may write, if they are fewer than it can.
    """

    dataset: Dataset
    processor: DonutProcessor
    pages: EncodedDocuments
    validation: EncodedDocuments
    teacher: Donut
    budget: Budget
    documents: int
    mechanics: Mechanics = field(default_factory=Mechanics)
    longest: int | None = None
    _taught: dict[Teaching, Outputs | None] = field(default_factory=dict, init=False)
    _answers: Answers | None = field(default=None, init=False)
    _told: set[str] = field(default_factory=set, init=False)

    @property
    def steps(self) -> int:
        return max(1, self.documents // self.batch)

    @property
    def batch(self) -> int:
        return min(self.budget.batch, len(self.pages))

    @property
    def prompt(self) -> int:
        return int(self.processor.tokenizer.convert_tokens_to_ids(prompt_of(self.dataset)))

    def taught(self, teaching: Teaching) -> Outputs | None:
        """What the teacher makes of all documents, in half precision, once for every row; None if it would not fit."""
        if teaching == "logits" and self._taught.get("features") is not None:
            return self._taught["features"]
        if teaching not in self._taught:
            self._taught = {other: None for other, kept in self._taught.items() if kept is None}
            self._taught[teaching] = self._teach(teaching)
        return self._taught[teaching]

    def answered(self, agreement: float) -> Documents:
        """As many documents as there are pages, with what the teacher writes for labels, once for every row.

        How many pages are left out is said once. Raises `UserError` if all are.
        """
        if self._answers is None:
            longest = self.longest or self.teacher.longest
            self._answers = answers_of(self.teacher, self.processor, self.pages, self.dataset, longest)
        documents = self._answers.documents(agreement)
        line = self._answers.left_out(agreement)
        if line not in self._told:
            self._told.add(line)
            print(line, file=sys.stderr)
        return documents

    def forget(self) -> None:
        """Free what the teacher has made: another data set is trained on."""
        self._taught.clear()
        self._answers = None

    def _teach(self, teaching: Teaching) -> Outputs | None:
        count, device = len(self.pages), self.teacher.device.type
        # As precise as beside a student.
        lower = torch.autocast(device, torch.bfloat16, enabled=precision(device) == torch.bfloat16)
        with torch.no_grad(), quiet(self.teacher), lower:
            first = self.outputs_of(self.teacher, self._batch(slice(0, 1)), teaching)
            sizes = [tensor.shape[1:] for tensor in _tensors(first)]
            if count * sum(map(math.prod, sizes)) * torch.half.itemsize > _LARGEST_CACHE:
                return None
            whole = [torch.empty(count, *size, dtype=torch.half) for size in sizes]
            for part in (slice(begin, begin + _AT_ONCE) for begin in range(0, count, _AT_ONCE)):
                made = self.outputs_of(self.teacher, self._batch(part), teaching)
                for kept, tensor in zip(whole, _tensors(made), strict=True):
                    kept[part] = tensor
        if not all(bool(kept.isfinite().all()) for kept in whole):  # half precision ends at 65504
            return None
        return _like(first, whole)

    def outputs_of(self, model: Donut, batch: Batch, teaching: Teaching = "logits") -> Outputs:
        """What the model computes with the labels so far before it, as far as an objective of this teaching asks."""
        labels = batch["labels"].to(model.device)
        features, attentions = teaching == "features", teaching == "attentions"
        with _unfused(model) if attentions else nullcontext():
            output = model(
                pixel_values=to_pixels(self.processor, batch["pages"].to(model.device)),
                decoder_input_ids=decoder_inputs(labels, self.prompt, self.processor.tokenizer.pad_token_id),
                use_cache=False,
                output_hidden_states=features,
                output_attentions=attentions,
            )
        if attentions:
            return Outputs(output.logits, cross=output.cross_attentions)
        if not features:
            return Outputs(output.logits)
        height, width = batch["pages"].shape[1:3]
        # The first of each are the embeddings.
        encoder = (*output.encoder_hidden_states[1:], output.encoder_last_hidden_state)
        return Outputs(output.logits, encoder, output.decoder_hidden_states[1:], page=(height, width))

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
    lesson = lesson_of(objective)
    timed = {"constraint": attached} | ({"objective": lesson} if isinstance(lesson, Attached) else {})
    journal = Journal.open(folder / "journal.json")
    callbacks: list[TrainerCallback] = [
        Clock(timed, folder, budget.save_steps),
        EverySteps(lambda step: from_first(lambda: journal.add(step, validate(model))), budget.evaluations),
    ]
    if data.mechanics.board is not None and leads():
        callbacks.append(Board(data.mechanics.board / folder.parent.name, journal))
    schedule = Schedule(
        data.steps, data.batch, learning_rate, seed, save_steps=budget.save_steps, optimizer=budget.optimizer
    )
    loss = _Taught(lesson, data, attached, strategy.name)
    train(model, _documents(lesson, data), schedule, loss, title, folder, callbacks, data.mechanics)
    attached.check()
    finished = attached.finish()
    kept = model if finished is None else donut_of(finished, f"the constraint of {strategy.name!r} finished with")
    return kept, journal.curve


def _documents(objective: Objective, data: TrainingData) -> Documents:
    if objective.teaching == "answers":
        return data.answered(float(getattr(objective, "agreement", 0.0)))
    return Documents(data.pages)


class _Taught:
    """An objective as the trainer wants it: the student's forward pass, what the teacher makes of it, the loss."""

    def __init__(self, objective: Objective, data: TrainingData, attached: Attached, name: str) -> None:
        self._objective = objective
        self._data = data
        self._attached = attached
        self._name = name
        self._teaching = objective.teaching

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        teacher = None if self._teaching in ("none", "answers") else self._teacher(batch)
        student = self._data.outputs_of(model, batch, self._teaching)
        own = _unwrapped(model)
        # Few students read some cells alone, and pixels are made anew for this.
        if teacher is not None and own.encoder.selection is not None:
            teacher = read_alike(own, teacher, to_pixels(self._data.processor, batch["pages"]))
        loss = _one(self._objective(*written_alike(own, student, teacher, batch["labels"])), "objective", self._name)
        penalty = self._attached.penalty()
        whole = loss if penalty is None else loss + _one(penalty, "penalty of the constraint", self._name)
        if not whole.requires_grad:
            raise TypeError(f"the objective of strategy {self._name!r} does not depend on what the model computes")
        return whole

    def _teacher(self, batch: Batch) -> Outputs:
        taught = self._data.taught(self._teaching)
        if taught is not None:
            return _rows(Outputs(taught.logits) if self._teaching == "logits" else taught, batch)
        with torch.no_grad(), quiet(self._data.teacher):
            return self._data.outputs_of(self._data.teacher, batch, self._teaching)


def _one(loss: object, part: str, name: str) -> torch.Tensor:
    """What a part of a strategy says of a batch. Raises `TypeError` if it is no tensor of one number."""
    if isinstance(loss, torch.Tensor) and loss.numel() == 1:
        return loss
    found = f"tensor of shape {tuple(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
    raise TypeError(f"the {part} of strategy {name!r} returned a {found}, not a tensor of one number")


def _unwrapped(model: Donut) -> Donut:
    """The model itself, which is wrapped in a launch of several processes."""
    own: Donut = getattr(model, "module", model)
    return own


@contextmanager
def _unfused(model: Donut) -> Iterator[None]:
    """Fused attention tells no probabilities. Afterwards it is as before: it rounds in another way."""
    inner = _unwrapped(model)
    before = inner.decoder.config._attn_implementation
    eager_attention(inner)
    try:
        yield
    finally:
        inner.decoder.set_attn_implementation(before)


def _tensors(outputs: Outputs) -> tuple[torch.Tensor, ...]:
    return outputs.logits, *outputs.encoder, *outputs.decoder, *outputs.cross


def _like(outputs: Outputs, tensors: Sequence[torch.Tensor]) -> Outputs:
    """These tensors in the places that `_tensors` took them from."""
    rest = iter(tensors)
    logits = next(rest)
    encoder, decoder, cross = (
        tuple(islice(rest, len(part))) for part in (outputs.encoder, outputs.decoder, outputs.cross)
    )
    return replace(outputs, logits=logits, encoder=encoder, decoder=decoder, cross=cross)


def _rows(taught: Outputs, batch: Batch) -> Outputs:
    """What was kept of the documents of a batch; of all but the encoder's the last dimension but one are tokens."""
    labels, rows = batch["labels"], batch["rows"].cpu()

    def tokens(kept: torch.Tensor) -> torch.Tensor:
        return kept[..., : labels.shape[1], :][rows].to(labels.device).float()

    encoder = tuple(kept[rows].to(labels.device).float() for kept in taught.encoder)
    decoder, cross = tuple(map(tokens, taught.decoder)), tuple(map(tokens, taught.cross))
    return replace(taught, logits=tokens(taught.logits), encoder=encoder, decoder=decoder, cross=cross)
