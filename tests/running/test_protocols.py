"""The ways of a model: what each protocol begins with and trains on, what has no place in it, and the plan of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import CrossEntropy, Strategy, UserError, reference
from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.donut import Donut
from benchmark.plugin.manager import load_plugins
from benchmark.running.cells import Cell
from benchmark.running.config import RunConfig
from benchmark.running.plan import Planner, needed
from benchmark.running.protocols import select
from benchmark.running.setup import set_up
from benchmark.scales import TINY
from benchmark.training.compress import TrainingData
from benchmark.types import Dataset, ProtocolName
from benchmark.zoo.store import open_zoo
from tests.running.bench import Bench

SMALL = replace(
    TINY,
    quick=replace(TINY.quick, task_documents=24, reading_documents=40),
    task_teacher=replace(TINY.task_teacher, task_documents=48),
    validation_documents=5,
    test_documents=4,
)
DENSE = Strategy("dense", "the teacher, trained on", reference("teacher"), CrossEntropy(), rate=0.5, task_rate=0.25)


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """What was trained on, and how fast, by a trainer that changes one weight."""
    done: list[tuple[str, float]] = []

    def train(model: Donut, strategy: Strategy, data: TrainingData, learning_rate: float, *_: Any) -> Any:
        done.append((data.dataset.name, learning_rate / data.budget.learning_rate))
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.bias[0] += 1
        return model, [(data.steps, 0.5)]

    monkeypatch.setattr("benchmark.running.stages.train_strategy", train)
    return done


@pytest.fixture
def bench(datasets: dict[str, Dataset], trained_on: list[tuple[str, float]], tmp_path: Path) -> Bench:
    return Bench(open_zoo(TINY), datasets["synthdog-mini"], SMALL, tmp_path)


def cell(strategy: Strategy, dataset: Dataset, protocol: ProtocolName, **changes: Any) -> Cell:
    return replace(Cell(strategy.under(protocol), dataset, SMALL, protocol, "quick", 0), **changes)


def built_in(name: str) -> Strategy:
    return load_plugins().strategies[name].item


class TestTask:
    def test_it_begins_with_the_tasks_teacher_and_trains_on_the_task_alone(
        self, bench: Bench, datasets: dict[str, Dataset], trained_on: list[tuple[str, float]]
    ) -> None:
        training = bench.trained(cell(DENSE, datasets["receipts-mini"], "task")).training
        assert trained_on == [("receipts-mini", 0.25)]
        assert training.start_hash == fingerprint(load_model(bench.zoo.folder / "receipts-mini" / "teacher"))
        assert (training.steps, training.documents, training.start_documents) == (8, 40 + 24, 54_400)
        assert training.upstream_curve == []

    @pytest.mark.parametrize("name", ["prune-distill", "mine"])
    def test_a_strangers_row_trains_on_what_a_built_in_one_does(
        self, name: str, bench: Bench, datasets: dict[str, Dataset]
    ) -> None:
        row = replace(built_in("prune-distill"), name=name)
        documents = {
            protocol: bench.trained(cell(row, datasets["receipts-mini"], protocol)).training.documents
            for protocol in ("task", "paper")
        }
        # A stranger's trains on as many under both: under `task` all of them are of the task.
        assert documents == {"task": 64, "paper": 24_000 + 24 if name == "prune-distill" else 64}

    @pytest.mark.long
    def test_data_to_read_gets_the_whole_budget_too(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        letters = replace(datasets["synthdog-mini"], name="letters")
        assert bench.trained(cell(DENSE, letters, "task")).training.documents == 64

    def test_what_trains_nothing_is_the_same_under_both(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        models = [
            bench.trained(cell(built_in("prune"), datasets["receipts-mini"], protocol)).model
            for protocol in ("paper", "task")
        ]
        assert fingerprint(models[0]) == fingerprint(models[1])

    def test_a_stranger_s_data_share_one_teacher_over_protocols(
        self, bench: Bench, datasets: dict[str, Dataset], trained_on: list[tuple[str, float]]
    ) -> None:
        bills = replace(datasets["receipts-mini"], name="bills")
        hashes = {bench.trained(cell(built_in("teacher"), bills, p)).training.start_hash for p in ("paper", "task")}
        assert len(hashes) == 1
        assert trained_on == [("bills", 1.0)]


class TestPaper:
    def test_it_begins_upstream(
        self, bench: Bench, datasets: dict[str, Dataset], trained_on: list[tuple[str, float]]
    ) -> None:
        training = bench.trained(cell(DENSE, datasets["receipts-mini"], "paper")).training
        assert trained_on == [("synthdog-mini", 1.0), ("receipts-mini", 0.5)]
        assert training.start_hash == fingerprint(load_model(bench.zoo.folder / "teacher"))
        assert (training.documents, training.start_documents) == (40 + 24, 48_000)


class TestSeeds:
    """What is said of a seed is what it does."""

    def test_a_quick_run_keeps_the_upstream_model_of_the_zoo(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        row = cell(built_in("small"), datasets["receipts-mini"], "paper", seed=1)
        route = bench.job(row).route
        assert route.seed_keeps == ("the upstream model, which is the zoo's one",)
        assert route.seed_changes == ("the training documents of receipts-mini and their order",)

    def test_a_full_run_of_another_seed_reads_other_documents_upstream(
        self, bench: Bench, datasets: dict[str, Dataset]
    ) -> None:
        row = cell(built_in("small"), datasets["receipts-mini"], "paper", seed=1, budget="full")
        route = bench.job(row).route
        assert route.seed_keeps == ()
        assert "the training documents of synthdog-mini and their order" in route.seed_changes

    def test_nor_is_that_of_seed_0_kept_by_other_seeds(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        rows = [
            cell(built_in("small"), datasets["receipts-mini"], "paper", seed=seed, budget="full") for seed in (0, 1)
        ]
        first, second = (bench.job(row).route for row in rows)
        assert (first.seed_changes, first.seed_keeps) == (second.seed_changes, second.seed_keeps)

    def test_under_task_there_is_no_upstream(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        route = bench.job(cell(built_in("random-prune"), datasets["receipts-mini"], "task", seed=1)).route
        assert (len(route.seed_changes), route.seed_keeps) == (2, ())


class TestPlace:
    def test_all_is_what_the_protocol_has_a_place_for(self) -> None:
        registry = load_plugins()
        strategies, of_task = select(registry, "task", "synthdog-mini", "all", "all")
        assert of_task == ("parcels-mini", "receipts-mini")
        assert strategies == tuple(registry.strategies)
        of_paper = tuple(n for n, entry in registry.strategies.items() if "paper" in entry.item.protocols)
        assert 10 < len(of_paper) < len(strategies)
        assert select(registry, "paper", "synthdog-mini", "all", "all") == (of_paper, (*of_task, "synthdog-mini"))

    def test_what_it_has_no_place_for_is_told(self) -> None:
        registry = load_plugins()
        only = replace(registry.strategies["prune"], item=replace(built_in("prune"), protocols=("task",)))
        registry.strategies["prune"] = only
        with pytest.raises(UserError, match=r"^data set synthdog-mini has no place in protocol task: it is what"):
            select(registry, "task", "synthdog-mini", "all", "synthdog-mini")
        with pytest.raises(UserError, match=r"^strategy prune has no place in protocol paper: it is defined for task$"):
            select(registry, "paper", "synthdog-mini", "teacher,prune", "all")
        assert "prune" not in select(registry, "paper", "synthdog-mini", "all", "all")[0]
        with pytest.raises(UserError, match="unknown strategy 'prun'"):
            select(registry, "paper", "synthdog-mini", "prun", "all")

    def test_the_python_api_refuses_it_too(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="has no place in protocol task"):
            set_up(RunConfig(("teacher",), ("synthdog-mini",), protocol="task", output=tmp_path))

    @pytest.mark.parametrize("protocols", [(), ("papers",)])
    def test_a_strategy_of_no_protocol_is_refused(self, protocols: Any) -> None:
        with pytest.raises(UserError, match="but there are paper and task"):
            replace(DENSE, protocols=protocols)

    def test_the_rate_of_a_protocol(self) -> None:
        assert (DENSE.under("paper").rate, DENSE.under("task").rate) == (0.5, 0.25)
        assert replace(DENSE, task_rate=None).under("task").rate == 0.5
        with pytest.raises(UserError, match="needs a rate above 0, not 0"):
            replace(DENSE, task_rate=0.0)


class TestPlan:
    def planner(self, bench: Bench) -> Planner:
        return Planner(bench.zoo, bench.reading)

    def test_what_is_needed_stands_before_and_once(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        bills = replace(datasets["receipts-mini"], name="bills")
        rows = [cell(replace(DENSE, name=name), bills, "paper") for name in ("one", "other")]
        jobs = self.planner(bench).plan(rows)
        assert [job.name.split("__")[:2] for job in jobs] == [
            ["one", "synthdog-mini"],
            ["task-teacher", "bills"],
            ["one", "bills"],
            ["other", "synthdog-mini"],
            ["other", "bills"],
        ]
        assert [job.scored for job in jobs] == [False, False, True, False, True]
        assert needed(jobs[2:3]) == {jobs[0].name, jobs[1].name}

    def test_an_upstream_model_that_is_a_row_too_is_one_job(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        rows = [cell(replace(DENSE, rate=1.0), datasets[name], "paper") for name in ("synthdog-mini", "receipts-mini")]
        upstream, task = self.planner(bench).plan(rows)
        assert (upstream.scored, task.begins) == (True, upstream)

    def test_a_key_has_those_of_what_is_needed(self, bench: Bench, datasets: dict[str, Dataset]) -> None:
        row = cell(DENSE, datasets["receipts-mini"], "paper")
        other = replace(bench.reading, version="2")
        assert Planner(bench.zoo, bench.reading).plan([row])[-1].key != Planner(bench.zoo, other).plan([row])[-1].key
