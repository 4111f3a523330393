"""What the jobs of a run share, and in which order they come for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import Strategy
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.plugin.manager import load_plugins
from benchmark.running.cells import Cell
from benchmark.running.config import RunConfig
from benchmark.running.setup import set_up
from benchmark.scales import TINY
from benchmark.types import Dataset
from benchmark.zoo.store import open_zoo
from tests.folders.papers import bills, write_truths
from tests.running.bench import Bench


@pytest.fixture
def bench(datasets: dict[str, Dataset], tmp_path: Path) -> Bench:
    return Bench(open_zoo(TINY), datasets["synthdog-mini"], TINY, tmp_path)


def cell(strategy: Strategy, dataset: Dataset) -> Cell:
    return Cell(strategy.under("task"), dataset, TINY, "task", "quick", seed=0, limit=3)


def test_what_the_teachers_say_is_kept_for_two_data_sets(bench: Bench, datasets: dict[str, Dataset]) -> None:
    strategies = {name: entry.item for name, entry in load_plugins().strategies.items()}
    one, other = (bench.job(cell(strategies[n], datasets["receipts-mini"])) for n in ("distill", "prune-distill"))
    bills = replace(datasets["parcels-mini"], name="bills")
    parcels, third = (bench.job(cell(strategies["none"], of)) for of in (datasets["parcels-mini"], bills))
    data = bench.shared.training_data(one)
    said = data.taught("features")
    assert said is not None
    assert bench.shared.training_data(other).taught("features") is said
    assert bench.shared.training_data(parcels) is not data
    assert bench.shared.training_data(one).taught("features") is said
    bench.shared.teacher = lambda job: bench.zoo.load("teacher")  # type: ignore[method-assign]
    bench.shared.training_data(third)
    bench.shared.training_data(parcels)
    assert bench.shared.training_data(one).taught("features") is not said
    bench.shared.forget()
    assert not data._taught


def test_all_test_documents_of_a_folder_are_read_and_as_many_embedded_ones_as_the_scale_has(
    datasets: dict[str, Dataset], tmp_path: Path
) -> None:
    truth = {"total": "1"}
    folder = write_truths(tmp_path / "bills", {"train": [truth], "validation": [truth], "test": [truth] * 5})
    few = replace(TINY, test_documents=3)
    bench = Bench(open_zoo(few), datasets["synthdog-mini"], few, tmp_path / "out")
    teacher = load_plugins().strategies["teacher"].item.under("task")

    def read(dataset: Dataset, limit: int | None) -> int:
        return len(bench.shared.test(bench.job(Cell(teacher, dataset, few, "task", "quick", seed=0, limit=limit))))

    assert [read(bills(folder), limit) for limit in (None, 4, 9)] == [5, 4, 5]
    assert read(datasets["receipts-mini"], None) == 3


def test_a_run_goes_seed_by_seed_and_data_set_by_data_set_reading_first(tmp_path: Path) -> None:
    datasets = ("parcels-mini", "receipts-mini", "synthdog-mini")
    config = RunConfig(("teacher", "prune"), datasets, seeds=(1, 0), output=tmp_path)
    order = [job.name.split("__") for job in set_up(config).jobs]
    assert [(name[-1], name[1], name[0]) for name in order] == [
        (seed, dataset, strategy)
        for seed in ("seed1", "seed0")
        for dataset in ("synthdog-mini", "parcels-mini", "receipts-mini")
        for strategy in ("teacher", "prune")
    ]


def test_only_embedded_pages_are_rendered_side_by_side(
    bench: Bench, datasets: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def encoding(documents: Any, processor: Any, longest: int, jobs: int = 1) -> EncodedDocuments:
        asked.append(jobs)
        return encode_documents(documents, processor, longest, jobs)

    monkeypatch.setattr("benchmark.running.shared.encode_documents", encoding)
    monkeypatch.setattr("benchmark.running.shared._A_WORKER", 3)
    bench.shared.workers = 2
    teacher = load_plugins().strategies["teacher"].item
    bills = replace(datasets["receipts-mini"], name="bills", embedded=False)
    for dataset in (datasets["receipts-mini"], bills):
        bench.shared.test(bench.job(cell(teacher, dataset)))
    assert asked == [2, 1]
