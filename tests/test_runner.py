"""Runs on the shipped zoo: finished cells, failing strategies, strangers' plugins, full disks and Ctrl-C."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import UserError
from benchmark.cells import Cell, identity_of
from benchmark.measure import measure
from benchmark.measure.parameters import count_parameters
from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable
from benchmark.parts.starts import magnitude_pruned, sparsity_of
from benchmark.plugin_manager import load_plugins
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.results import Record, predictions_path, read_predictions, read_records, record_path
from benchmark.runner import RunConfig, run
from benchmark.scales import TINY
from benchmark.workshop import Made, Workshop
from benchmark.zoo import DatasetReferences, open_zoo

STRATEGIES = ("teacher", "prune", "prune-distill")
DATASETS = ("synthdog-mini", "receipts-mini")

MINE = '''
"""Heads left out by a plain function, then trained with a margin loss under a mask."""

import torch

from benchmark import FixedMask, Strategy, hookimpl


def half_rows(references, scale, seed):
    """Not a part of the benchmark: any function that makes a model."""
    model = references.load("teacher")
    with torch.no_grad():
        for layer in model.decoder.model.decoder.layers:
            layer.fc1.weight[::2] = 0
    return model


class Margin:
    teaching = "none"

    def __call__(self, student, teacher, labels):
        kept = labels != -100
        return torch.nn.functional.multi_margin_loss(student.logits[kept].float(), labels[kept])

    def __repr__(self):
        return "Margin()"


@hookimpl
def donutbench_register_strategies():
    yield Strategy("half-rows", "every other row", start=half_rows, objective=Margin(), constraint=FixedMask())
'''

FAILING = """
import sys
import torch
from benchmark import CrossEntropy, Strategy, hookimpl

def raises(references, scale, seed):
    raise RuntimeError("no luck\\nat all")

def exits(references, scale, seed):
    sys.exit("I quit")

def forgets(references, scale, seed):
    references.load("teacher")

def linear(references, scale, seed):
    return torch.nn.Linear(2, 2)

def blows_up(student, teacher, labels):
    raise ZeroDivisionError("in the loss")

blows_up.teaching = "none"

class Asks:
    def attach(self, model):
        return self
    def after_step(self):
        pass
    def check(self):
        raise RuntimeError("not what was asked for")

@hookimpl
def donutbench_register_strategies():
    for start in (raises, exits, forgets, linear):
        yield Strategy(start.__name__, "fails", start=start)
    teacher = lambda references, scale, seed: references.load("teacher")
    yield Strategy("explodes", "fails", start=teacher, objective=blows_up)
    yield Strategy("cheats", "fails", start=teacher, objective=CrossEntropy(), constraint=Asks())
"""
WHY = {
    "raises": "RuntimeError: no luck at all",
    "exits": "SystemExit: I quit",
    "forgets": "NoneType",
    "linear": "Linear",
    "explodes": "ZeroDivisionError: in the loss",
    "cheats": "RuntimeError: not what was asked for",
}

Plugin = Callable[[str], Path]


@pytest.fixture(autouse=True, scope="module")
def _quick_measurements() -> Iterator[None]:
    """Latency over one page: it is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.workshop.measure", partial(measure, repeats=1))
        yield


def config(output: Path, **changes: Any) -> RunConfig:
    """A cheap cell: four documents of one data set, nothing trained."""
    cheap = RunConfig(("teacher",), ("receipts-mini",), output=output, device="cpu", limit=4)
    return replace(cheap, **changes)


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    def write(text: str) -> Path:
        path = tmp_path / "plugin.py"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    # A weight that the zoo's prune-distill was not made with: this one has to learn upstream itself.
    options = {"weight": "1.5"}
    output = tmp_path_factory.mktemp("whole")
    return config(output, strategies=STRATEGIES, datasets=DATASETS, limit=24, options=options)


@pytest.fixture(scope="module")
def finished(whole: RunConfig, _quick_measurements: None) -> dict[tuple[str, str], Record]:
    """The records of a run of six cells, by strategy and data set."""
    return {(record.strategy, record.dataset): record for record in run(whole)}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def gone(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight == 0 for name, weight in prunable(model).items()}


def _zeros(model: torch.nn.Module) -> int:
    return sum(int(zeros.sum()) for zeros in gone(model).values())


def checkpoint_of(run_config: RunConfig, record: Record) -> Path:
    return run_config.output / "checkpoints" / record.cell


