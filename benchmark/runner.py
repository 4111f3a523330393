"""Runs cells: start -> train -> checkpoint -> predict -> score and measure -> record."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmark.cells import Cell, describe, with_options
from benchmark.devices import environment, find_device
from benchmark.errors import OutputError
from benchmark.plugin_manager import load_plugins
from benchmark.results import (
    Record,
    predictions_path,
    read_record,
    record_path,
    write_predictions,
    write_record,
)
from benchmark.scales import SCALES
from benchmark.workshop import Made, Workshop
from benchmark.zoo import open_zoo


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
    console = Console(stderr=True)
    registry = load_plugins(config.plugins)
    scale = SCALES[config.scale]
    strategies = with_options((registry.strategies[name].item for name in config.strategies), config.options)
    datasets = [registry.datasets[name].item for name in config.datasets]
    zoo = open_zoo(scale)
    workshop = Workshop(
        zoo=zoo,
        upstream=registry.datasets[zoo.upstream].item,
        scale=scale,
        budget=config.budget,
        output=config.output,
        device=find_device(config.device),
        limit=config.limit,
    )
    cells = [
        Cell(strategy, dataset, scale, config.budget, seed)
        for seed in config.seeds
        for strategy in strategies
        for dataset in sorted(datasets, key=lambda d: d.task != "reading")
    ]
    records = []
    for number, cell in enumerate(cells, start=1):
        records.append(_run_cell(cell, workshop, config, console, f"{number}/{len(cells)}"))
    return records


def _run_cell(cell: Cell, workshop: Workshop, config: RunConfig, console: Console, place: str) -> Record:
    key = workshop.key(cell)
    finished = _finished(config.output, cell, key)
    if finished is not None:
        console.print(f"[{place}] {cell.title}: already finished", markup=False, highlight=False)
        return finished
    began = time.perf_counter()
    try:
        made = workshop.make(cell)
        record = _record(cell, key, workshop, made, time.perf_counter() - began)
        write_predictions(predictions_path(config.output, cell.name), made.predictions)
    except (KeyboardInterrupt, OutputError):
        raise
    except BaseException as error:  # a plugin may raise anything, even SystemExit: it costs its own cell only
        record = _failure(cell, key, workshop, error, time.perf_counter() - began)
    write_record(config.output, record)
    score = f"N-TED {record.metrics.ted:.3f}" if record.metrics else f"failed: {record.error}"
    console.print(f"[{place}] {cell.title}: {score}, {record.seconds_total:.0f} s", markup=False, highlight=False)
    return record


def _finished(output: Path, cell: Cell, key: str) -> Record | None:
    path = record_path(output, cell.name)
    if not path.is_file():
        return None
    record = read_record(path)
    return record if record.status == "ok" and record.key == key else None


def _common(cell: Cell, key: str, workshop: Workshop) -> dict[str, object]:
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
        "start": describe(strategy.start),
        "objective": describe(strategy.objective) if strategy.objective else None,
        "constraint": describe(strategy.constraint) if strategy.constraint else None,
        "environment": environment(workshop.device),
        "key": key,
    }


def _record(cell: Cell, key: str, workshop: Workshop, made: Made, seconds: float) -> Record:
    return Record.model_validate(
        {
            **_common(cell, key, workshop),
            "status": "ok",
            "start_hash": made.training.start_hash,
            "steps": made.training.steps,
            "documents": made.training.documents,
            "test_documents": len(made.predictions),
            "seconds_train": made.training.seconds,
            "seconds_total": seconds,
            "metrics": made.metrics,
            "efficiency": made.efficiency,
            "curve": made.training.curve,
            "upstream_curve": made.training.upstream_curve,
        }
    )


def _failure(cell: Cell, key: str, workshop: Workshop, error: BaseException, seconds: float) -> Record:
    message = " ".join(str(error).split()) or "no message"
    return Record.model_validate(
        {
            **_common(cell, key, workshop),
            "status": "failed",
            "error": f"{type(error).__name__}: {message}",
            "steps": 0,
            "documents": 0,
            "test_documents": 0,
            "seconds_train": 0.0,
            "seconds_total": seconds,
        }
    )
