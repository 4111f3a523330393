"""Cells: their keys, which change with every fact that changes a result, and the options of parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import CrossEntropy, FixedMask, LogitDistillation, Strategy, UserError, magnitude_pruned, reference
from benchmark.cells import Cell, describe, key_of, with_options
from benchmark.plugin_manager import load_plugins
from benchmark.scales import TINY
from benchmark.types import Dataset

Change = Callable[[Cell], Cell]

PLUGIN = """
from benchmark import Strategy, hookimpl

def mine(references, scale, seed):
    return references.load("{reference}")

@hookimpl
def donutbench_register_strategies():
    yield Strategy(name="mine", summary="a plain function", start=mine)
"""


def strategy(**changes: Any) -> Strategy:
    whole: dict[str, Any] = {
        "name": "hole",
        "summary": "prune, distill",
        "start": magnitude_pruned(),
        "objective": LogitDistillation(),
        "constraint": FixedMask(),
        **changes,
    }
    return Strategy(**whole)


@pytest.fixture
def cell(datasets: dict[str, Dataset]) -> Cell:
    return Cell(strategy(), datasets["receipts-mini"], TINY, "quick", 0)


def with_strategy(**changes: Any) -> Change:
    return lambda cell: replace(cell, strategy=replace(cell.strategy, **changes))


def with_dataset(**changes: Any) -> Change:
    return lambda cell: replace(cell, dataset=replace(cell.dataset, **changes))


def with_scale(**changes: Any) -> Change:
    return lambda cell: replace(cell, scale=replace(cell.scale, **changes))


MATTERS: dict[str, Change] = {
    "strategy": with_strategy(name="other"),
    "reference": with_strategy(start=reference("teacher")),
    "target": with_strategy(start=magnitude_pruned("half")),
    "objective": with_strategy(objective=CrossEntropy()),
    "temperature": with_strategy(objective=LogitDistillation(temperature=3.0)),
    "alpha": with_strategy(objective=LogitDistillation(alpha=0.4)),
    "no constraint": with_strategy(constraint=None),
    "nothing trained": with_strategy(objective=None, constraint=None),
    "dataset": with_dataset(name="other"),
    "version of the data set": with_dataset(version="2"),
    "name of the scale": with_scale(name="other"),
    "page": with_scale(height=128),
    "tokens": with_scale(max_tokens=200),
    "test documents": with_scale(test_documents=99),
    "learning rate": with_scale(quick=replace(TINY.quick, learning_rate=2e-3)),
    "documents": with_scale(quick=replace(TINY.quick, task_documents=99)),
    "budget": lambda cell: replace(cell, budget="full"),
    "seed": lambda cell: replace(cell, seed=1),
}
IS_ONLY_PRINTED: dict[str, Change] = {
    "summary": with_strategy(summary="other words"),
    "paper": with_strategy(paper="Somebody 2020", paper_name="DONUT-hole"),
    "reference row": with_strategy(reference=True),
    "summary of the data set": with_dataset(summary="other words"),
    "stands for": with_dataset(stands_for=None),
}


class TestKey:
    @pytest.mark.parametrize("change", MATTERS)
    def test_it_changes_with(self, change: str, cell: Cell) -> None:
        assert key_of(MATTERS[change](cell), "zoo", None) != key_of(cell, "zoo", None)

    def test_all_changes_give_different_keys(self, cell: Cell) -> None:
        assert len({key_of(change(cell), "zoo", None) for change in MATTERS.values()}) == len(MATTERS)

    @pytest.mark.parametrize("change", IS_ONLY_PRINTED)
    def test_it_does_not_change_with(self, change: str, cell: Cell) -> None:
        assert key_of(IS_ONLY_PRINTED[change](cell), "zoo", None) == key_of(cell, "zoo", None)

    def test_it_changes_with_the_zoo_and_the_limit(self, cell: Cell) -> None:
        others = {key_of(cell, "other", None), key_of(cell, "zoo", 24), key_of(cell, "zoo", 25)}
        assert len(others | {key_of(cell, "zoo", None)}) == 4

    def test_it_is_that_of_another_process(self, cell: Cell) -> None:
        """Equal parts made anew have the same key: nothing in it depends on where things lie in memory."""
        again = replace(cell, strategy=strategy(), scale=replace(TINY))
        assert key_of(again, "zoo", None) == key_of(cell, "zoo", None)

    def test_a_plain_function_has_the_same_key_in_every_run(self, cell: Cell, tmp_path: Path) -> None:
        assert plugin_key(cell, tmp_path, "teacher") == plugin_key(cell, tmp_path, "teacher")

    def test_a_function_that_was_edited_has_another_key(self, cell: Cell, tmp_path: Path) -> None:
        assert plugin_key(cell, tmp_path, "teacher") != plugin_key(cell, tmp_path, "none")


def plugin_key(cell: Cell, folder: Path, name: str) -> str:
    """The key of a cell whose strategy is a plain function in a file, loaded anew."""
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(reference=name))
    mine = load_plugins([path]).strategies["mine"].item
    return key_of(replace(cell, strategy=mine), "zoo", None)


def test_a_cell_has_the_name_of_its_files(cell: Cell) -> None:
    assert cell.name == "hole__receipts-mini__tiny__quick__seed0"
    assert cell.title == "hole on receipts-mini, seed 0"


def test_a_part_is_described_by_its_text_or_name() -> None:
    def my_start() -> None: ...

    assert describe(my_start) == "my_start"
    assert describe(reference("small")) == "small"
    assert describe(FixedMask()) == "fixed mask"


@dataclass(frozen=True)
class Stranger:
    """A stranger's start with options of every kind."""

    rounds: int = 3
    share: float = 0.5
    warm: bool = True
    mode: str = "a"

    def __call__(self, *_: object) -> Any:
        raise NotImplementedError


