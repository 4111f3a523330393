"""Cells: their keys, which change with every fact that changes a result, and the options of parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import pytest

from benchmark import (
    CrossEntropy,
    FixedMask,
    LogitDistillation,
    Strategy,
    UserError,
    magnitude_pruned,
    pruned,
    reference,
)
from benchmark.running import cells
from benchmark.running.cells import Cell, Options, describe, key_of, with_options
from benchmark.scales import TINY, Architecture, Budget, Scale
from benchmark.types import Dataset, Document, Split

Change = Callable[[Cell], Cell]


def blank(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
    return []


_BUDGET = Budget(reading_documents=8, task_documents=4, batch=2, learning_rate=0.5, evaluations=1)
_SIZES = Architecture(8, (1, 1), (1, 1), decoder_layers=1, decoder_width=8, decoder_ffn=8, decoder_heads=1)
SIZES = Scale(
    "any", "", "reading", 8, 8, 2, 2, (4, 5), 9, 0.1, True, _SIZES, _SIZES, _BUDGET, _BUDGET, _BUDGET, 3, 4, 5
)


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
    return Cell(strategy(), datasets["receipts-mini"], TINY, "paper", "quick", 0)


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
    "rate": with_strategy(rate=0.5),
    "no upstream": with_strategy(trains_upstream=False),
    "no constraint": with_strategy(constraint=None),
    "nothing trained": with_strategy(objective=None, constraint=None),
    "dataset": with_dataset(name="other"),
    "version of the data set": with_dataset(version="2"),
    "keys of the data set": with_dataset(keys=("total",)),
    "what opens the data set": with_dataset(open=blank),
    "name of the scale": with_scale(name="other"),
    "what upstream models read": with_scale(reading="other"),
    "page": with_scale(height=128),
    "tokens": with_scale(max_tokens=200),
    "test documents": with_scale(test_documents=99),
    "learning rate": with_scale(quick=replace(TINY.quick, learning_rate=2e-3)),
    "documents": with_scale(quick=replace(TINY.quick, task_documents=99)),
    "protocol": lambda cell: replace(cell, protocol="task"),
    "budget": lambda cell: replace(cell, budget="full"),
    "seed": lambda cell: replace(cell, seed=1),
    "limit": lambda cell: replace(cell, limit=24),
    "another limit": lambda cell: replace(cell, limit=25),
    "device": lambda cell: replace(cell, device="cuda"),
}
IS_ONLY_PRINTED: dict[str, Change] = {
    "summary": with_strategy(summary="other words"),
    "paper": with_strategy(paper="Somebody 2020", paper_name="DONUT-hole"),
    "reference row": with_strategy(reference=True),
    "summary of the data set": with_dataset(summary="other words"),
    "stands for": with_dataset(stands_for=None),
    "another budget than its own": with_scale(full=replace(TINY.full, batch=16)),
    "the budget of other teachers": with_scale(task_teacher=replace(TINY.task_teacher, batch=16)),
    "summary of the scale": with_scale(summary="other words"),
}


def key(cell: Cell, plugins: object = (), zoo: str = "zoo", before: Sequence[str] = ()) -> str:
    return key_of(cell, plugins, zoo, before)


class TestKey:
    @pytest.mark.parametrize("change", MATTERS)
    def test_it_changes_with(self, change: str, cell: Cell) -> None:
        assert key(MATTERS[change](cell)) != key(cell)

    def test_all_changes_give_different_keys(self, cell: Cell) -> None:
        assert len({key(change(cell)) for change in MATTERS.values()}) == len(MATTERS)

    @pytest.mark.parametrize("change", IS_ONLY_PRINTED)
    def test_it_does_not_change_with(self, change: str, cell: Cell) -> None:
        assert key(IS_ONLY_PRINTED[change](cell)) == key(cell)

    def test_it_changes_with_the_zoo_the_plugins_and_the_cell_before(self, cell: Cell) -> None:
        others = {key(cell, zoo="other"), key(cell, before=["k"]), key(cell, plugins=["a", "b"])}
        assert len(others | {key(cell)}) == 4

    @pytest.mark.parametrize("package", ["torch", "transformers"])
    def test_it_changes_with_the_version_of(self, package: str, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        before = key(cell)
        monkeypatch.setattr(cells, "version", lambda name: "0" if name == package else version(name))
        assert key(cell) != before

    def test_it_changes_with_the_code_of_training(self, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        before = key(cell)
        monkeypatch.setattr(cells, "CODE", cells.CODE + 1)
        assert key(cell) != before

    def test_it_stays_as_it_is(self, cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another key runs everybody's finished cells again: let it be on purpose (and so with other code)."""
        monkeypatch.setattr(cells, "version", lambda name: "1")
        monkeypatch.setattr(cells, "CODE", 6)
        fixed = replace(cell, scale=SIZES, dataset=replace(cell.dataset, open=blank), limit=3)
        assert key(fixed, plugins=["s", "d"], before=["k"]) == "ea5541877e39f307"

    def test_it_is_that_of_another_process(self, cell: Cell) -> None:
        """Equal parts made anew have the same key: nothing in it depends on where things lie in memory."""
        again = replace(cell, strategy=strategy(), scale=replace(TINY))
        assert key(again) == key(cell)

    def test_a_part_without_an_identity_is_named(self, cell: Cell) -> None:
        counting = replace(cell, strategy=strategy(start=(number for number in range(3))))
        with pytest.raises(UserError, match=r"strategy 'hole': start is a builtins\.generator"):
            key(counting)