class Watch:
    """Writes down which cells are really made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[str] = []
        make = Workshop.make

        def watched(workshop: Workshop, cell: Cell) -> Made:
            self.made.append(cell.strategy.name)
            return make(workshop, cell)

        monkeypatch.setattr(Workshop, "make", watched)


class TestFinished:
    def test_every_cell_is_ok(self, finished: dict[tuple[str, str], Record]) -> None:
        assert set(finished) == {(strategy, dataset) for strategy in STRATEGIES for dataset in DATASETS}
        for record in finished.values():
            assert (record.status, record.error) == ("ok", None)
            assert record.metrics is not None
            assert record.efficiency is not None
            assert record.test_documents == 24
            assert record.metrics.f1 is not None
            assert record.efficiency.latency_ms_p50 is not None
            assert 0 < record.efficiency.latency_ms_p50 <= (record.efficiency.latency_ms_p95 or 0)
            assert record.environment["device"]

    def test_the_records_lie_in_the_output(self, whole: RunConfig, finished: dict[tuple[str, str], Record]) -> None:
        assert sorted(read_records(whole.output), key=repr) == sorted(finished.values(), key=repr)
        leftovers = [name for name in files(whole.output) if ".tmp" in name or ".part" in name]
        assert leftovers == []

    def test_the_scores_are_those_of_the_predictions(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record]
    ) -> None:
        for record in finished.values():
            lines = read_predictions(predictions_path(whole.output, record.cell))
            assert len({line.id for line in lines}) == 24
            assert record.metrics is not None
            assert record.metrics.ted == pytest.approx(sum(line.ted for line in lines) / 24)
            assert {line.id.split("-")[0] for line in lines} == {"test"}

    def test_the_teacher_is_the_zoos_and_like_itself(self, finished: dict[tuple[str, str], Record]) -> None:
        zoo = open_zoo(TINY)
        for dataset in DATASETS:
            record = finished["teacher", dataset]
            place = zoo.task_teacher(dataset)
            assert place is not None
            assert record.start_hash == fingerprint(load_model(place))
            assert (record.steps, record.documents, record.curve, record.reference) == (0, 0, [], True)
            assert record.metrics is not None
            assert record.metrics.cka == pytest.approx(1.0)
            assert record.metrics.cka_debiased == pytest.approx(1.0)

    def test_every_pruned_row_keeps_the_papers_share(self, finished: dict[tuple[str, str], Record]) -> None:
        for (strategy, _), record in finished.items():
            assert record.efficiency is not None
            if strategy != "teacher":
                assert record.efficiency.density == pytest.approx(37 / 141, abs=1e-3)
                assert record.efficiency.size_packed_bytes < 0.6 * record.efficiency.size_dense_bytes
            else:
                assert record.efficiency.density > 0.99

    def test_upstream_comes_before_the_task(self, finished: dict[tuple[str, str], Record]) -> None:
        upstream, task = (finished["prune-distill", dataset] for dataset in DATASETS)
        assert (upstream.steps, upstream.documents) == (3, 24)
        assert (task.steps, task.documents) == (6, 48)
        assert task.start_hash == upstream.start_hash == finished["prune", "synthdog-mini"].start_hash
        assert task.upstream_curve == upstream.curve
        assert [step for step, _ in task.curve] == [1, 2, 3]
        assert upstream.upstream_curve == []
        assert "prune-distill" not in {finished["prune", dataset].start_hash for dataset in DATASETS}
        assert finished["prune", "receipts-mini"].start_hash != upstream.start_hash

    def test_the_nonzeros_are_those_of_the_saved_model(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record]
    ) -> None:
        for record in finished.values():
            counts = count_parameters(load_model(checkpoint_of(whole, record)))
            assert record.efficiency is not None
            assert counts.nonzero == record.efficiency.params_nonzero
            assert counts.nonembedding == record.efficiency.params_nonembedding

    def test_training_kept_the_mask_and_changed_the_rest(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record]
    ) -> None:
        zoo = open_zoo(TINY)
        references = DatasetReferences(zoo, zoo.folder / "teacher", 0)
        start = magnitude_pruned()(references, TINY, 0)
        removed = sum(int(zeros.sum()) for zeros in gone(start).values())
        assert removed == round(sparsity_of("paper-table") * count_parameters(start).nonembedding)
        for dataset in DATASETS:
            trained = load_model(checkpoint_of(whole, finished["prune-distill", dataset]))
            for name, zeros in gone(start).items():
                assert torch.equal(gone(trained)[name] | zeros, gone(trained)[name])
            # A layer of which next to nothing is left may get no gradient.
            same = [name for name, weight in prunable(start).items() if torch.equal(prunable(trained)[name], weight)]
            assert len(same) < 0.2 * len(prunable(start))

    def test_a_second_run_runs_nothing(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch, before = Watch(monkeypatch), files(whole.output)
        assert {(r.strategy, r.dataset): r for r in run(whole)} == finished
        assert watch.made == []
        assert files(whole.output) == before

    def test_another_limit_is_another_run(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def make(workshop: Workshop, cell: Cell) -> Made:
            assert finished[cell.strategy.name, cell.dataset.name].key != workshop.key(cell)
            raise KeyboardInterrupt

        monkeypatch.setattr(Workshop, "make", make)
        with pytest.raises(KeyboardInterrupt):
            run(replace(whole, limit=23))

    def test_an_interrupted_run_goes_on_and_gets_the_same_numbers(
        self,
        whole: RunConfig,
        finished: dict[tuple[str, str], Record],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Ctrl-C passes; what was trained before it is kept, not trained again."""
        again = replace(
            whole, output=tmp_path / "out", strategies=("teacher", "prune-distill"), datasets=("receipts-mini",)
        )
        unfinished = shutil.ignore_patterns("prune-distill__*")
        shutil.copytree(whole.output, again.output, ignore=unfinished)

        def interrupted(*_: object) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("benchmark.workshop.measure", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(again)
        assert not any("prune-distill" in record.cell for record in read_records(again.output))
        watch = Watch(monkeypatch)
        monkeypatch.setattr("benchmark.workshop.train_strategy", lambda *_: pytest.fail("trained again"))
        _, record = run(again)
        assert watch.made == ["prune-distill"]
        one = finished["prune-distill", "receipts-mini"]
        assert (record.status, record.key, record.curve) == ("ok", one.key, one.curve)
        assert (record.metrics, record.steps, record.start_hash) == (one.metrics, one.steps, one.start_hash)
        lines = [read_predictions(predictions_path(r.output, one.cell)) for r in (whole, again)]
        assert lines[0] == lines[1]


class TestUpstreamOfTheZoo:
    """The zoo's upstream models are where a task begins, for the very strategy that they were made with."""

    def test_a_task_begins_there(self, tmp_path: Path) -> None:
        read, task = run(config(tmp_path, strategies=("distill",), datasets=DATASETS, limit=8))
        recipe = json.loads((open_zoo(TINY).folder / "upstream" / "distill" / "recipe.json").read_text())
        assert (read.steps, read.documents) == (recipe["steps"], recipe["documents"])
        assert (task.steps, task.documents) == (recipe["steps"] + 1, recipe["documents"] + 8)
        assert read.start_hash == task.start_hash == recipe["start_hash"]
        assert read.curve == task.upstream_curve == [tuple(point) for point in recipe["curve"]]
        model = load_model(open_zoo(TINY).folder / "upstream" / "distill")
        assert fingerprint(load_model(checkpoint_of(config(tmp_path), read))) == fingerprint(model)

    def test_it_was_made_from_what_the_zoo_holds(self) -> None:
        zoo = open_zoo(TINY)
        for name, entry in load_plugins().strategies.items():
            if (zoo.folder / "upstream" / name).is_dir():
                found = zoo.upstream_model(name, identity_of(entry.item))
                assert found is not None, f"{name} has changed since its upstream model was made"
                model, recipe = found
                start = entry.item.start(DatasetReferences(zoo, zoo.folder / "teacher", 0), TINY, 0)
                assert isinstance(start, Donut)
                assert recipe["start_hash"] == fingerprint(start)
                assert _zeros(model) >= _zeros(start)

    def test_the_corpus_of_none_is_the_smaller_one(self, tmp_path: Path) -> None:
        (record,) = run(config(tmp_path, strategies=("none",), datasets=("synthdog-mini",)))
        assert (record.status, record.steps) == ("ok", 0)
        assert record.start_hash == fingerprint(open_zoo(TINY).load("none"))


class TestPlugins:
    def test_a_file_of_thirty_lines_gets_its_own_row(
        self, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert len(MINE.strip().splitlines()) <= 34
        mine = config(tmp_path / "out", strategies=("half-rows",), datasets=("synthdog-mini",), plugins=(plugin(MINE),))
        (record,) = run(mine)
        assert (record.status, record.error) == ("ok", None)
        assert (record.start, record.constraint, record.steps) == ("half_rows", "fixed mask", 1)
        trained = load_model(checkpoint_of(mine, record))
        for layer in trained.decoder.model.decoder.layers:
            assert (layer.fc1.weight[::2] == 0).all()
            assert (layer.fc1.weight[1::2] != 0).any()
        assert "half-rows" in leaderboard_markdown(read_records(mine.output))
        watch = Watch(monkeypatch)
        assert run(mine) == [record]
        assert watch.made == []

    def test_a_strategy_that_fails_costs_its_own_cell_only(
        self, plugin: Plugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plugins = (plugin(FAILING),)
        failing = config(tmp_path / "out", strategies=(*WHY, "teacher"), datasets=("synthdog-mini",), plugins=plugins)
        *failed, teacher = run(failing)
        assert (teacher.strategy, teacher.status) == ("teacher", "ok")
        for record in failed:
            assert record.status == "failed"
            assert record.error is not None
            assert WHY[record.strategy] in record.error
            assert "\n" not in record.error
            assert (record.metrics, record.efficiency) == (None, None)
        assert [record.strategy for record in failed] == list(WHY)
        on_disk = {record.strategy: record for record in read_records(failing.output)}
        assert on_disk == {record.strategy: record for record in (*failed, teacher)}
        watch = Watch(monkeypatch)
        run(replace(failing, strategies=("forgets", "raises", "teacher")))
        assert watch.made == ["forgets", "raises"], "what failed is tried again, what is finished is not"

    def test_data_of_a_stranger_get_their_own_teacher(self, plugin: Plugin, tmp_path: Path) -> None:
        text = """
from benchmark import Dataset, hookimpl
from donutbench_datasets import receipts_mini

@hookimpl
def donutbench_register_datasets():
    (receipts,) = receipts_mini.donutbench_register_datasets()
    def bills(scale, split, seed, count):
        return [d for d in receipts.open(scale, split, seed + 7, min(count or 9, 9))]
    yield Dataset("bills", "other receipts", "extraction", receipts.keys, bills)
"""
        (teacher,) = run(config(tmp_path / "out", datasets=("bills",), plugins=(plugin(text),)))
        assert (teacher.status, teacher.error) == ("ok", None)
        upstream = fingerprint(open_zoo(TINY).load("teacher"))
        assert teacher.start_hash not in (None, upstream)
        assert teacher.metrics is not None
        assert teacher.metrics.cka == pytest.approx(1.0)

    def test_a_split_without_documents_is_told(self, plugin: Plugin, tmp_path: Path) -> None:
        text = """
from benchmark import Dataset, hookimpl

@hookimpl
def donutbench_register_datasets():
    yield Dataset("empty", "nothing", "extraction", ("total",), lambda scale, split, seed, count: [])
"""
        (record,) = run(config(tmp_path / "out", datasets=("empty",), plugins=(plugin(text),)))
        assert record.status == "failed"
        assert "data set empty has no" in (record.error or "")


class TestOptions:
    def test_they_change_the_model_and_two_documents_are_enough(
        self, finished: dict[tuple[str, str], Record], tmp_path: Path
    ) -> None:
        (record,) = run(config(tmp_path, strategies=("prune",), options={"target": "half"}, limit=2))
        assert (record.status, record.error) == ("ok", None)
        assert record.test_documents == 2
        assert record.metrics is not None
        assert record.metrics.cka is None
        assert record.efficiency is not None
        assert record.efficiency.density == pytest.approx(0.5, abs=1e-3)
        assert "50" in record.start

    def test_an_unknown_option_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="unknown option 'targt': did you mean target"):
            run(config(tmp_path / "out", strategies=("prune",), options={"targt": "half"}))
        assert not (tmp_path / "out").exists()


class TestOutput:
    """A folder that takes nothing: one line that names it, and no half of a record."""

    def refused(self, run_config: RunConfig) -> None:
        with pytest.raises(UserError) as caught:
            run(run_config)
        assert str(run_config.output) in str(caught.value)
        assert "\n" not in str(caught.value)
        results = run_config.output / "results"
        assert not results.is_dir() or list(results.iterdir()) == []

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        self.refused(config(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_disk_that_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "replace", full)
        self.refused(config(tmp_path / "out"))

    def test_a_disk_with_room_for_records_but_not_for_weights(
        self, tmp_path: Path, small_files: Callable[[int], None]
    ) -> None:
        small_files(500_000)
        self.refused(config(tmp_path / "out"))
        assert [path for path in (tmp_path / "out").rglob("*") if ".part" in path.name] == []

    def test_a_broken_record_is_named(self, tmp_path: Path) -> None:
        path = record_path(tmp_path, "teacher__receipts-mini__tiny__quick__seed0")
        path.parent.mkdir()
        path.write_text("{")
        with pytest.raises(UserError, match=r"receipts-mini__tiny__quick__seed0\.json: not a record"):
            run(config(tmp_path))

    def test_a_broken_checkpoint_is_made_again(
        self, whole: RunConfig, finished: dict[tuple[str, str], Record], tmp_path: Path
    ) -> None:
        one = finished["prune", "receipts-mini"]
        place = checkpoint_of(replace(whole, output=tmp_path), one)
        shutil.copytree(checkpoint_of(whole, one), place)
        weights = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        prune = replace(whole, strategies=("prune",), datasets=("receipts-mini",), output=tmp_path, options={})
        (again,) = run(prune)
        assert (again.status, again.error) == ("ok", None)
        assert again.metrics == one.metrics
