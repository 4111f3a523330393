"""Chooses how fast each strategy learns a task: the same training at several rates, judged on validation alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from benchmark.cells import Cell
from benchmark.errors import OutputError, UserError
from benchmark.runner import Job, RunConfig, prepare
from benchmark.trials import Trial, read_trials, write_trials


def try_rates(config: RunConfig, rates: Sequence[float]) -> list[Trial]:
    """Train every strategy that trains on every task at every rate, and record how it does on validation.

    The trials are kept in ``rates.json`` as they come, and what is finished is not trained again. The test split is
    never opened. Raises `UserError` if no strategy trains or no data set is a task.
    """
    job = prepare(config)
    cells = [cell for rate in rates for cell in _cells(config, rate)]
    if not cells:
        raise UserError("no rate to choose: none of these strategies trains on a task")
    kept = {_place(trial): trial for trial in read_trials(config.output)}
    trials = []
    for number, cell in enumerate(cells, start=1):
        trials.append(_try(cell, job, f"{number}/{len(cells)}"))
        kept[_place(trials[-1])] = trials[-1]
        write_trials(config.output, [kept[place] for place in sorted(kept)])
    return trials


def _cells(config: RunConfig, rate: float) -> Iterator[Cell]:
    job = prepare(replace(config, options={**config.options, "rate": repr(rate)}))
    return (cell for cell in job.cells if cell.strategy.objective and cell.dataset.task == "extraction")


def _place(trial: Trial) -> tuple[str, str, int, str, str, int, float]:
    return trial.scale, trial.budget, trial.limit or 0, trial.strategy, trial.dataset, trial.seed, trial.rate


def _try(cell: Cell, job: Job, place: str) -> Trial:
    budget = cell.scale.budget(cell.budget)
    ted: float | None = None
    try:
        training = job.workshop.trained(cell).training
        ted, steps = training.curve[-1][1], training.curve[-1][0]
        said = f"validation N-TED {ted:.3f}"
    except (KeyboardInterrupt, OutputError):
        raise
    except Exception as error:  # too fast a rate ends in NaN: that is an answer
        steps, said = 0, f"failed: {error}"
    title = f"[{place}] {cell.strategy.name} at {cell.strategy.rate:g} on {cell.dataset.name}, seed {cell.seed}: {said}"
    job.console.print(title, markup=False, highlight=False)
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
