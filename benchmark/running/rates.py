"""Chooses how fast each strategy learns a task: the same training at several rates, judged on validation alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from benchmark.errors import UserError, error_line
from benchmark.records.lock import held
from benchmark.records.trials import Trial, read_trials, write_trials
from benchmark.running.cells import Cell, with_options
from benchmark.running.config import RunConfig
from benchmark.running.plan import Job, failed_need
from benchmark.running.setup import Run, set_up
from benchmark.running.shared import Shared, shared_by
from benchmark.running.stages import make_model


def try_rates(config: RunConfig, rates: Sequence[float]) -> list[Trial]:
    """Train every strategy that trains on every task at every rate, and record how it does on validation.

    The trials are kept in ``rates.json`` as they come, and what is finished is not trained again; older ones of the
    same strategies that something has changed since are dropped. The test split is never opened. Raises `UserError` if
    no strategy trains or no data set is a task, one of them cannot be used, or something else writes into the folder.
    """

    def at_rates(cells: list[Cell]) -> list[Cell]:
        return [at_rate(cell, rate) for cell in _tasks(cells) for rate in rates]

    setup = set_up(config, vary=at_rates)
    tried = [job for job in setup.jobs if job.scored]
    if not tried:
        raise UserError("no rate to choose: none of these strategies trains on a task")
    with held(config.output):
        return _try_all(setup, tried)


def _try_all(setup: Run, tried: Sequence[Job]) -> list[Trial]:
    output = setup.config.output
    kept = {_key(trial): trial for trial in read_trials(output) if not _stale(trial, tried, setup)}
    trials: list[Trial] = []
    failures: dict[str, str] = {}
    shared = shared_by(setup)
    for job in setup.jobs:
        if job.scored:
            trials.append(_try(job, setup, shared, failures, f"{len(trials) + 1}/{len(tried)}"))
            kept[_key(trials[-1])] = trials[-1]
            write_trials(output, [kept[key] for key in sorted(kept)])
        else:
            _train(job, shared, failures)
    return trials


def _tasks(cells: Iterable[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.strategy.objective is not None and cell.dataset.name != cell.scale.reading]


def _stale(trial: Trial, tried: Iterable[Job], setup: Run) -> bool:
    """Whether one of the strategies that are tried now would give another trial today."""
    cells = [at_rate(job.cell, trial.rate) for job in tried if job.cell.strategy.name == trial.strategy]
    return any(_key_of(cell) == _key(trial) and setup.planner.key(cell) != trial.key for cell in cells)


def at_rate(cell: Cell, rate: float) -> Cell:
    ((strategy, options),) = with_options([cell.strategy], {"rate": repr(rate)})
    return replace(cell, strategy=strategy, options=options)


TrialKey = tuple[str, str, str, int, str, str, int, float]


def _key(trial: Trial) -> TrialKey:
    setting = trial.scale, trial.protocol, trial.budget, trial.limit or 0
    return *setting, trial.strategy, trial.dataset, trial.seed, trial.rate


def _key_of(cell: Cell) -> TrialKey:
    strategy = cell.strategy
    setting = cell.scale.name, cell.protocol, cell.budget, cell.limit or 0
    return *setting, strategy.name, cell.dataset.name, cell.seed, strategy.rate


def _train(job: Job, shared: Shared, failures: dict[str, str]) -> tuple[int, float] | None:
    """The last step of a training and what validation said of it; None, and `failures` says why, if it has no end."""
    reason = failed_need(job, failures)
    if reason is not None:
        failures[job.name] = reason
        return None
    try:
        curve = make_model(job, shared).training.curve
    except FloatingPointError as error:  # too fast a rate ends in NaN: that is an answer
        failures[job.name] = str(error)
        return None
    except (KeyboardInterrupt, UserError, OSError):
        raise
    except BaseException as error:  # a plugin may raise anything; what was tried before it is kept
        raise UserError(f"{job.cell.title}: {error_line(error)}") from error
    return curve[-1] if curve else (0, 0.0)


def _try(job: Job, setup: Run, shared: Shared, failures: dict[str, str], position: str) -> Trial:
    cell, rate = job.cell, job.cell.strategy.rate
    steps, ted = _train(job, shared, failures) or (0, None)
    said = f"failed: {failures[job.name]}" if ted is None else f"validation N-TED {ted:.3f}"
    setup.say(f"[{position}] {cell.strategy.name} at {rate:g} on {cell.dataset.name}, seed {cell.seed}: {said}")
    return Trial(
        strategy=cell.strategy.name,
        dataset=cell.dataset.name,
        scale=cell.scale.name,
        protocol=cell.protocol,
        budget=cell.budget,
        seed=cell.seed,
        rate=rate,
        learning_rate=rate * cell.resources.learning_rate,
        steps=steps,
        limit=cell.limit,
        validation_documents=min(cell.scale.validation_documents, cell.limit or cell.scale.validation_documents),
        validation_ted=ted,
        key=job.key,
    )
