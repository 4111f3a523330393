"""Records like those of a real tiny run: nine strategies on three data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.records.files import write_record
from benchmark.records.record import Efficiency, Metrics, Record

# strategy: (the paper's name, score on reading, non-embedding weights, nonzero, embedding weights, start)
STRATEGIES: dict[str, tuple[str | None, float, int, int, int, str]] = {
    "teacher": ("DONUT-base-11M", 0.912, 1_012_000, 1_012_000, 61_000, "the zoo's teacher"),
    "none": ("DONUT-base-0.5M", 0.871, 1_012_000, 1_012_000, 61_000, "random weights"),
    "small": ("DONUT-small", 0.644, 263_000, 263_000, 41_000, "random weights, small"),
    "distill": ("DONUT-small-distilled", 0.733, 263_000, 263_000, 41_000, "random weights, small"),
    "prune": ("DONUT-base-pruned", 0.041, 1_012_000, 265_144, 61_000, "teacher, 73.8 % pruned"),
    "prune-distill": ("DONUT-hole", 0.884, 1_012_000, 265_144, 61_000, "teacher, 73.8 % pruned"),
    "prune-finetune": (None, 0.861, 1_012_000, 265_144, 61_000, "teacher, 73.8 % pruned"),
    "random-prune": (None, 0.512, 1_012_000, 265_144, 61_000, "teacher, 73.8 % pruned at random"),
    "dense-finetune": (None, 0.915, 1_012_000, 1_012_000, 61_000, "the zoo's teacher"),
}
DATASETS = {"synthdog-mini": "SynthDog-EN", "receipts-mini": "CORD-v2", "parcels-mini": "Parcel Reader"}
UNTRAINED = ("teacher", "prune")
READ_BEFORE = {"random weights": 0, "random weights, small": 0}
"""Documents that a start has been trained on, if not those of the teacher."""


def _make_record(strategy: str, dataset: str, seed: int = 0, **changes: object) -> Record:
    """A measured cell. Scores fall by 0.1 off the reading set; where something is trained they rise by 0.01 a seed."""
    name, ted, weights, nonzero, embedding, start = STRATEGIES[strategy]
    reading = dataset == "synthdog-mini"
    trained = strategy not in UNTRAINED
    ted = max(0.0, ted - (0.0 if reading else 0.1)) + (0.01 * seed if trained else 0.0)
    values: dict[str, object] = {
        "strategy": strategy,
        "paper_name": name,
        "reference": strategy == "teacher",
        "dataset": dataset,
        "stands_for": DATASETS[dataset],
        "task": "reading" if reading else "extraction",
        "scale": "tiny",
        "protocol": "paper",
        "seed": seed,
        "budget": "quick",
        "status": "ok",
        "start": start,
        "start_hash": "0f3a",
        "model_hash": f"{strategy} {dataset} {seed if trained else ''}",
        "objective": ("logit distillation, T=2" if "distill" in strategy else "cross-entropy") if trained else None,
        "constraint": "fixed mask" if nonzero < weights and trained else None,
        "optimizer": "Muon (weight decay 0.1) + Adam" if trained else None,
        "rate": 0.5 if trained else None,
        "learning_rate": 0.0015 if trained else None,
        "package": "donutbench 0.1.0",
        "source": "donutbench 0.1.0",
        "dataset_source": "donutbench 0.1.0",
        "start_documents": READ_BEFORE.get(start, 48_000),
        "steps": 200 if trained else 0,
        "documents": 3200 if trained else 0,
        "test_documents": 100,
        "seconds_train": 61.5 if trained else 0.0,
        "seconds_total": 75.25,
        "metrics": Metrics(
            ted=ted,
            f1=ted / 2,
            ted_cannot_read=0.0375,
            cka=1.0 if strategy == "teacher" else 0.9,
            cka_index_matched=1.0 if strategy == "teacher" else 0.91,
            cka_blocks=1.0 if strategy == "teacher" else 0.92,
            cka_debiased=1.0 if strategy == "teacher" else -0.0002,
            cka_null_floor=0.391,
            cka_self_ceiling=1.0 if strategy == "teacher" else 0.97,
            cka_documents=64,
            layerwise=[[1.0, 0.5], [0.5, 1.0]],
            layerwise_debiased=[[1.0, -0.01], [-0.01, 1.0]],
            layers_student=["encoder.0", "decoder.0"],
            layers_teacher=["encoder.0", "decoder.0"],
        ),
        "efficiency": Efficiency(
            params_total=weights + embedding,
            params_embedding=embedding,
            params_nonembedding=weights,
            params_nonzero=nonzero,
            density=nonzero / weights,
            macs=41_250_000,
            size_dense_bytes=4 * (weights + embedding),
            size_packed_bytes=4 * (nonzero + embedding) + weights // 8,
            latency_ms_p50=51.25 + seed,
            latency_ms_p95=60.5,
            latency_ratio=0.544 if weights < 1_000_000 else 1.0,
            latency_ratio_low=0.531 if weights < 1_000_000 else 0.992,
            latency_ratio_high=0.552 if weights < 1_000_000 else 1.008,
            latency_control=1.001,
            latency_control_low=0.99,
            latency_control_high=1.012,
            latency_rounds=30,
            computation=f"{weights} weights",
            peak_memory_bytes=310_000_000,
        ),
        "curve": [(step, ted * step / 200) for step in (50, 100, 150, 200)] if trained else [],
        "environment": {"cpu": "two cores", "python": "3.11.7", "torch": "2.13.0", "threads": 1},
        "key": "k1",
    }
    return Record.model_validate({**values, **changes})


def _failed(record: Record, error: str) -> Record:
    """The same cell, had it failed."""
    gone: dict[str, object] = {
        "status": "failed",
        "error": error,
        "metrics": None,
        "efficiency": None,
        "curve": [],
    }
    return Record.model_validate({**record.model_dump(), **gone})


@pytest.fixture
def make_record() -> Callable[..., Record]:
    return _make_record


@pytest.fixture
def failed() -> Callable[[Record, str], Record]:
    return _failed


@pytest.fixture
def as_task() -> Callable[[list[Record]], list[Record]]:
    """Records of tasks as the other protocol gives them, which has no reading set and trains on the task alone."""
    return lambda records: [
        record.model_copy(update={"protocol": "task", "documents": 1280 if record.documents else 0})
        for record in records
        if record.task == "extraction"
    ]


@pytest.fixture
def records() -> list[Record]:
    return [_make_record(strategy, dataset) for dataset in DATASETS for strategy in STRATEGIES]


@pytest.fixture
def seeded(records: list[Record]) -> list[Record]:
    """The same run with two seeds."""
    return [*records, *(_make_record(record.strategy, record.dataset, 1) for record in records)]


@pytest.fixture
def run_directory(tmp_path: Path, records: list[Record]) -> Path:
    for record in records:
        write_record(tmp_path, record)
    return tmp_path
