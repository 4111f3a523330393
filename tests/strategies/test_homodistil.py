"""Units that are held at zero while a model trains, and cut out of it at the end."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, cast

import pytest
import torch

from benchmark import Cubic, Span, UnitMask, UserError
from benchmark.models.checkpoint import load_model, save_model
from benchmark.models.donut import Donut
from benchmark.slicing.donut import groups
from donutbench_strategies import homodistil
from donutbench_strategies.homodistil import Homotopy, Shrinking
from tests.strategies.conftest import OfReceipts
from tests.strategies.steps import Walk, broken_off, same, size, weights

(STRATEGY,) = homodistil.donutbench_register_strategies()
SPAN = Span(False, 12)
RAMP = Cubic(begin=0.25, end=0.75, times=3)


def shrinking(model: Donut, ratio: float = 0.75, schedule: Cubic = RAMP, smoothing: float = 0.9) -> Shrinking:
    return Homotopy(ratio, schedule, smoothing).attach(model, SPAN)


def logits(model: Donut, references: OfReceipts) -> torch.Tensor:
    some = references.calibration(2)
    with torch.no_grad():
        output = model(pixel_values=some.pixel_values, decoder_input_ids=some.decoder_input_ids, use_cache=False)
    found: torch.Tensor = output.logits
    return found


def units_left(model: Donut) -> dict[str, int]:
    return {group.name: group.count for group in groups(model)}


@pytest.mark.parametrize("ratio", [0.9, 0.75, 0.5, 2])
def test_what_is_cut_computes_what_was_masked(ratio: float, references: OfReceipts, tmp_path: Any) -> None:
    model = references.load("teacher")
    before, whole = units_left(model), size(model)
    attached = shrinking(model, ratio)
    Walk(model, attached, rate=1e-4).go(1, 12)
    attached.check()
    assert size(model) == whole
    masked = logits(model, references)
    assert not torch.allclose(masked, logits(references.load("teacher"), references), atol=0.1)
    smaller = attached.finish()
    assert isinstance(smaller, Donut)
    assert size(smaller) / whole == pytest.approx(ratio if ratio < 1 else 1 / ratio, rel=0.02)
    torch.testing.assert_close(logits(smaller, references), masked, rtol=1e-4, atol=1e-4)
    for name, count in units_left(smaller).items():
        assert (0 < count < before[name]) if name.endswith("ffn") else count <= before[name]
        assert count % 8 == 0 or not name.endswith("ffn")
        assert count == before[name] or not name.endswith("width")
    save_model(smaller, tmp_path / "smaller")
    assert same(weights(load_model(tmp_path / "smaller")), weights(smaller))


def test_the_sensitivity_is_that_of_the_definition(model: Donut) -> None:
    """Of a unit of the second FFN of the decoder and of a head beside it, read off their matrices by name."""
    attached = shrinking(model, smoothing=0.8)
    layer, unit, head = model.decoder.model.decoder.layers[1], 5, 2
    expected, wide = {"ffn": 0.0, "encoder_attn.heads": 0.0}, layer.encoder_attn.head_dim
    rows = slice(head * wide, (head + 1) * wide)
    for step in (1, 2):
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        attached.before_step(step)

        def sensitivity(parameter: torch.nn.Parameter, *places: Any) -> float:
            assert parameter.grad is not None
            return float((parameter.detach() * parameter.grad)[places].square().sum())

        own = layer.encoder_attn
        made = [sensitivity(layer.fc1.weight, unit), sensitivity(layer.fc1.bias, unit)]
        total = {"ffn": sum(made) + sensitivity(layer.fc2.weight, slice(None), unit)}
        of_head = [sensitivity(p, rows) for m in (own.q_proj, own.k_proj, own.v_proj) for p in (m.weight, m.bias)]
        total["encoder_attn.heads"] = sum(of_head) + sensitivity(own.out_proj.weight, slice(None), rows)
        expected = {name: 0.8 * value + 0.2 * total[name] ** 0.5 for name, value in expected.items()}
    state, place = attached.state(), "score.decoder.model.decoder.layers.1"
    assert float(state[f"{place}.ffn"][unit]) == pytest.approx(expected["ffn"], rel=1e-4)
    assert float(state[f"{place}.encoder_attn.heads"][head]) == pytest.approx(expected["encoder_attn.heads"], rel=1e-4)


def test_the_least_sensitive_of_a_place_go_and_stay_gone(model: Donut) -> None:
    attached, whole = shrinking(model), size(model)
    walk = Walk(model, attached)
    before, left = {name: torch.zeros(n, dtype=torch.bool) for name, n in units_left(model).items()}, []
    for first in (1, 5, 7, 9):  # up to the step before each turn, and to the end
        walk.go(first, {1: 4, 9: 12}.get(first, first + 1))
        state = {name: value.clone() for name, value in attached.state().items()}
        for name in (name.removeprefix("gone.") for name in state if name.startswith("gone.")):
            gone = state[f"gone.{name}"]
            assert (gone | ~before[name]).all()
            before[name] = gone
        left.append(size(cast(Donut, deepcopy(attached).finish())) / whole)
    shares = [0, 1 - (2 / 3) ** 3, 1 - (1 / 3) ** 3, 1]
    assert left == pytest.approx([1 - 0.25 * share for share in shares], rel=0.02)
    assert left[0] == 1


def test_of_each_place_those_go_whose_scores_are_lowest(model: Donut) -> None:
    attached = shrinking(model, schedule=Cubic(end=0.1, times=1))
    Walk(model, attached).go(1, 1)
    state, some = attached.state(), 0
    for name in (name.removeprefix("gone.") for name in state if name.startswith("gone.")):
        gone, score = state[f"gone.{name}"], state[f"score.{name}"]
        assert not gone.all()
        if gone.any():
            some += 1
            assert score[gone].max() <= score[~gone].min()
    assert some > 8


def test_every_feed_forward_loses_the_same_share(model: Donut) -> None:
    before = units_left(model)
    attached = shrinking(model)
    Walk(model, attached).go(1, 12)
    left = {n: count / before[n] for n, count in units_left(attached.finish()).items() if n.endswith("ffn")}  # type: ignore[arg-type]
    assert max(left.values()) - min(left.values()) <= 0.06  # eight of 192, and of 320


@pytest.mark.parametrize("at", [2, 8])
def test_a_broken_off_training_is_the_unbroken_one(at: int, model: Donut) -> None:
    equal, kept = broken_off(model, lambda m: shrinking(cast(Donut, m)), 12, at)
    assert equal
    assert kept == 2 * sum(group.kind in ("ffn", "heads") for group in groups(model))


def test_a_unit_that_comes_back_is_told(model: Donut) -> None:
    attached = shrinking(model)
    Walk(model, attached).go(1, 12)
    with torch.no_grad():
        model.decoder.model.decoder.layers[0].fc1.bias.add_(1e-9)
    with pytest.raises(RuntimeError, match=r"^units that are gone came back to life$"):
        attached.check()


def test_a_ramp_that_has_not_come_to_its_end_is_told(model: Donut) -> None:
    attached = shrinking(model)
    Walk(model, attached).go(1, 4)
    with pytest.raises(RuntimeError, match=r"^100.0% of the parameters are left, and not 75.0%$"):
        attached.check()


def test_a_budget_that_units_cannot_meet_is_refused_before_anything_is_trained(model: Donut) -> None:
    before = weights(model)
    with pytest.raises(UserError, match=r"^the nearest to 1.0% of the parameters that can be left is \d+\.\d%$"):
        UnitMask(model, 0.01)
    assert same(weights(model), before)


def test_a_wrong_option_is_refused() -> None:
    with pytest.raises(UserError, match="ratio 1 is neither"):
        Homotopy(1, RAMP)
    with pytest.raises(UserError, match=r"^smoothing=1 is no weight of the past"):
        Homotopy(0.5, RAMP, smoothing=1)


def test_the_row_says_what_it_is(model: Donut) -> None:
    assert (STRATEGY.name, STRATEGY.protocols) == ("homodistil", ("task",))
    assert str(STRATEGY.constraint) == "units that matter least cut to 75.0% from 5% to 50% of the training"
    before = weights(model)
    assert STRATEGY.constraint is not None
    STRATEGY.constraint.attach(model, SPAN)
    assert same(weights(model), before)
