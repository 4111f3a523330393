"""What ends in int8: the rows, and the orders of steps that are refused by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import pytest
import torch

from benchmark import (
    CrossEntropy,
    FixedMask,
    Int8,
    Magnitude,
    Strategy,
    UserError,
    mixed,
    pruned,
    reference,
    sliced,
    then,
)
from benchmark.models.arithmetic import donut_macs
from benchmark.models.checkpoint import fingerprint
from benchmark.models.donut import Donut
from benchmark.models.parameters import non_embeddings, prunable
from benchmark.models.quantized import int8_layers
from benchmark.running.cells import with_options
from benchmark.scales import TINY
from benchmark.steps import check_order
from tests.strategies.conftest import OfReceipts

PAGE = TINY.height, TINY.width


def strategy(module: str) -> Strategy:
    (found,) = import_module(f"donutbench_strategies.{module}").donutbench_register_strategies()
    assert isinstance(found, Strategy)
    return found


def share_of_zeros(model: Donut) -> float:
    weights = list(non_embeddings(model).values())
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


class TestInt8:
    def test_it_is_the_teacher_with_each_weight_within_half_a_step(self, references: OfReceipts) -> None:
        row, before = strategy("int8"), fingerprint(references.teacher)
        assert row.objective is None
        assert row.finish is not None
        model = row.finish(row.start(references, TINY, 0))
        assert isinstance(model, Donut)
        weights = dict(references.teacher.named_parameters())
        for name, layer in int8_layers(model).items():
            whole = weights[f"{name}.weight"]
            error = (layer.weight * layer.scales[:, None] - whole).abs()
            assert bool((error <= whole.abs().amax(1, keepdim=True) / 254 * (1 + 1e-4)).all())
        assert fingerprint(references.teacher) == before
        again = row.finish(row.start(references, TINY, 1))
        assert isinstance(again, Donut)
        assert fingerprint(again) == fingerprint(model) != before

    def test_the_row_says_what_it_is(self) -> None:
        row = strategy("int8")
        assert (row.name, row.protocols, str(row.finish)) == ("int8", ("task",), "int8 linear layers")

    def test_prune_distill_int8_is_prune_distill_and_its_finish(self) -> None:
        before, row = strategy("prune_distill"), strategy("prune_distill_int8")
        assert (row.start, row.objective, row.constraint) == (before.start, before.objective, before.constraint)
        assert (before.finish, row.finish) == (None, Int8())


class TestComposed:
    def test_it_cuts_then_prunes_what_is_left(self, references: OfReceipts) -> None:
        row, before = strategy("mixed_prune_distill_int8"), fingerprint(references.teacher)
        model = row.start(references, TINY, 0)
        assert isinstance(model, Donut)
        macs = donut_macs(model, PAGE, 64).total / donut_macs(references.teacher, PAGE, 64).total
        assert macs == pytest.approx(0.5, abs=0.01)
        assert share_of_zeros(model) == pytest.approx(0.5, abs=1e-4)
        assert fingerprint(references.teacher) == before

        cut = mixed(0.5, layers=0.83, width=0.85)(references, TINY, 0)
        assert {name: w.shape for name, w in model.named_parameters()} == {
            n: w.shape for n, w in cut.named_parameters()
        }
        weights = prunable(cut)
        gone = torch.cat([weights[name][w == 0].abs() for name, w in prunable(model).items()])
        left = torch.cat([w[w != 0].abs() for w in prunable(model).values()])
        assert gone.max() <= left.min()
        again = row.start(references, TINY, 0)
        assert isinstance(again, Donut)
        assert fingerprint(again) == fingerprint(model)

    def test_zeros_outlast_the_finish(self, references: OfReceipts) -> None:
        row = strategy("mixed_prune_distill_int8")
        model = row.start(references, TINY, 0)
        gone = {name: w == 0 for name, w in prunable(model).items()}
        assert row.finish is not None
        row.finish(model)
        assert all(bool((w[gone[name]] == 0).all()) for name, w in prunable(model).items())

    def test_its_budgets_are_options(self) -> None:
        row = strategy("mixed_prune_distill_int8")
        wanted = {"ratio": "0.7", "layers": "0.9", "width": "1.0", "target": "0.6"}
        ((changed, options),) = with_options([row], wanted)
        assert dict(options) == wanted
        assert str(changed.start) == (
            "teacher, cut to 70.0% of its macs: layers to 90%, FFN units to the rest, then magnitude-pruned by 60.0%"
        )
        with pytest.raises(UserError, match=r"^layers=3 is no share of what is there$"):
            with_options([row], {"layers": "3"})
        with pytest.raises(UserError, match="sparsity target 'halv'"):
            with_options([row], {"target": "halv"})


@dataclass(frozen=True)
class Done:
    """A stranger's start that says what it does."""

    steps: ClassVar[tuple[Any, ...]] = ("quantize",)

    def __call__(self, references: Any, scale: Any, seed: int) -> Any:
        raise NotImplementedError

    def __str__(self) -> str:
        return "done"


