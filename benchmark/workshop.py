"""Makes the models of a run; what several cells share (pages, teachers, upstream models) is made once."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from transformers import DonutProcessor

from benchmark.cells import Cell, key_of
from benchmark.devices import place
from benchmark.errors import UserError
from benchmark.evaluate import Judge
from benchmark.measure import measure
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.models.parameters import prunable
from benchmark.models.processor import add_tokens, prompt_of
from benchmark.parts.objectives import CrossEntropy
from benchmark.parts.starts import reference
from benchmark.predict import mean_ted
from benchmark.results import Efficiency, Metrics, Prediction, write_atomically
from benchmark.scales import Scale
from benchmark.training.compress import Course, Curve, train_strategy
from benchmark.training.pages import Pages, load_pages
from benchmark.types import Dataset, Split, Strategy
from benchmark.zoo import DatasetReferences, Zoo

_TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Made:
    """What a cell gave."""

    start_hash: str
    steps: int
    documents: int
    seconds_train: float
    curve: Curve
    upstream_curve: Curve
    metrics: Metrics
    efficiency: Efficiency
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and how it was trained: the total of steps and documents, upstream and downstream."""

    model: Donut
    start_hash: str
    steps: int
    documents: int
    seconds: float
    curve: Curve
    upstream_curve: Curve


