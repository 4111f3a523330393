"""Makes the models of a run; what several cells share (pages, teachers, upstream models) is made once."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import DonutProcessor, set_seed

from benchmark.devices import move
from benchmark.errors import UserError
from benchmark.measure import measure
from benchmark.models.balance import balance
from benchmark.models.checkpoint import fingerprint
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.models.encoded import EncodedDocuments, encode_documents, losses
from benchmark.models.processor import add_tokens, prompt_of
from benchmark.parts.objectives import CrossEntropy
from benchmark.parts.starts import reference
from benchmark.records.record import Efficiency, Metrics, Prediction
from benchmark.running.cells import Cell, identity_of, key_of
from benchmark.running.trained import Trained, Training, keep, reopen
from benchmark.scales import TEACHING, Scale
from benchmark.scoring.evaluator import Evaluator
from benchmark.scoring.predict import mean_ted
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.muon import OPTIMIZER
from benchmark.types import Dataset, Split, Strategy
from benchmark.zoo.store import DatasetReferences, Zoo


@dataclass(frozen=True, slots=True)
class Made:
    """What a cell gave."""

    model_hash: str
    training: Training
    metrics: Metrics
    efficiency: Efficiency
    predictions: list[Prediction]


@dataclass
class Workshop:
    """Everything of one run that outlives a cell.

    `contents` are hashes of plugins, by what they register: ("strategy" or "dataset", name).
    """

    zoo: Zoo
    upstream: Dataset
    scale: Scale
    output: Path
    device: torch.device
    contents: Mapping[tuple[str, str], str] = field(default_factory=dict)
    jobs: int = 1
    _keys: dict[str, str] = field(default_factory=dict)
    _courses: dict[tuple[str, str, int, int | None], TrainingData] = field(default_factory=dict)
    _judges: dict[tuple[str, int | None], Evaluator] = field(default_factory=dict)
    _taught: dict[str, Training] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def key(self, cell: Cell) -> str:
        """The key of a cell, as it was when it was first asked for. Raises `UserError` as `key_of`."""
        if cell.name not in self._keys:
            strategy, dataset = cell.strategy.name, cell.dataset.name
            plugins = [self.contents.get(("strategy", strategy)), self.contents.get(("dataset", dataset))]
            zoo = self.zoo.fingerprint(strategy, dataset)
            before = [self.key(other) for other in self._needed(cell)]
            self._keys[cell.name] = key_of(self._as_it_trains(cell), plugins, zoo, before)
        return self._keys[cell.name]

    def _needed(self, cell: Cell) -> Iterator[Cell]:
        """The cells of this run whose models a cell needs: what its strategy reads first, the teacher of its task."""
        if self._reads_here(cell):
            yield self._upstream_cell(cell)
        if cell.budget != TEACHING and self.zoo.task_teacher(cell.dataset.name) is None:
            yield self._teaching_cell(cell)

    def make(self, cell: Cell) -> Made:
        """Make, save, reload, score and measure the model of a cell. Raises whatever goes wrong."""
        judge = self.judge(cell)  # first: it refuses documents before anything is trained
        trained = self.trained(cell)
        metrics, predictions = judge.judge(trained.model)
        efficiency = measure(trained.model, judge.processor, judge.test, prompt_of(cell.dataset), self.scale.max_tokens)
        return Made(fingerprint(trained.model), trained.training, metrics, efficiency, predictions)

    def trained(self, cell: Cell) -> Trained:
        """The model of a cell, kept and reopened from ``checkpoints/``."""
        return self._kept(cell, self._train)

    def _kept(self, cell: Cell, make: Callable[[Cell], Trained]) -> Trained:
        key = self.key(cell)
        folder = self._checkpoint(cell)
        kept = reopen(folder, key)
        if kept is None:
            began = time.perf_counter()
            made = make(cell)
            keep(made.taking(time.perf_counter() - began), self._processor(cell.dataset), folder, key)
            kept = reopen(folder, key)
            assert kept is not None
        move(kept.model, self.device)
        return kept

    def _checkpoint(self, cell: Cell) -> Path:
        return self.output / "checkpoints" / cell.name

    def _train(self, cell: Cell) -> Trained:
        """The model of a cell as the protocol makes it: upstream first, unless nothing is trained."""
        if cell.strategy.objective is None:
            return self.begin(cell)
        if cell.dataset.name == self.upstream.name:
            return self._read(cell)
        before = self.trained(self._upstream_cell(cell))
        fit_vocabulary(before.model, len(self._processor(cell.dataset).tokenizer), cell.seed)
        return self._follow(cell, self._course(cell), before)

    def _upstream_cell(self, cell: Cell) -> Cell:
        options = tuple(option for option in cell.options if option[0] != "rate")
        return self._as_it_trains(replace(cell, dataset=self.upstream, options=options))

    def _as_it_trains(self, cell: Cell) -> Cell:
        """The cell, at the rate of the budget where that of its strategy changes nothing."""
        if cell.dataset.name != self.upstream.name:
            return cell
        return replace(cell, strategy=replace(cell.strategy, rate=1.0))

    def _reads_here(self, cell: Cell) -> bool:
        """Whether the model of a task begins with one that learns to read in this run."""
        if cell.dataset.name == self.upstream.name or not reads_on(cell.strategy):
            return False
        return self._read_before(cell) is None

    def _read(self, cell: Cell) -> Trained:
        """Upstream: what the start becomes by reading; from the zoo, where that has been done with the full budget."""
        if not cell.strategy.upstream:
            return self.begin(cell)
        recipe = self._read_before(cell)
        if recipe is None:
            return self._follow(cell, self._course(cell), self.begin(cell))
        names = ("start_hash", "start_documents", "steps", "documents", "learning_rate", "optimizer")
        curve = [(step, ted) for step, ted in recipe["curve"]]
        training = Training(**{name: recipe[name] for name in names}, curve=curve)
        return Trained(self.zoo.load_upstream(cell.strategy.name), training)

    def _read_before(self, cell: Cell) -> dict[str, Any] | None:
        """The recipe of the zoo's upstream model of this very strategy, if it has one that this cell may begin with."""
        # The zoo's are of seed 0: enough for a quick run, while the seeds of a full one are to differ upstream too.
        if cell.budget != "quick" and cell.seed != 0:
            return None
        return self.zoo.upstream_recipe(cell.strategy.name, identity_of(cell.strategy))

    def begin(self, cell: Cell) -> Trained:
        """The start of a cell's strategy, nothing trained. Raises `TypeError` if it is no Donut."""
        strategy = cell.strategy
        references = self._references(cell)
        set_seed(cell.seed)
        # A copy, as of all parts: what one remembers of a cell is no business of the next.
        model = deepcopy(strategy.start)(references, self.scale, cell.seed)
        if not isinstance(model, Donut):
            raise TypeError(f"the start of strategy {strategy.name!r} returned a {type(model).__name__}, not a Donut")
        return Trained(model, Training(fingerprint(model), references.documents))

    def _follow(self, cell: Cell, course: TrainingData, before: Trained) -> Trained:
        def validate(model: Donut) -> float:
            return mean_ted(model, course.processor, course.validation, course.dataset, self.scale.max_tokens)

        model = move(before.model, self.device)
        title = f"{cell.strategy.name} on {course.dataset.name}"
        folder = self.output / "unfinished" / cell.name / self.key(cell)
        learning_rate = course.budget.learning_rate * self._as_it_trains(cell).strategy.rate
        set_seed(cell.seed)
        curve = train_strategy(
            model, deepcopy(cell.strategy), course, learning_rate, validate, cell.seed, title, folder
        )
        shutil.rmtree(folder.parent, ignore_errors=True)
        start = before.training
        return Trained(
            model,
            replace(
                start,
                steps=start.steps + course.steps,
                documents=start.documents + course.steps * course.batch,
                learning_rate=learning_rate,
                optimizer=OPTIMIZER,
                curve=curve,
                upstream_curve=start.curve,
            ),
        )

    def _references(self, cell: Cell) -> DatasetReferences:
        # A task teacher is made of the reading teacher.
        dataset = self.upstream if cell.budget == TEACHING else cell.dataset
        size = len(self._processor(cell.dataset).tokenizer)
        place = self.zoo.task_teacher(dataset.name)
        if place is not None:
            return DatasetReferences(self.zoo, place, self.zoo.documents(place), size)
        taught = self._teaching_cell(cell)
        if taught.name not in self._taught:
            self._taught[taught.name] = self._kept(taught, self._teach).training
        training = self._taught[taught.name]
        documents = training.start_documents + training.documents
        return DatasetReferences(self.zoo, self._checkpoint(taught), documents, size)

    def _teaching_cell(self, cell: Cell) -> Cell:
        """The one task teacher of all rows and seeds, for data that the zoo does not know."""
        strategy = Strategy(
            "task-teacher", "the upstream teacher on the task", reference("teacher"), CrossEntropy(), upstream=False
        )
        return Cell(strategy, cell.dataset, self.scale, TEACHING, seed=0, limit=cell.limit, device=cell.device)

    def _teach(self, cell: Cell) -> Trained:
        """The reading teacher, fine-tuned on the task, and balanced as the zoo's teachers are, to be pruned."""
        before = self.begin(cell)
        taught = self._follow(cell, self._new_course(cell, before.model), before)
        balance(taught.model)
        return taught

    def _course(self, cell: Cell) -> TrainingData:
        place_in_run = cell.dataset.name, cell.budget, cell.seed, cell.limit
        if place_in_run not in self._courses:
            teacher = move(self._references(cell).load("teacher"), self.device)
            self._courses[place_in_run] = self._new_course(cell, teacher)
        return self._courses[place_in_run]

    def _new_course(self, cell: Cell, teacher: Donut) -> TrainingData:
        budget = cell.scale.budget(cell.budget)
        processor = self._processor(cell.dataset)
        documents = _cut(budget.documents(cell.dataset.task), cell.limit)
        train = self._pages(cell, "train", cell.seed, documents, processor)
        lost = str(losses(train, processor, self.scale.max_tokens))
        self._tell(lost and f"{cell.dataset.name}: in training {lost}")
        validation = self._pages(cell, "validation", 0, self.scale.validation_documents, processor)
        return TrainingData(cell.dataset, processor, train, validation, teacher, budget, documents)

    def judge(self, cell: Cell) -> Evaluator:
        dataset = cell.dataset
        if (dataset.name, cell.limit) not in self._judges:
            processor = self._processor(dataset)
            test = self._pages(cell, "test", 0, self.scale.test_documents, processor)
            train = [document.ground_truth for document in dataset.open(self.scale, "train", 0, 50)]
            judge = Evaluator(dataset, processor, test, train, self.scale.max_tokens)
            self._tell(judge.warning)
            judge.compare_with(move(self._references(cell).load("teacher"), self.device))
            self._judges[dataset.name, cell.limit] = judge
        return self._judges[dataset.name, cell.limit]

    def _pages(self, cell: Cell, split: Split, seed: int, count: int, processor: DonutProcessor) -> EncodedDocuments:
        wanted = _cut(count, cell.limit)
        documents = cell.dataset.open(self.scale, split, seed, wanted)
        if not len(documents):
            raise UserError(f"data set {cell.dataset.name} has no {split} split")
        if len(documents) > wanted:  # a plugin may give more than it was asked for
            documents = [documents[i] for i in range(wanted)]
        where = f"data set {cell.dataset.name}, {split}"
        return encode_documents(documents, processor, self.scale.max_tokens, self.jobs, where)

    def _tell(self, line: str | None) -> None:
        """Say once what the user should know of a data set."""
        if line and line not in self._told:
            self._told.add(line)
            print(line, file=sys.stderr)

    def _processor(self, dataset: Dataset) -> DonutProcessor:
        processor = self.zoo.processor()
        add_tokens(processor, dataset)
        return processor


def reads_on(strategy: Strategy) -> bool:
    """Whether a strategy trains upstream."""
    return strategy.upstream and strategy.objective is not None


def _cut(count: int, limit: int | None) -> int:
    return count if limit is None else min(count, limit)
