"""What fails in a run, and what goes on: upstream models, task teachers, texts of plugins, folders of old versions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.models.donut import Donut
from benchmark.records.files import predictions_path, read_records, record_path
from benchmark.running.runner import run
from benchmark.training.compress import TrainingData
from benchmark.types import Strategy
from tests.running.runs import Watch, config

pytestmark = pytest.mark.long

PLUGIN = """
from benchmark import CrossEntropy, Dataset, Strategy, hookimpl, reference
from donutbench_datasets import receipts_mini

class Unspeakable:
    teaching = "none"
    def __call__(self, student, teacher, labels):
        return student.logits.sum()
    def __repr__(self):
        raise ZeroDivisionError("no words")

@hookimpl
def donutbench_register_strategies():
    yield Strategy("anew", "reads in the run", start=reference("teacher"), objective=CrossEntropy())
    yield Strategy("unspeakable", "its text raises", start=reference("teacher"), objective=Unspeakable())

@hookimpl
def donutbench_register_datasets():
    (receipts,) = receipts_mini.donutbench_register_datasets()
    yield Dataset("bills", "other receipts", "extraction", receipts.keys, receipts.open)
"""
Train = Callable[..., Any]


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Has training fail on one data set; the list of what was trained on grows."""

    def failing_on(broken: str) -> list[str]:
        done: list[str] = []

        def train(model: Donut, strategy: Strategy, data: TrainingData, *_: Any) -> Any:
            done.append(f"{strategy.name} on {data.dataset.name}")
            if data.dataset.name == broken:
                raise FloatingPointError("the loss of step 2 of 3 is nan")
            with torch.no_grad():
                model.decoder.model.decoder.layers[0].fc1.bias[0] += 1
            return model, [(data.steps, 0.5)]

        monkeypatch.setattr("benchmark.running.stages.train_strategy", train)
        return done

    return failing_on


def test_an_upstream_model_that_fails_is_tried_once_and_costs_what_begins_with_it(
    mine: Path, tmp_path: Path, trainer: Callable[[str], list[str]]
) -> None:
    done = trainer("synthdog-mini")
    tasks = ("receipts-mini", "parcels-mini")
    both = config(tmp_path / "out", strategies=("anew", "prune"), datasets=tasks, plugins=(mine,), limit=2)
    records = run(both)
    anew = [record for record in records if record.strategy == "anew"]
    assert done == ["anew on synthdog-mini"]
    assert [record.status for record in records] == ["failed", "ok", "failed", "ok"]
    why = "anew on synthdog-mini, seed 0, which it needs, failed: FloatingPointError: the loss of step 2 of 3 is nan"
    assert [record.status for record in anew] == ["failed", "failed"]
    assert {record.error for record in anew} == {f"RuntimeError: {why}"}
    trainer("nothing")
    assert [record.status for record in run(both)] == ["ok"] * 4, "and the next run tries again"


def test_a_task_teacher_that_fails_costs_the_cells_of_its_data_alone(
    mine: Path, tmp_path: Path, trainer: Callable[[str], list[str]]
) -> None:
    done = trainer("bills")
    records = run(
        config(tmp_path, strategies=("teacher", "prune"), datasets=("bills", "receipts-mini"), plugins=(mine,))
    )
    assert done == ["task-teacher on bills"]
    failed = [record for record in records if record.status == "failed"]
    assert {record.dataset for record in failed} == {"bills"}
    assert all("task-teacher on bills, seed 0, which it needs, failed" in (record.error or "") for record in failed)
    assert len(records) - len(failed) == 2


def test_what_was_killed_before_measuring_is_measured_without_its_teacher_s_checkpoint(
    mine: Path, tmp_path: Path, trainer: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer("nothing")
    bills = config(tmp_path, strategies=("prune",), datasets=("bills",), plugins=(mine,))
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.running.execution.measure_records", lambda jobs, records, shared: (records, {}))
        assert run(bills)[0].efficiency is None
    (teacher,) = (tmp_path / "checkpoints").glob("task-teacher__*")
    shutil.rmtree(teacher)
    watch = Watch(monkeypatch)
    (record,) = run(bills)
    assert (watch.made, record.status) == ([], "ok")
    assert record.efficiency is not None


def test_a_part_without_a_text_has_its_type(mine: Path, tmp_path: Path, trainer: Callable[[str], list[str]]) -> None:
    trainer("nothing")
    unspeakable, prune = run(config(tmp_path, strategies=("unspeakable", "prune"), plugins=(mine,), limit=2))
    assert (unspeakable.status, prune.status) == ("ok", "ok")
    assert unspeakable.objective == "Unspeakable"


def test_records_of_an_older_version_are_made_again_under_the_new_name(tmp_path: Path) -> None:
    teacher = config(tmp_path)
    (record,) = run(teacher)
    old = json.loads(record_path(tmp_path, record.cell).read_text())
    for name in ("protocol", "seed_changes", "seed_keeps"):
        del old[name]
    old |= {"schema_version": 2, "key": "of version 2", "efficiency": None}
    record_path(tmp_path, record.cell).unlink()
    record_path(tmp_path, record.old_cell).write_text(json.dumps(old))
    predictions_path(tmp_path, record.cell).rename(predictions_path(tmp_path, record.old_cell))
    (again,) = run(teacher)
    assert (again.key, again.metrics) == (record.key, record.metrics)
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {record.cell + end for end in (".json", ".predictions.jsonl", ".shifted.predictions.jsonl")}


def test_two_protocols_lie_in_one_folder(tmp_path: Path) -> None:
    paper = config(tmp_path, strategies=("teacher", "prune"))
    first = run(paper)
    second = run(replace(paper, protocol="task"))
    assert [record.protocol for record in (*first, *second)] == ["paper"] * 2 + ["task"] * 2
    assert [record.model_hash for record in first] == [record.model_hash for record in second]
    assert len(read_records(tmp_path)) == 4
    assert run(paper) == first