def test_a_cell_has_the_name_of_its_files(cell: Cell) -> None:
    assert cell.name == "hole__receipts-mini__tiny__paper__quick__seed0"
    assert cell.title == "hole on receipts-mini, seed 0"
    other = replace(cell, options=(("target", "0.1"),), limit=3, device="cuda")
    assert other.name == "hole__receipts-mini__tiny__paper__quick__target=0.1__limit3__cuda__seed0"
    assert other.title == "hole target=0.1 on receipts-mini, seed 0"


def test_a_part_is_described_by_its_text_or_name() -> None:
    def my_start(*_: object) -> None: ...

    assert describe(my_start) == "my_start"
    assert describe(reference("small")) == "small"
    assert describe(FixedMask()) == "fixed mask"
    assert describe(partial(my_start, 3)) == "my_start"
    assert describe(Plain()) == "Plain", "and not where it lies in memory"
    assert describe(Odd()) == r"an odd \udc80 part", "what a record can hold, in one line"


class Plain:
    """A part without a text."""


class Odd:
    """A part whose text no file can hold."""

    def __repr__(self) -> str:
        return "an odd\n\udc80 part"


@dataclass(frozen=True)
class Stranger:
    """A stranger's start with options of every kind."""

    rounds: int = 3
    share: float = 0.5
    warm: bool = True
    mode: str = "a"

    def __call__(self, *_: object) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Rated:
    """A start that prunes at a rate."""

    rate: float

    def __call__(self, *_: object) -> Any:
        raise NotImplementedError


def changed(given: Strategy, **options: str) -> tuple[Strategy, Options]:
    (pair,) = with_options([given], options)
    return pair


