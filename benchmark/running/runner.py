"""Runs cells: start -> train -> checkpoint -> predict -> score and measure -> record."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from benchmark.devices import environment, find_device
from benchmark.errors import OutputError
from benchmark.plugin.manager import Registry, load_plugins
from benchmark.records.files import predictions_path, read_record, record_path, write_predictions, write_record
from benchmark.records.record import Record
from benchmark.running.cells import Cell, describe, with_options
from benchmark.running.workshop import Made, Workshop
from benchmark.scales import SCALES
from benchmark.zoo.store import open_zoo


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run, as the command line gives it."""

    strategies: tuple[str, ...]
    datasets: tuple[str, ...]
    scale: str = "tiny"
    budget: str = "quick"
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("reports/local")
    plugins: tuple[Path, ...] = ()
    device: str = "auto"
    limit: int | None = None
    options: dict[str, str] = field(default_factory=dict)


def run(config: RunConfig) -> list[Record]:
    """The records of all cells, run now or found finished. A cell that fails is recorded and the rest goes on."""
    job = prepare(config)
    for cell in job.cells:  # a part without an identity is told before anything runs
        job.workshop.key(cell)
    records = []
    for number, cell in enumerate(job.cells, start=1):
        records.append(_run_cell(cell, job, config, f"{number}/{len(job.cells)}"))
    return records


@dataclass(frozen=True, slots=True)
class Job:
    """The cells of a run, what makes them, and where their strategies and data sets come from."""

    cells: list[Cell]
    workshop: Workshop
    registry: Registry
    console: Console


def prepare(config: RunConfig) -> Job:
    """The cells of a run, reading before tasks. Raises `UserError` for an option or a device that does not exist."""
    registry = load_plugins(config.plugins)
    scale = SCALES[config.scale]
    device = find_device(config.device)
    strategies = with_options((registry.strategies[name].item for name in config.strategies), config.options)
    datasets = [registry.datasets[name].item for name in config.datasets]
    zoo = open_zoo(scale)
    # Read now: what is edited while a run goes on belongs to the next one.
    contents = {
        **{("strategy", name): registry.strategies[name].content for name in config.strategies},
        **{("dataset", name): registry.datasets[name].content for name in (*config.datasets, zoo.upstream)},
    }
    workshop = Workshop(
        zoo=zoo,
        upstream=registry.datasets[zoo.upstream].item,
        scale=scale,
        output=config.output,
        device=device,
        contents=contents,
    )
    cells = [
        Cell(strategy, dataset, scale, config.budget, seed, options, config.limit, device.type)
        for seed in config.seeds
        for strategy, options in strategies
        for dataset in sorted(datasets, key=lambda d: d.task != "reading")
    ]
    return Job(cells, workshop, registry, Console(stderr=True))


def _run_cell(cell: Cell, job: Job, config: RunConfig, place: str) -> Record:
    workshop, console = job.workshop, job.console
    key = workshop.key(cell)
    finished = _finished(config.output, cell, key)
    if finished is not None:
        console.print(f"[{place}] {cell.title}: already finished", markup=False, highlight=False, soft_wrap=True)
        return finished
    began = time.perf_counter()
    try:
        made = workshop.make(cell)
        record = _record(cell, key, job, made, time.perf_counter() - began)
        write_predictions(predictions_path(config.output, cell.name), made.predictions)
    except (KeyboardInterrupt, OutputError):
        raise
    except BaseException as error:  # a plugin may raise anything, even SystemExit: it costs its own cell only
        record = _failure(cell, key, job, error, time.perf_counter() - began)
    write_record(config.output, record)
    score = f"N-TED {record.metrics.ted:.3f}" if record.metrics else f"failed: {record.error}"
    console.print(
        f"[{place}] {cell.title}: {score}, {record.seconds_total:.0f} s", markup=False, highlight=False, soft_wrap=True
    )
    return record


def _finished(output: Path, cell: Cell, key: str) -> Record | None:
    path = record_path(output, cell.name)
    if not path.is_file():
        return None
    record = read_record(path)
    return record if record.status == "ok" and record.key == key else None


def _common(cell: Cell, key: str, job: Job) -> dict[str, object]:
    strategy, dataset = cell.strategy, cell.dataset
    return {
        "strategy": strategy.name,
        "paper_name": strategy.paper_name,
        "reference": strategy.reference,
        "dataset": dataset.name,
        "stands_for": dataset.stands_for,
        "task": dataset.task,
        "scale": cell.scale.name,
        "seed": cell.seed,
        "budget": cell.budget,
        "options": dict(cell.options),
        "limit": cell.limit,
        "device": cell.device,
        "package": f"donutbench {version('donutbench')}",
        "source": job.registry.strategies[strategy.name].source,
        "dataset_source": job.registry.datasets[dataset.name].source,
        "start": describe(strategy.start),
        "objective": describe(strategy.objective) if strategy.objective else None,
        "constraint": describe(strategy.constraint) if strategy.constraint else None,
        # Upstream all learn at the budget's own.
        "rate": strategy.rate if strategy.objective and dataset.name != job.workshop.upstream.name else None,
        "environment": environment(job.workshop.device),
        "key": key,
    }


def _record(cell: Cell, key: str, job: Job, made: Made, seconds: float) -> Record:
    training = made.training
    return Record.model_validate(
        {
            **_common(cell, key, job),
            "status": "ok",
            "start_hash": training.start_hash,
            "model_hash": made.model_hash,
            "optimizer": training.optimizer,
            "learning_rate": training.learning_rate,
            "start_documents": training.start_documents,
            "steps": training.steps,
            "documents": training.documents,
            "test_documents": len(made.predictions),
            "seconds_train": training.seconds,
            "seconds_total": seconds,
            "metrics": made.metrics,
            "efficiency": made.efficiency,
            "curve": training.curve,
            "upstream_curve": training.upstream_curve,
        }
    )


def _failure(cell: Cell, key: str, job: Job, error: BaseException, seconds: float) -> Record:
    message = " ".join(str(error).split()) or "no message"
    return Record.model_validate(
        {
            **_common(cell, key, job),
            "status": "failed",
            "error": f"{type(error).__name__}: {message}",
            "steps": 0,
            "documents": 0,
            "test_documents": 0,
            "seconds_train": 0.0,
            "seconds_total": seconds,
        }
    )