@dataclass
class Workshop:
    """Everything of one run that outlives a cell."""

    zoo: Zoo
    upstream: Dataset
    scale: Scale
    budget: str
    output: Path
    device: torch.device
    limit: int | None = None
    _courses: dict[tuple[str, int], Course] = field(default_factory=dict)
    _judges: dict[tuple[str, int], Judge] = field(default_factory=dict)

    @cached_property
    def zoo_fingerprint(self) -> str:
        return self.zoo.fingerprint

    def make(self, cell: Cell, key: str) -> Made:
        """Make, save, reload, score and measure the model of a cell. Raises whatever goes wrong."""
        trained = self._trained(cell, key)
        judge = self._judge(cell.dataset, cell.seed)
        metrics, predictions = judge.judge(trained.model)
        efficiency = measure(trained.model, judge.processor, judge.test, prompt_of(cell.dataset), self.scale.max_tokens)
        return Made(
            start_hash=trained.start_hash,
            steps=trained.steps,
            documents=trained.documents,
            seconds_train=trained.seconds,
            curve=trained.curve,
            upstream_curve=trained.upstream_curve,
            metrics=metrics,
            efficiency=efficiency,
            predictions=predictions,
        )

    def _trained(self, cell: Cell, key: str) -> Trained:
        folder = self.output / "checkpoints" / cell.name
        kept = _reopen(folder, key)
        if kept is None:
            began = time.perf_counter()
            self._keep(self._train(cell), cell, folder, key, began)
            kept = _reopen(folder, key)
            assert kept is not None
        place(kept.model, self.device)
        return kept

    def _train(self, cell: Cell) -> Trained:
        """The model of a cell as the protocol makes it: upstream first, unless nothing is trained."""
        strategy, dataset = cell.strategy, cell.dataset
        references = self._references(dataset, cell.seed)
        if strategy.objective is None:
            model = self._begin(strategy, references, cell.seed)
            return _untrained(model)
        if dataset.name == self.upstream.name:
            model = self._begin(strategy, references, cell.seed)
            return self._follow(strategy, self._course(dataset, cell.seed), cell.seed, _untrained(model))
        upstream = Cell(strategy, self.upstream, cell.scale, cell.budget, cell.seed)
        before = self._trained(upstream, key_of(upstream, self.zoo_fingerprint, self.limit))
        fit_vocabulary(before.model, references.vocabulary)
        return self._follow(strategy, self._course(dataset, cell.seed), cell.seed, before)

    def _begin(self, strategy: Strategy, references: DatasetReferences, seed: int) -> Donut:
        model = strategy.start(references, self.scale, seed)
        if not isinstance(model, Donut):
            raise TypeError(f"the start of strategy {strategy.name!r} returned a {type(model).__name__}, not a Donut")
        return model

    def _follow(self, strategy: Strategy, course: Course, seed: int, before: Trained) -> Trained:
        def validate(model: Donut) -> float:
            return mean_ted(model, course.processor, course.validation, course.dataset, self.scale.max_tokens)

        model = place(before.model, self.device)
        title = f"{strategy.name} on {course.dataset.name}"
        curve, steps = train_strategy(model, strategy, course, validate, seed, title)
        return Trained(
            model,
            before.start_hash,
            before.steps + steps,
            before.documents + steps * course.batch,
            0.0,
            curve,
            before.curve,
        )

    def _keep(self, trained: Trained, cell: Cell, folder: Path, key: str, began: float) -> None:
        """Save, and make sure that what was saved is what was trained, zero for zero."""
        zeros = _zeros(trained.model)
        seconds = time.perf_counter() - began
        save_model(trained.model, folder)
        self._processor(cell.dataset).save_pretrained(str(folder))
        again = load_model(folder)
        if _zeros(again) != zeros or fingerprint(again) != fingerprint(trained.model):
            raise RuntimeError("the saved model is not the trained one")
        facts = {
            "key": key,
            "start_hash": trained.start_hash,
            "steps": trained.steps,
            "documents": trained.documents,
            "seconds": seconds,
            "curve": trained.curve,
            "upstream_curve": trained.upstream_curve,
        }
        write_atomically(folder / _TRAINING, json.dumps(facts).encode())

    def _references(self, dataset: Dataset, seed: int) -> DatasetReferences:
        place = self.zoo.task_teacher(dataset.name) or self._own_teacher(dataset, seed)
        return DatasetReferences(self.zoo, place, len(self._processor(dataset).tokenizer))

    def _own_teacher(self, dataset: Dataset, seed: int) -> Path:
        """A task teacher for data that the zoo does not know: the upstream teacher, fine-tuned on the task first."""
        strategy = Strategy("task-teacher", "the upstream teacher on the task", reference("teacher"), CrossEntropy())
        cell = Cell(strategy, dataset, self.scale, self.budget, seed)
        key = key_of(cell, self.zoo_fingerprint, self.limit)
        folder = self.output / "checkpoints" / cell.name
        if _reopen(folder, key) is None:
            began = time.perf_counter()
            size = len(self._processor(dataset).tokenizer)
            model = fit_vocabulary(self.zoo.load("teacher"), size)
            course = self._new_course(dataset, seed, model)
            made = self._follow(strategy, course, seed, _untrained(model))
            self._keep(made, cell, folder, key, began)
        return folder

    def _course(self, dataset: Dataset, seed: int) -> Course:
        if (dataset.name, seed) not in self._courses:
            teacher = place(self._references(dataset, seed).load("teacher"), self.device)
            self._courses[dataset.name, seed] = self._new_course(dataset, seed, teacher)
        return self._courses[dataset.name, seed]

    def _new_course(self, dataset: Dataset, seed: int, teacher: Donut) -> Course:
        budget = self.scale.budget(self.budget)
        processor = self._processor(dataset)
        train = self._pages(dataset, "train", seed, budget.documents(dataset.task), processor)
        validation = self._pages(dataset, "validation", 0, self.scale.validation_documents, processor)
        return Course(dataset, processor, train, validation, teacher, budget)

    def _judge(self, dataset: Dataset, seed: int) -> Judge:
        if (dataset.name, seed) not in self._judges:
            processor = self._processor(dataset)
            test = self._pages(dataset, "test", 0, self.scale.test_documents, processor)
            train = [document.ground_truth for document in dataset.open(self.scale, "train", 0, 50)]
            judge = Judge(dataset, processor, test, train, self.scale.max_tokens)
            judge.compare_with(place(self._references(dataset, seed).load("teacher"), self.device))
            self._judges[dataset.name, seed] = judge
        return self._judges[dataset.name, seed]

    def _pages(self, dataset: Dataset, split: Split, seed: int, count: int, processor: DonutProcessor) -> Pages:
        wanted = count if self.limit is None else min(count, self.limit)
        documents = dataset.open(self.scale, split, seed, wanted)
        if not len(documents):
            raise UserError(f"data set {dataset.name} has no {split} split")
        return load_pages(documents, processor, self.scale.max_tokens)

    def _processor(self, dataset: Dataset) -> DonutProcessor:
        processor = self.zoo.processor()
        add_tokens(processor, dataset)
        return processor


def _untrained(model: Donut) -> Trained:
    return Trained(model, fingerprint(model), 0, 0, 0.0, [], [])


def _zeros(model: Donut) -> int:
    return sum(int((weight == 0).sum()) for weight in prunable(model).values())


def _reopen(folder: Path, key: str) -> Trained | None:
    """What an earlier run left, if it was made for the same key and is whole."""
    path = folder / _TRAINING
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_text())
    except ValueError:
        return None
    if facts.pop("key", None) != key:
        return None
    try:
        return Trained(model=load_model(folder), **facts)
    except UserError:
        return None
