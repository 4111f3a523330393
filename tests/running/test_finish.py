"""The finish of a strategy: applied once, at the very end, under both protocols, and part of the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from benchmark import CrossEntropy, Int8, Strategy, load_checkpoint, reference, run
from benchmark.export import export
from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.donut import Donut
from benchmark.models.quantized import int8_layers
from benchmark.records.files import read_records
from benchmark.running.cells import Cell, key_of, parts_of, with_options
from benchmark.running.protocols.paper import upstream_cell
from benchmark.scales import TINY
from benchmark.types import Dataset
from benchmark.zoo.store import open_zoo
from tests.running.bench import Bench
from tests.running.runs import config
from tests.running.test_stages import SMALL, Notes

ALONE = Strategy("alone", "the teacher in int8", reference("teacher"), finish=Int8())
TRAINED = Strategy("trained", "trained, then int8", reference("teacher"), CrossEntropy(), finish=Int8())


@dataclass(frozen=True)
class Adding:
    """Adds to a weight, so that the times can be counted."""

    much: float = 8.0
    seen: ClassVar[list[str]] = []

    def __call__(self, model: Any) -> Any:
        self.seen.append(type(model.decoder.model.decoder.layers[0].fc1).__name__)
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.bias[0] += self.much
        return model


def bias(model: Donut) -> float:
    return float(model.decoder.model.decoder.layers[0].fc1.bias[0].detach())


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    notes = Notes()
    monkeypatch.setattr("benchmark.running.stages.train_strategy", notes.train)
    Adding.seen.clear()
    return notes


@pytest.fixture
def bench(datasets: dict[str, Dataset], notes: Notes, tmp_path: Path) -> Bench:
    return Bench(open_zoo(TINY), datasets["synthdog-mini"], SMALL, tmp_path)


@pytest.fixture
def receipts(datasets: dict[str, Dataset]) -> Dataset:
    return datasets["receipts-mini"]


class TestOnce:
    @pytest.mark.parametrize(("protocol", "trainings"), [("paper", 2), ("task", 1)])
    def test_after_the_last_training(
        self, protocol: Any, trainings: int, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        adding = replace(TRAINED, finish=Adding())
        plain = replace(adding, name="plain", finish=None)
        made, without = (
            bench.trained(Cell(strategy, receipts, SMALL, protocol, "quick", 0)).model for strategy in (adding, plain)
        )
        assert len(notes.trainings) == 2 * trainings
        assert len(Adding.seen) == 1
        assert bias(made) - bias(without) == pytest.approx(8.0, abs=1e-5)

    @pytest.mark.parametrize("protocol", ["paper", "task"])
    def test_right_after_the_start_where_nothing_is_trained(
        self, protocol: Any, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        adding = replace(ALONE, finish=Adding())
        made = bench.trained(Cell(adding, receipts, SMALL, protocol, "quick", 0))
        assert (len(notes.trainings), len(Adding.seen)) == (0, 1)
        teacher = load_model(bench.zoo.folder / "receipts-mini" / "teacher")
        assert bias(made.model) - bias(teacher) == pytest.approx(8.0, abs=1e-5)

    def test_not_again_when_it_is_reopened(self, bench: Bench, receipts: Dataset) -> None:
        cell = Cell(replace(ALONE, finish=Adding()), receipts, SMALL, "task", "quick", 0)
        first, second = (bench.trained(cell).model for _ in range(2))
        assert len(Adding.seen) == 1
        assert bias(first) == bias(second)

    def test_upstream_stays_as_it_is_and_serves_whoever_trains_on(self, bench: Bench, receipts: Dataset) -> None:
        cell = Cell(TRAINED, receipts, SMALL, "paper", "quick", 0)
        made = bench.trained(cell).model
        assert len(int8_layers(made)) == 65
        upstream = upstream_cell(cell, bench.reading)
        assert not int8_layers(load_model(bench.output / "checkpoints" / upstream.name))
        assert upstream_cell(replace(cell, strategy=ALONE), bench.reading).strategy.finish == Int8()

    def test_what_is_kept_is_finished(self, bench: Bench, receipts: Dataset, notes: Notes) -> None:
        cell = Cell(TRAINED, receipts, SMALL, "task", "quick", 0)
        made = bench.trained(cell)
        kept = load_model(bench.output / "checkpoints" / cell.name)
        assert len(int8_layers(kept)) == len(int8_layers(made.model)) == 65
        assert made.training.steps == len(notes.trainings) * notes.trainings[0][1].steps > 0
        assert bench.evaluator(cell).predict(made.model)

    def test_one_that_gives_no_model_is_told(self, bench: Bench, receipts: Dataset) -> None:
        nothing: Any = lambda model: None  # noqa: E731 # a plugin may be as short
        wrong = replace(ALONE, finish=nothing)
        with pytest.raises(TypeError, match="the finish of strategy 'alone' returned a NoneType, not a Donut"):
            bench.trained(Cell(wrong, receipts, SMALL, "task", "quick", 0))


class TestIdentity:
    def key(self, strategy: Strategy, dataset: Dataset) -> str:
        return key_of(Cell(strategy, dataset, TINY, "task", "quick", 0), (), "zoo")

    def test_a_strategy_without_one_has_three_parts(self) -> None:
        assert [*parts_of(replace(ALONE, finish=None))] == ["start", "objective", "constraint"]
        assert [*parts_of(ALONE)] == ["start", "objective", "constraint", "finish"]

    def test_the_key_changes_with_it_and_its_fields(self, receipts: Dataset) -> None:
        finishes: list[Any] = [None, Int8(), Adding(), Adding(9.0)]
        assert len({self.key(replace(ALONE, finish=finish), receipts) for finish in finishes}) == 4

    def test_its_fields_are_options(self) -> None:
        ((changed, options),) = with_options([replace(ALONE, finish=Adding())], {"much": "3"})
        assert (changed.finish, options) == (Adding(3.0), (("much", "3.0"),))


BYTES = """
from benchmark import Int8, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies():
    yield Strategy("bytes", "the teacher in int8", reference("teacher"), finish=Int8(), protocols=("task",))
"""


@pytest.mark.long
def test_a_run_scores_measures_and_exports_what_is_finished(plugin: Callable[[str], Path], tmp_path: Path) -> None:
    settings = config(tmp_path / "out", strategies=("teacher", "bytes"), protocol="task", plugins=(plugin(BYTES),))
    whole, small = run(settings)
    assert (whole.error, small.error) == (None, None)
    assert (whole.finish, small.finish) == (None, "int8 linear layers")
    assert whole.efficiency is not None
    assert small.efficiency is not None
    assert whole.start_hash == small.start_hash != small.model_hash
    assert small.efficiency.size_dense_bytes < 0.32 * whole.efficiency.size_dense_bytes
    for name in ("params_total", "params_nonembedding", "macs", "macs_encoder"):
        assert getattr(small.efficiency, name) == getattr(whole.efficiency, name)
    assert small.efficiency.density < 1
    assert small.efficiency.computation != whole.efficiency.computation
    assert small.efficiency.latency_ratio is not None
    assert read_records(tmp_path / "out")[0].finish == "int8 linear layers"

    export(tmp_path / "out", small.cell, tmp_path / "mine")
    again = load_checkpoint(tmp_path / "mine").model
    assert fingerprint(again) == small.model_hash
    assert len(int8_layers(again)) == 65
    assert "- at the end: int8 linear layers" in (tmp_path / "mine" / "README.md").read_text()