class TestOptions:
    def test_an_option_goes_to_each_part_that_has_it(self) -> None:
        hole, dense = with_options(
            [strategy(), strategy(name="dense", start=reference("teacher"), constraint=None)],
            {"target": "half", "temperature": "4"},
        )
        assert hole.start == magnitude_pruned("half")
        assert hole.objective == dense.objective == LogitDistillation(temperature=4.0)
        assert hole.constraint == FixedMask()
        assert dense.start == reference("teacher")
        assert (hole.name, hole.summary) == ("hole", "prune, distill")

    def test_the_given_strategies_stay_as_they_are(self) -> None:
        given = strategy()
        with_options([given], {"target": "half"})
        assert given == strategy()

    def test_no_options_change_nothing(self) -> None:
        assert with_options([strategy()], {}) == [strategy()]

    def test_a_value_gets_the_type_of_the_option(self) -> None:
        (mine,) = with_options([strategy(start=Stranger())], {"rounds": "7", "share": "0.25", "mode": "b"})
        assert repr(mine.start) == repr(Stranger(rounds=7, share=0.25, mode="b"))

    @pytest.mark.parametrize(("text", "value"), [("false", False), ("true", True)])
    def test_a_switch_can_be_turned_off(self, text: str, value: bool) -> None:
        (mine,) = with_options([strategy(start=Stranger())], {"warm": text})
        assert repr(mine.start) == repr(Stranger(warm=value))

    @pytest.mark.parametrize(
        ("options", "wanted"),
        [
            ({"targt": "half"}, "unknown option 'targt': did you mean target?"),
            ({"temprature": "2"}, "unknown option 'temprature': did you mean temperature"),
            ({"xyz": "2"}, "unknown option 'xyz': there is alpha, of, score, target, temperature"),
            ({"target": "halv"}, "'halv'"),
            ({"temperature": "hot"}, "--set temperature=hot: expected a float"),
        ],
    )
    def test_a_wrong_option_is_told(self, options: dict[str, str], wanted: str) -> None:
        with pytest.raises(UserError) as caught:
            with_options([strategy()], options)
        assert wanted in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "options", [{"score": "magnitud"}, {"temperature": "0"}, {"temperature": "nan"}, {"alpha": "7"}]
    )
    def test_a_value_without_sense_is_told(self, options: dict[str, str]) -> None:
        with pytest.raises(UserError, match=next(iter(options.values()))):
            with_options([strategy()], options)

    def test_a_plain_function_has_no_options(self) -> None:
        def my_start(*_: object) -> Any:
            raise NotImplementedError

        with pytest.raises(UserError, match="unknown option 'target'"):
            with_options([strategy(start=my_start, objective=None, constraint=None)], {"target": "half"})