class TestOptions:
    def test_an_option_goes_to_each_part_that_has_it(self) -> None:
        (hole, of_hole), (dense, of_dense) = with_options(
            [strategy(), strategy(name="dense", start=reference("teacher"), constraint=None)],
            {"target": "half", "temperature": "4"},
        )
        assert (of_hole, of_dense) == ((("target", "half"), ("temperature", "4.0")), (("temperature", "4.0"),))
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
        assert with_options([strategy()], {}) == [(strategy(), ())]

    def test_the_value_that_it_has_is_no_change(self) -> None:
        assert changed(strategy(), target="paper-table", temperature="2") == (strategy(), ())
        assert changed(strategy(), temperature="3")[1] == changed(strategy(), temperature="3.00")[1]

    def test_a_value_that_one_of_two_parts_has_is_a_change_of_the_other(self) -> None:
        part, name = Stranger(), "share"
        given = strategy(start=part, objective=cast(Any, replace(part, share=0.25)), constraint=None)
        assert changed(given, share="0.25")[1] == ((name, "0.25"),)
        assert changed(given, share="0.5")[1] == ((name, "0.5"),)

    def test_the_rate_of_what_trains_is_not_that_of_a_part(self) -> None:
        given = strategy(start=Rated(0.9))
        assert changed(given, rate="0.25") == (replace(given, rate=0.25), (("rate", "0.25"),))
        untrained = replace(given, objective=None, constraint=None)
        assert vars(changed(untrained, rate="0.25")[0].start) == {"rate": 0.25}

    def test_what_trains_has_a_rate(self) -> None:
        assert changed(strategy(), rate="0.25") == (strategy(rate=0.25), (("rate", "0.25"),))
        untrained = strategy(objective=None, constraint=None)
        pairs = with_options([untrained, strategy()], {"rate": "0.25"})
        assert pairs[0] == (untrained, ())
        with pytest.raises(UserError, match="unknown option 'rate'"):
            changed(untrained, rate="0.25")

    def test_a_value_gets_the_type_of_the_option(self) -> None:
        mine, _ = changed(strategy(start=Stranger()), rounds="7", share="0.25", mode="b")
        assert repr(mine.start) == repr(Stranger(rounds=7, share=0.25, mode="b"))

    @pytest.mark.parametrize(("text", "value"), [("false", False), ("true", True)])
    def test_a_switch_can_be_turned_off(self, text: str, value: bool) -> None:
        mine, _ = changed(strategy(start=Stranger()), warm=text)
        assert repr(mine.start) == repr(Stranger(warm=value))

    @pytest.mark.parametrize(
        ("options", "wanted"),
        [
            ({"targt": "half"}, "unknown option 'targt': did you mean target?"),
            ({"temprature": "2"}, "unknown option 'temprature': did you mean temperature"),
            (
                {"xyz": "2"},
                "unknown option 'xyz': there is allocation, alpha, of, rate, ratio, target, temperature",
            ),
            ({"target": "halv"}, "'halv'"),
            ({"temperature": "hot"}, "--set temperature=hot: expected a float"),
            ({"rate": "fast"}, "--set rate=fast: expected a float"),
        ],
    )
    def test_a_wrong_option_is_told(self, options: dict[str, str], wanted: str) -> None:
        with pytest.raises(UserError) as caught:
            with_options([strategy()], options)
        assert wanted in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "options",
        [{"allocation": "globl"}, {"temperature": "0"}, {"temperature": "nan"}, {"alpha": "7"}, {"rate": "0"}],
    )
    def test_a_value_without_sense_is_told(self, options: dict[str, str]) -> None:
        with pytest.raises(UserError, match=next(iter(options.values()))):
            with_options([strategy()], options)

    def test_options_reach_into_the_score_of_a_start(self) -> None:
        @dataclass(frozen=True)
        class Looking:
            documents: int = 32

            def __call__(self, model: Any, references: Any, seed: int) -> Any:
                raise NotImplementedError

        mine = strategy(start=pruned(Looking(), "half"))
        ((changed, options),) = with_options([mine], {"documents": "8", "target": "0.5"})
        assert changed.start == pruned(Looking(8), "0.5")
        assert options == (("documents", "8"), ("target", "0.5"))
        ((same, options),) = with_options([mine], {"documents": "32"})
        assert (same, options) == (mine, ())
        with pytest.raises(UserError, match="unknown option 'score'"):
            with_options([mine], {"score": "magnitude"})

    def test_a_plain_function_has_no_options(self) -> None:
        def my_start(*_: object) -> Any:
            raise NotImplementedError

        with pytest.raises(UserError, match="unknown option 'target'"):
            with_options([strategy(start=my_start, objective=None, constraint=None)], {"target": "half"})
