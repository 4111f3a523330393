"""Chooses how fast each strategy learns a task: the same training at several rates, judged on validation alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmark.errors import UserError
from benchmark.records.trials import Trial, read_trials, write_trials
from benchmark.running.cells import Cell, with_options
from benchmark.running.runner import Job, RunConfig, prepare


def try_rates(config: RunConfig, rates: Sequence[float]) -> list[Trial]:
    """Train every strategy that trains on every task at every rate, and record how it does on validation.

    The trials are kept in ``rates.json`` as they come, and what is finished is not trained again; older ones of the
    same strategies that something has changed since are dropped. The test split is never opened. Raises `UserError` if
    no strategy trains or no data set is a task, or one of them cannot be used.
    """
    job = prepare(config)
    tasks = [cell for cell in job.cells if cell.strategy.objective and cell.dataset.task == "extraction"]
    if not tasks:
        raise UserError("no rate to choose: none of these strategies trains on a task")
    cells = [at_rate(cell, rate) for rate in rates for cell in tasks]
    kept = {_place(trial): trial for trial in read_trials(config.output) if not _stale(trial, tasks, job)}
    trials = []
    for number, cell in enumerate(cells, start=1):
        trials.append(_try(cell, job, f"{number}/{len(cells)}"))
        kept[_place(trials[-1])] = trials[-1]
        write_trials(config.output, [kept[place] for place in sorted(kept)])
    return trials


def at_rate(cell: Cell, rate: float) -> Cell:
    ((strategy, options),) = with_options([cell.strategy], {"rate": repr(rate)})
    return replace(cell, strategy=strategy, options=options)


def _stale(trial: Trial, tasks: Sequence[Cell], job: Job) -> bool:
    """Whether one of these cells would give another trial today."""
    place = _place(trial)
    cells = (at_rate(cell, trial.rate) for cell in tasks if cell.strategy.name == trial.strategy)
    return any(_place_of(cell) == place and job.workshop.key(cell) != trial.key for cell in cells)


def _place(trial: Trial) -> tuple[str, str, int, str, str, int, float]:
    return trial.scale, trial.budget, trial.limit or 0, trial.strategy, trial.dataset, trial.seed, trial.rate


def _place_of(cell: Cell) -> tuple[str, str, int, str, str, int, float]:
    strategy = cell.strategy
    return cell.scale.name, cell.budget, cell.limit or 0, strategy.name, cell.dataset.name, cell.seed, strategy.rate


def _try(cell: Cell, job: Job, place: str) -> Trial:
    budget = cell.scale.budget(cell.budget)
    ted: float | None = None
    try:
        training = job.workshop.trained(cell).training
        ted, steps = training.curve[-1][1], training.curve[-1][0]
        said = f"validation N-TED {ted:.3f}"
    except FloatingPointError as error:  # too fast a rate ends in NaN: that is an answer
        steps, said = 0, f"failed: {error}"
    except (KeyboardInterrupt, UserError, OSError):
        raise
    except BaseException as error:  # a plugin may raise anything; what was tried before it is kept
        raise UserError(f"{cell.title}: {type(error).__name__}: {' '.join(str(error).split())}") from error
    title = f"[{place}] {cell.strategy.name} at {cell.strategy.rate:g} on {cell.dataset.name}, seed {cell.seed}: {said}"
    job.console.print(title, markup=False, highlight=False, soft_wrap=True)
    return Trial(
        strategy=cell.strategy.name,
        dataset=cell.dataset.name,
        scale=cell.scale.name,
        budget=cell.budget,
        seed=cell.seed,
        rate=cell.strategy.rate,
        learning_rate=cell.strategy.rate * budget.learning_rate,
        steps=steps,
        limit=cell.limit,
        validation_documents=min(cell.scale.validation_documents, cell.limit or cell.scale.validation_documents),
        validation_ted=ted,
        key=job.workshop.key(cell),
    )
