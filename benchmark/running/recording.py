"""The record of a cell: what it was, how it was made and what it gave."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version

from benchmark.devices import environment
from benchmark.records.record import Metrics, Prediction, Record
from benchmark.running.cells import describe, versions_of
from benchmark.running.plan import Job
from benchmark.running.setup import Run
from benchmark.running.trained import Training


def finished_record(
    job: Job,
    setup: Run,
    model_hash: str,
    training: Training,
    teacher_documents: int | None,
    metrics: Metrics,
    predictions: Sequence[Prediction],
    shifted: tuple[Metrics, Sequence[Prediction]] | None,
    seconds: float,
) -> Record:
    """The record of a cell that is scored, on the `shifted` split too if it has one; its costs are not measured yet."""
    return Record.model_validate(
        {
            **_common(job, setup),
            "status": "ok",
            "start_hash": training.start_hash,
            "calibration_hash": training.calibration_hash,
            "model_hash": model_hash,
            "optimizer": training.optimizer,
            "learning_rate": training.learning_rate,
            "start_documents": training.start_documents,
            "teacher_documents": teacher_documents,
            "steps": training.steps,
            "documents": training.documents,
            "test_documents": len(predictions),
            "seconds_train": training.seconds,
            "seconds_total": seconds,
            "metrics": metrics,
            "shifted": shifted and shifted[0],
            "shifted_documents": len(shifted[1]) if shifted else 0,
            "curve": training.curve,
            "upstream_curve": training.upstream_curve,
        }
    )


def failed_record(job: Job, setup: Run, error: str, seconds: float) -> Record:
    """The record of a cell that came to no end, with the reason in one line."""
    return Record.model_validate(
        {
            **_common(job, setup),
            "status": "failed",
            "error": error,
            "steps": 0,
            "documents": 0,
            "test_documents": 0,
            "seconds_train": 0.0,
            "seconds_total": seconds,
        }
    )


def _common(job: Job, setup: Run) -> dict[str, object]:
    cell, route = job.cell, job.route
    strategy, dataset = cell.strategy, cell.dataset
    return {
        "strategy": strategy.name,
        "summary": strategy.summary,
        "paper": strategy.paper,
        "paper_name": strategy.paper_name,
        "reference": strategy.reference,
        "dataset": dataset.name,
        "stands_for": dataset.stands_for,
        "task": dataset.task,
        "scale": cell.scale.name,
        "teacher": setup.zoo.given,
        "teacher_changes": setup.config.changes.values,
        "protocol": cell.protocol,
        "seed": cell.seed,
        "seed_changes": list(route.seed_changes),
        "seed_keeps": list(route.seed_keeps),
        "budget": cell.budget,
        "options": dict(cell.options),
        "limit": cell.limit,
        "device": cell.device,
        "package": f"donutbench {version('donutbench')}",
        "source": setup.registry.strategies[strategy.name].source,
        "dataset_source": setup.registry.datasets[dataset.name].source,
        "dataset_notes": list(dataset.notes),
        "dataset_options": dict(dataset.options),
        "start": describe(strategy.start),
        "objective": describe(strategy.objective) if strategy.objective is not None else None,
        "constraint": describe(strategy.constraint) if strategy.constraint is not None else None,
        "finish": describe(strategy.finish) if strategy.finish is not None else None,
        # Upstream all learn at the budget's own.
        "rate": strategy.rate if strategy.objective is not None and dataset.name != cell.scale.reading else None,
        "environment": environment(setup.device) | versions_of(cell.strategy),
        "key": job.key,
    }
