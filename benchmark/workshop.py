"""Makes the models of a run; what several cells share (pages, teachers, upstream models) is made once."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from transformers import DonutProcessor

from benchmark.cells import Cell, identity_of, key_of
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
from benchmark.training.compress import Course, train_strategy
from benchmark.training.journal import Curve
from benchmark.training.pages import Pages, load_pages, losses
from benchmark.types import Dataset, Split, Strategy
from benchmark.zoo import DatasetReferences, Zoo

_TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Training:
    """How a model was trained: the totals of steps and documents, upstream and downstream; seconds of this run."""

    start_hash: str
    steps: int = 0
    documents: int = 0
    seconds: float = 0.0
    curve: Curve = field(default_factory=list)
    upstream_curve: Curve = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trained:
    """A model and how it came to be."""

    model: Donut
    training: Training


@dataclass(frozen=True, slots=True)
class Made:
    """What a cell gave."""

    training: Training
    metrics: Metrics
    efficiency: Efficiency
    predictions: list[Prediction]


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
    jobs: int = 1
    _courses: dict[tuple[str, int], Course] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _judges: dict[tuple[str, int], Judge] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def key(self, cell: Cell) -> str:
        name = cell.strategy.name
        if name not in self._fingerprints:
            self._fingerprints[name] = self.zoo.fingerprint(name)
        return key_of(cell, self._fingerprints[name], self.limit)

    def make(self, cell: Cell) -> Made:
        """Make, save, reload, score and measure the model of a cell. Raises whatever goes wrong."""
        judge = self.judge(cell.dataset, cell.seed)  # first: it refuses documents before anything is trained
        trained = self.trained(cell)
        metrics, predictions = judge.judge(trained.model)
        efficiency = measure(trained.model, judge.processor, judge.test, prompt_of(cell.dataset), self.scale.max_tokens)
        return Made(trained.training, metrics, efficiency, predictions)

    def trained(self, cell: Cell) -> Trained:
        """The model of a cell, kept and reopened from ``checkpoints/``."""
        key = self.key(cell)
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
        if strategy.objective is None:
            return _untrained(self.begin(cell))
        if dataset.name == self.upstream.name:
            return self._read(cell)
        before = self.trained(replace(cell, dataset=self.upstream))
        fit_vocabulary(before.model, len(self._processor(dataset).tokenizer))
        return self._follow(cell, self._course(dataset, cell.seed), before)

    def _read(self, cell: Cell) -> Trained:
        """Upstream: what the start becomes by reading; from the zoo, where that has been done with the full budget."""
        if not cell.strategy.upstream:
            return _untrained(self.begin(cell))
        known = self.zoo.upstream_model(cell.strategy.name, identity_of(cell.strategy))
        # The zoo's are of seed 0: enough for a quick run, while the seeds of a full one are to differ upstream too.
        if known is not None and (cell.budget == "quick" or cell.seed == 0):
            model, recipe = known
            curve = [(step, ted) for step, ted in recipe["curve"]]
            return Trained(model, Training(recipe["start_hash"], recipe["steps"], recipe["documents"], curve=curve))
        return self._follow(cell, self._course(cell.dataset, cell.seed), _untrained(self.begin(cell)))

    def begin(self, cell: Cell) -> Donut:
        """The start of a cell's strategy. Raises `TypeError` if it is no Donut."""
        strategy = cell.strategy
        model = strategy.start(self._references(cell.dataset, cell.seed), self.scale, cell.seed)
        if not isinstance(model, Donut):
            raise TypeError(f"the start of strategy {strategy.name!r} returned a {type(model).__name__}, not a Donut")
        return model

    def _follow(self, cell: Cell, course: Course, before: Trained) -> Trained:
        def validate(model: Donut) -> float:
            return mean_ted(model, course.processor, course.validation, course.dataset, self.scale.max_tokens)

        model = place(before.model, self.device)
        title = f"{cell.strategy.name} on {course.dataset.name}"
        folder = self.output / "unfinished" / cell.name / self.key(cell)
        curve = train_strategy(model, cell.strategy, course, validate, cell.seed, title, folder)
        shutil.rmtree(folder.parent, ignore_errors=True)
        start = before.training
        return Trained(
            model,
            Training(
                start.start_hash,
                start.steps + course.steps,
                start.documents + course.steps * course.batch,
                curve=curve,
                upstream_curve=start.curve,
            ),
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
        facts = {"key": key, **asdict(replace(trained.training, seconds=seconds))}
        write_atomically(folder / _TRAINING, json.dumps(facts).encode())

    def _references(self, dataset: Dataset, seed: int) -> DatasetReferences:
        place = self.zoo.task_teacher(dataset.name) or self._own_teacher(dataset, seed)
        return DatasetReferences(self.zoo, place, len(self._processor(dataset).tokenizer))

    def _own_teacher(self, dataset: Dataset, seed: int) -> Path:
        """A task teacher for data that the zoo does not know: the upstream teacher, fine-tuned on the task first."""
        strategy = Strategy("task-teacher", "the upstream teacher on the task", reference("teacher"), CrossEntropy())
        cell = Cell(strategy, dataset, self.scale, self.budget, seed)
        key = self.key(cell)
        folder = self.output / "checkpoints" / cell.name
        if _reopen(folder, key) is None:
            began = time.perf_counter()
            size = len(self._processor(dataset).tokenizer)
            model = fit_vocabulary(self.zoo.load("teacher"), size)
            course = self._new_course(dataset, seed, model)
            made = self._follow(cell, course, _untrained(model))
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
        lost = str(losses(train, processor, self.scale.max_tokens))
        self._tell(lost and f"{dataset.name}: in training {lost}")
        validation = self._pages(dataset, "validation", 0, self.scale.validation_documents, processor)
        return Course(dataset, processor, train, validation, teacher, budget)

    def judge(self, dataset: Dataset, seed: int) -> Judge:
        if (dataset.name, seed) not in self._judges:
            processor = self._processor(dataset)
            test = self._pages(dataset, "test", 0, self.scale.test_documents, processor)
            train = [document.ground_truth for document in dataset.open(self.scale, "train", 0, 50)]
            judge = Judge(dataset, processor, test, train, self.scale.max_tokens)
            self._tell(judge.warning)
            judge.compare_with(place(self._references(dataset, seed).load("teacher"), self.device))
            self._judges[dataset.name, seed] = judge
        return self._judges[dataset.name, seed]

    def _pages(self, dataset: Dataset, split: Split, seed: int, count: int, processor: DonutProcessor) -> Pages:
        wanted = count if self.limit is None else min(count, self.limit)
        documents = dataset.open(self.scale, split, seed, wanted)
        if not len(documents):
            raise UserError(f"data set {dataset.name} has no {split} split")
        where = f"data set {dataset.name}, {split}"
        return load_pages(documents, processor, self.scale.max_tokens, self.jobs, where)

    def _tell(self, line: str | None) -> None:
        """Say once what the user should know of a data set."""
        if line and line not in self._told:
            self._told.add(line)
            print(line, file=sys.stderr)

    def _processor(self, dataset: Dataset) -> DonutProcessor:
        processor = self.zoo.processor()
        add_tokens(processor, dataset)
        return processor


def _untrained(model: Donut) -> Trained:
    return Trained(model, Training(fingerprint(model)))


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
        return Trained(load_model(folder), Training(**facts))
    except UserError:
        return None
