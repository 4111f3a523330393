"""Strangers' strategies and data sets in a run: their own rows, and failures that cost their own cell only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.records.files import read_records
from benchmark.report.leaderboard import leaderboard_markdown
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.zoo.store import open_zoo
from tests.running.runs import Watch, checkpoint_of, config

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
from benchmark import Attached, CrossEntropy, Strategy, hookimpl

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

class Asks(Attached):
    def attach(self, model, span):
        return self
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

    def test_what_a_perfect_reader_loses_is_said_and_kept(
        self, plugin: Plugin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        text = """
from dataclasses import replace
from benchmark import Dataset, hookimpl
from donutbench_datasets import receipts_mini

@hookimpl
def donutbench_register_datasets():
    (receipts,) = receipts_mini.donutbench_register_datasets()
    def bills(scale, split, seed, count):
        truth = {"total": {"total_price": "12 \\u20ac"}, "menu": ("tea", "a" * 300)[: 1 + (split == "test")]}
        documents = receipts.open(scale, split, seed, min(count or 4, 4))
        return [replace(document, ground_truth=truth, glyphs=()) for document in documents]
    yield Dataset("bills", "in euros", "extraction", receipts.keys, bills)
"""
        run_config = config(tmp_path / "out", datasets=("bills",), seeds=(0, 1), plugins=(plugin(text),))
        first, second = run(run_config)
        assert (first.status, first.error) == ("ok", None)
        assert first.metrics is not None
        assert first.metrics.ted_ceiling is not None
        assert 0 < first.metrics.ted_ceiling < 0.9
        assert (first.metrics.truncated_documents, first.metrics.unknown_characters) == (4, 4)
        assert second.metrics is not None
        assert second.metrics.ted_ceiling == first.metrics.ted_ceiling
        sentence = f"a perfect reader scores {first.metrics.ted_ceiling:.3f} here: 4 of 4 documents are longer than"
        err = capsys.readouterr().err
        assert err.count(f"bills: {sentence} 192 tokens, 4 characters are unknown to the model\n") == 1
        assert err.count("bills: in training 4 characters are unknown to the model\n") == 1
        assert f"{sentence} the model writes" in leaderboard_markdown(read_records(run_config.output))

    def test_a_test_document_that_is_no_json_is_refused_before_training(self, plugin: Plugin, tmp_path: Path) -> None:
        text = """
from dataclasses import replace
from benchmark import Dataset, hookimpl
from donutbench_datasets import receipts_mini

@hookimpl
def donutbench_register_datasets():
    (receipts,) = receipts_mini.donutbench_register_datasets()
    def bills(scale, split, seed, count):
        truth = {"total": {1.5}} if split == "test" else {"total": "1.50"}
        return [replace(d, ground_truth=truth, glyphs=()) for d in receipts.open(scale, split, seed, 2)]
    yield Dataset("bills", "in sets", "extraction", receipts.keys, bills)
"""
        bills = config(tmp_path / "out", strategies=("dense-finetune",), datasets=("bills",), plugins=(plugin(text),))
        (record,) = run(bills)
        where = "data set bills, test, document test-0-000000"
        assert (record.error or "").startswith(f"UserError: {where}: total is of type set")
        assert not (bills.output / "checkpoints").exists()

    def test_bad_data_sets_cost_their_own_cells_only(self, plugin: Plugin, tmp_path: Path) -> None:
        text = r"""
from benchmark import Dataset, Document, hookimpl

def exits(scale, split, seed, count):
    raise SystemExit(0)

def odd(scale, split, seed, count):
    raise OSError("no \udc80.png")

def named(scale, split, seed, count):
    return [Document("\ud800", [[0]], {})]

@hookimpl
def donutbench_register_datasets():
    empty = lambda scale, split, seed, count: []
    for name, opens in {"empty": empty, "exits": exits, "odd": odd, "named": named}.items():
        yield Dataset(name, "bad", "extraction", ("total",), opens)
"""
        why = {
            "empty": "UserError: data set empty, test: there are no documents",
            "exits": "UserError: data set exits, test: open raises SystemExit: 0",
            "odd": r"UserError: data set odd, test: open raises OSError: no \udc80.png",
            "named": r"UserError: data set named, test, documents[0]: its id is '\ud800', not text that is not empty",
        }
        names = (*why, "receipts-mini")
        *failed, good = run(config(tmp_path / "out", datasets=names, plugins=(plugin(text),)))
        assert {record.dataset: record.error for record in failed} == why
        assert (good.dataset, good.status) == ("receipts-mini", "ok")
        on_disk = {record.dataset: record for record in read_records(tmp_path / "out")}
        assert on_disk == {record.dataset: record for record in (*failed, good)}
