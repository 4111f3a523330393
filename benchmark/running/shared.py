"""What the jobs of a run share: processors, reference models, pages, and what the teacher makes of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import DonutProcessor

from benchmark.devices import move
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments, encode_documents, losses
from benchmark.models.processor import add_tokens, decoder_inputs, fixed_tokens, prompt_of, to_pixels
from benchmark.plugin.documents import open_documents
from benchmark.processes import leads, processes
from benchmark.running.cells import Cell
from benchmark.running.checkpoints import Checkpoints
from benchmark.running.plan import Job
from benchmark.running.setup import Run
from benchmark.scales import Scale
from benchmark.scoring.evaluator import Evaluator
from benchmark.training.compress import TrainingData
from benchmark.training.mechanics import Mechanics
from benchmark.types import Calibration, Dataset, Split
from benchmark.zoo.references import DatasetReferences
from benchmark.zoo.store import Zoo

Thing = TypeVar("Thing")
_A_WORKER = 100
"""Documents that are worth another process."""
_ANSWERS = 50
"""Ground truths of training that the reader without eyes tries as its answer."""


@dataclass
class Shared:
    """Makes what several jobs need once, when the first one asks for it.

    `workers` render embedded pages side by side.
    """

    zoo: Zoo
    scale: Scale
    checkpoints: Checkpoints
    device: torch.device
    workers: int = 1
    mechanics: Mechanics = field(default_factory=Mechanics)
    _made: dict[Hashable, Any] = field(default_factory=dict)
    _trained_on: list[TrainingData] = field(default_factory=list)

    def processor(self, dataset: Dataset) -> DonutProcessor:
        """A processor of its own for whoever asks: with the tokens of the data set."""
        processor = self.zoo.processor()
        add_tokens(processor, dataset)
        return processor

    def references(self, job: Job) -> DatasetReferences:
        """The reference models as a job sees them; they remember for it what it loads."""
        if job.teacher is not None:
            kept = self.checkpoints
            folder, documents = kept.of(job.teacher), kept.start_documents(job.teacher) + kept.documents(job.teacher)
        else:
            shipped = self.zoo.task_teacher(job.route.teacher)
            assert shipped is not None
            folder, documents = shipped, self.zoo.documents(shipped)
        size = len(self.processor(job.cell.dataset).tokenizer)
        looks = partial(self._calibration, job.cell), partial(self._tokens, job.cell)
        return DatasetReferences(self.zoo, folder, documents, size, *looks)

    def teacher(self, job: Job) -> Donut:
        """A fresh copy of a job's teacher, on the device."""
        return move(self.references(job).load("teacher"), self.device)

    def training_data(self, job: Job) -> TrainingData:
        """What a job is trained on, the same for all of one data set, budget and seed."""
        cell = job.cell
        name = ("training", cell.dataset.name, cell.resources, cell.seed, cell.limit)
        data = self._once(name, lambda: self._training_data(job))
        # What the teachers say is kept of two, the reading set and a task: it is a gigabyte of each.
        recent = [one for one in self._trained_on if one is not data]
        for old in recent[:-1]:
            old.forget()
        self._trained_on = [*recent[-1:], data]
        return data

    def forget(self) -> None:
        """Free what the teachers have said: nothing more is trained."""
        for data in self._trained_on:
            data.forget()

    def test(self, job: Job) -> EncodedDocuments:
        """The test split. Raises `UserError` for documents that cannot be scored."""
        cell = job.cell
        return self._once(("test", cell.dataset.name, cell.limit), lambda: self._test(cell))

    def evaluator(self, job: Job) -> Evaluator:
        """The test split of a data set and what every score on it is compared with."""
        cell = job.cell
        return self._once(("evaluator", cell.dataset.name, cell.limit), lambda: self._evaluator(job))

    def shifted(self, job: Job) -> Evaluator | None:
        """The second test split of a data set, compared with no teacher; None if it has none."""
        cell = job.cell
        if not cell.dataset.shifted:
            return None
        return self._once(("shifted", cell.dataset.name, cell.limit), lambda: self._shifted(cell))

    def _once(self, name: Hashable, make: Callable[[], Thing]) -> Thing:
        if name not in self._made:
            self._made[name] = make()
        made: Thing = self._made[name]
        return made

    def _training_data(self, job: Job) -> TrainingData:
        cell, budget = job.cell, job.cell.resources
        processor = self.processor(cell.dataset)
        documents = _cut(budget.documents(cell.dataset.task), cell.limit)
        train = self._encoded(cell, "train", cell.seed, documents, processor)
        lost = str(losses(train, processor, self.scale.max_tokens))
        self._tell(lost and f"{cell.dataset.name}: in training {lost}")
        validation = self._encoded(cell, "validation", 0, self.scale.validation_documents, processor)
        teacher, longest = self.teacher(job), self.scale.max_tokens
        return TrainingData(
            cell.dataset, processor, train, validation, teacher, budget, documents, self.mechanics, longest
        )

    def _calibration(self, cell: Cell, count: int, draw: int) -> Calibration:
        processor = self.processor(cell.dataset)
        skip = draw * _cut(count, cell.limit)
        found = self._encoded(cell, "train", cell.seed, count, processor, skip)
        prompt = int(processor.tokenizer.convert_tokens_to_ids(prompt_of(cell.dataset)))
        inputs = decoder_inputs(found.labels, prompt, processor.tokenizer.pad_token_id)
        return Calibration(to_pixels(processor, found.pages[:]), inputs, found.labels)

    def _tokens(self, cell: Cell, count: int) -> frozenset[int]:
        processor = self.processor(cell.dataset)
        labels = self._encoded(cell, "train", cell.seed, count, processor).labels
        return frozenset({*labels[labels != -100].tolist(), *fixed_tokens(processor, cell.dataset)})

    def _test(self, cell: Cell) -> EncodedDocuments:
        # Of embedded documents there are as many as one likes, of others all count.
        count = self.scale.test_documents if cell.dataset.embedded else None
        return self._encoded(cell, "test", 0, count, self.processor(cell.dataset))

    def _evaluator(self, job: Job) -> Evaluator:
        evaluator = self._scores(job.cell, self.test(job))
        for warning in evaluator.warnings:
            self._tell(warning)
        evaluator.compare_with(self.teacher(job))
        return evaluator

    def _shifted(self, cell: Cell) -> Evaluator:
        count = self.scale.shifted_documents
        return self._scores(cell, self._encoded(cell, "shifted", 0, count, self.processor(cell.dataset)))

    def _scores(self, cell: Cell, documents: EncodedDocuments) -> Evaluator:
        train = open_documents(cell.dataset, self.scale, "train", 0, _ANSWERS)
        answers = [document.ground_truth for document in train]
        return Evaluator(cell.dataset, self.processor(cell.dataset), documents, answers, self.scale.max_tokens)

    def _encoded(
        self, cell: Cell, split: Split, seed: int, count: int | None, processor: DonutProcessor, skip: int = 0
    ) -> EncodedDocuments:
        """The first documents of a split, or those after so many, from the beginning again where it ends."""
        wanted = cell.limit if count is None else _cut(count, cell.limit)
        most = wanted and _cut(skip + wanted, cell.limit)
        documents = open_documents(cell.dataset, self.scale, split, seed, most)
        if wanted is not None and len(documents) > wanted:
            documents = documents.take((skip + i) % len(documents) for i in range(wanted))
        # What a stranger's documents do in a forked process nobody knows.
        workers = min(self.workers, 1 + len(documents) // _A_WORKER) if cell.dataset.embedded else 1
        return encode_documents(documents, processor, self.scale.max_tokens, workers)

    def _tell(self, line: str | None) -> None:
        """Say once what the user should know of a data set."""
        if line and leads():
            self._once(("told", line), lambda: print(line, file=sys.stderr))


def shared_by(setup: Run, jobs: int = 1) -> Shared:
    """What the jobs of a run share that are done so many at a time; nothing of it is made yet."""
    workers = max(1, (os.cpu_count() or 1) // (jobs * processes()))
    parts = (setup.config.changes.accumulate or 1) // processes()
    mechanics = replace(setup.config.mechanics, accumulate=parts)
    return Shared(setup.zoo, setup.scale, setup.checkpoints, setup.device, workers, mechanics)


def _cut(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
