"""The stages that make a model: start, train, finish, checkpoint. Scores are in `scoring`, costs in `measure`.

`make_model` asks for what is shared, and each stage takes what it needs and nothing of the run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import set_seed

from benchmark.devices import move
from benchmark.errors import UserError
from benchmark.models.balance import balance
from benchmark.models.checkpoint import fingerprint
from benchmark.models.donut import Donut, donut_of, fit_vocabulary
from benchmark.processes import from_first, together
from benchmark.running.cells import Cell
from benchmark.running.plan import Job
from benchmark.running.route import FromStart, FromZoo
from benchmark.running.shared import Shared
from benchmark.running.trained import Trained, Training, keep, reopen
from benchmark.scoring.predict import mean_ted
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.optimizers import OPTIMIZERS
from benchmark.zoo.references import DatasetReferences

_OF_RECIPE = ("start_hash", "start_documents", "steps", "documents", "learning_rate", "optimizer")


def make_model(job: Job, shared: Shared) -> Trained:
    """The model of a job: start, train, finish, checkpoint. What is kept is reopened; what it needs has to be there."""
    folder = shared.checkpoints.of(job)
    kept = reopen(folder, job.key)
    if kept is None:
        trained = _train_together(job, shared) if job.route.trains else _begin(job, shared)
        if job.route.balanced:
            balance(trained.model)
        trained = finish(job.cell, trained)
        keep(trained, shared.processor(job.cell.dataset), folder, job.key)
        kept = reopen(folder, job.key)
        assert kept is not None
    move(kept.model, shared.device)
    return kept


def _train_together(job: Job, shared: Shared) -> Trained:
    """By all processes of a launch: the others wait for its name (`benchmark.running.attending`)."""
    from_first(lambda: job.name)
    trained = together(lambda: begin_and_train(job, shared))
    shutil.rmtree(shared.checkpoints.unfinished(job).parent, ignore_errors=True)
    return trained


def begin_and_train(job: Job, shared: Shared) -> Trained:
    """What each process of a launch does for a job: it begins by itself, which is cheap, and shares each batch."""
    begun = _begin(job, shared)
    move(begun.model, shared.device)
    return train(job.cell, begun, shared.training_data(job), shared.checkpoints.unfinished(job))


def _begin(job: Job, shared: Shared) -> Trained:
    begin = job.route.begin
    if isinstance(begin, FromStart):
        return start(job.cell, shared.references(job))
    if isinstance(begin, FromZoo):
        return start_from_zoo(shared.zoo.load_upstream(job.cell.strategy.name), begin.recipe)
    assert job.begins is not None
    before = reopen(shared.checkpoints.of(job.begins), job.begins.key)
    if before is None:
        raise UserError(f"{shared.checkpoints.of(job.begins)}, which it begins with, is not there any more")
    fit_vocabulary(before.model, len(shared.processor(job.cell.dataset).tokenizer), job.cell.seed)
    return before


def start(cell: Cell, references: DatasetReferences) -> Trained:
    """What the strategy begins with, nothing trained. Raises `TypeError` if it is no Donut."""
    strategy = cell.strategy
    set_seed(cell.seed)
    # A copy, as of all parts: what one remembers of a cell is no business of the next.
    made = deepcopy(strategy.start)(references, cell.scale, cell.seed)
    model = donut_of(made, f"the start of strategy {strategy.name!r} returned")
    return Trained(model, Training(fingerprint(model), references.documents, references.calibration_hash))


def start_from_zoo(model: Donut, recipe: Mapping[str, Any]) -> Trained:
    """What a strategy has become upstream, as the zoo has it."""
    curve = [(step, ted) for step, ted in recipe["curve"]]
    facts = {name: recipe[name] for name in _OF_RECIPE}
    return Trained(model, Training(**facts, calibration_hash=recipe.get("calibration_hash"), curve=curve))


def train(cell: Cell, before: Trained, data: TrainingData, folder: Path) -> Trained:
    """Train in place; goes on from what a killed training left in `folder`."""

    def validate(model: Donut) -> float:
        return mean_ted(model, data.processor, data.validation, data.dataset, cell.scale.max_tokens)

    began = time.perf_counter()
    learning_rate = data.budget.learning_rate * cell.strategy.rate
    title = f"{cell.strategy.name} on {data.dataset.name}"
    set_seed(cell.seed)
    strategy = deepcopy(cell.strategy)
    model, curve = train_strategy(before.model, strategy, data, learning_rate, validate, cell.seed, title, folder)
    start = before.training
    training = replace(
        start,
        steps=start.steps + data.steps,
        documents=start.documents + data.steps * data.batch,
        seconds=start.seconds + time.perf_counter() - began,
        learning_rate=learning_rate,
        optimizer=OPTIMIZERS[data.budget.optimizer].title,
        curve=curve,
        upstream_curve=start.curve,
    )
    return Trained(model, training)


def finish(cell: Cell, before: Trained) -> Trained:
    """What the strategy does at the very end, if anything. Raises `TypeError` if it gives no Donut."""
    strategy = cell.strategy
    if strategy.finish is None:
        return before
    set_seed(cell.seed)
    model = deepcopy(strategy.finish)(before.model)
    return replace(before, model=donut_of(model, f"the finish of strategy {strategy.name!r} returned"))