@dataclass(frozen=True)
class Factored(Done):
    steps: ClassVar[tuple[Any, ...]] = ("factor",)


def mine(references: Any, scale: Any, seed: int) -> Any:
    raise NotImplementedError


class TestOrder:
    def test_each_start_is_given_what_the_one_before_made(self, references: OfReceipts) -> None:
        """Cut by hand, and then pruned by hand, is the same."""
        whole = then(sliced("ffn", 0.75), pruned(Magnitude(), "half"))
        model = whole(references, TINY, 0)
        cut = sliced("ffn", 0.75)(references, TINY, 0)
        assert isinstance(cut, Donut)
        assert isinstance(model, Donut)
        by_hand = pruned(Magnitude(), "half")(replace(references, teacher=cut), TINY, 0)
        assert isinstance(by_hand, Donut)
        assert fingerprint(model) == fingerprint(by_hand)
        assert share_of_zeros(model) == pytest.approx(0.5, abs=1e-4)

    def test_calibration_is_that_of_the_references(self, references: OfReceipts) -> None:
        seen = []

        @dataclass(frozen=True)
        class Looking:
            def __call__(self, model: Any, references: Any, seed: int) -> Any:
                seen.append((references.calibration(3, 1).labels, sum(p.numel() for p in model.parameters())))
                return Magnitude()(model, references, seed)

        then(sliced("ffn", 0.75), pruned(Looking(), "half"))(references, TINY, 0)
        ((labels, size),) = seen
        assert torch.equal(labels, references.calibration(3, 1).labels)
        assert size < sum(p.numel() for p in references.teacher.parameters())

    def test_legal_orders_are_made(self) -> None:
        cut, zeros = sliced("ffn", 0.75), pruned(Magnitude(), "half")
        for parts in ((cut, zeros), (cut, Factored(), zeros), (Factored(), zeros), (cut, cut), (zeros, zeros)):
            Strategy("fine", "legal", then(reference("teacher"), *parts), CrossEntropy(), finish=Int8())
        assert then(cut, zeros).steps == ("cut", "prune")
        assert str(then(mine, zeros)) == "mine, then magnitude-pruned by 50.0%"

    @pytest.mark.parametrize(
        ("parts", "wanted"),
        [
            (
                (pruned(Magnitude(), "half"), sliced("ffn", 0.75)),
                r"^a start made of several: cut \(teacher, FFN units cut by magnitude to 75.0% of its parameters\) "
                r"after prune \(teacher, magnitude-pruned by 50.0%\): its zeros would be lost$",
            ),
            ((pruned(Magnitude(), "half"), mixed(0.5)), r"cut \(.*\) after prune \(.*\): its zeros would be lost"),
            ((pruned(Magnitude(), "half"), Factored()), r"factor \(done\) after prune \(.*\): its zeros would be lost"),
            ((Factored(), sliced("ffn", 0.75)), r"cut \(.*\) after factor \(done\): the ranks were chosen for layers"),
            ((Done(), sliced("ffn", 0.75)), r"cut \(.*\) after quantize \(done\): that needs floats"),
            ((Int8(), pruned(Magnitude())), r"prune \(.*\) after quantize \(int8 linear layers\): that needs floats"),
            ((sliced("ffn", 0.75), Int8()), r"^quantize is no part of a start: it is the finish of a strategy$"),
            ((sliced("ffn", 0.75), reference("teacher")), r"^start 'teacher' cannot follow another: it has no `steps`"),
            ((sliced("ffn", 0.75), mine), r"^start 'mine' cannot follow another: it has no `steps`"),
        ],
    )
    def test_an_illegal_order_is_refused_by_name(self, parts: tuple[Any, ...], wanted: str) -> None:
        with pytest.raises(UserError, match=wanted) as caught:
            then(*parts)
        assert "\n" not in str(caught.value)

    def test_steps_far_apart_are_seen(self) -> None:
        with pytest.raises(UserError, match=r"^x: cut \(c\) after prune \(a\): its zeros would be lost$"):
            check_order("x", [("a", ("prune",)), ("b", ("train",)), ("c", ("cut",))])

    def test_nothing_is_trained_or_quantized_after_int8(self) -> None:
        wanted = r"^strategy 'late': train \(training\) after quantize \(start\): that needs floats$"
        with pytest.raises(UserError, match=wanted):
            Strategy("late", "trains int8", Done(), CrossEntropy(), FixedMask())
        Strategy("early", "int8 alone", Done())

        @dataclass(frozen=True)
        class Zeroing:
            steps: ClassVar[tuple[Any, ...]] = ("prune",)

            def __call__(self, model: Any) -> Any:
                return model

        with pytest.raises(UserError, match=r"prune \(finish\) after quantize \(start\)"):
            Strategy("late", "prunes int8", Done(), finish=Zeroing())

    def test_a_later_start_begins_with_no_other_model(self, references: OfReceipts) -> None:
        other = replace(pruned(Magnitude(), "half"), of="none")
        with pytest.raises(UserError, match=r"^a start that follows another begins with what that has made, .*'none'$"):
            then(sliced("ffn", 0.75), other)(references, TINY, 0)
