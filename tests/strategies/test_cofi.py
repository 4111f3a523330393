"""Gates on units and sublayers that learn which of them go."""

from __future__ import annotations

from typing import cast
from zlib import crc32

import pytest
import torch

from benchmark import Span, UnitMask, UserError
from benchmark.models.donut import Donut
from benchmark.slicing.donut import groups
from donutbench_strategies import cofi
from donutbench_strategies.cofi import Gates, Gating
from tests.strategies.conftest import OfReceipts
from tests.strategies.steps import Walk, broken_off, same, size, weights

(STRATEGY,) = cofi.donutbench_register_strategies()
SPAN = Span(False, 12)
FFN = "decoder.model.decoder.layers.1.ffn"


class Pulled(Gating):
    """Gates with the penalty for a loss, and a pull that differs from gate to gate."""

    def before_step(self, step: int) -> None:
        penalty = self.penalty()
        if penalty is not None:
            loss = 100 * penalty
            for key, gates in self._log_alpha.items():
                generator = torch.Generator().manual_seed(crc32(key.encode()))
                loss = loss + (gates * torch.randn(gates.shape, generator=generator)).sum()
            loss.backward()


def gating(model: Donut, ratio: float = 0.75, kind: type[Gating] = Gating) -> Gating:
    return kind(model, SPAN, Gates(ratio))


def logits(model: Donut, references: OfReceipts) -> torch.Tensor:
    some = references.calibration(2)
    with torch.no_grad():
        output = model(pixel_values=some.pixel_values, decoder_input_ids=some.decoder_input_ids, use_cache=False)
    found: torch.Tensor = output.logits
    return found


def test_a_gate_is_open_as_often_as_it_is_expected_to_be(model: Donut) -> None:
    """The closed form of the probability, against many draws of the gate itself."""
    attached, chances = gating(model), torch.linspace(-4, 2, 5)
    attached._log_alpha = {
        key: chances.clone() if key == f"unit.{FFN}" else gates for key, gates in attached._log_alpha.items()
    }
    attached._log_alpha[f"sublayer.{FFN}"] = torch.tensor([-0.5])
    draws = 4000
    opened = torch.zeros(5)
    for _ in range(draws):
        attached._draw()
        opened += attached._gate(FFN, training=True) > 0
    torch.testing.assert_close(opened / draws, attached.expected()[FFN], atol=0.03, rtol=0)


def test_gates_draw_in_training_alone_and_once_a_step(model: Donut) -> None:
    attached = gating(model)
    drawn = attached._gate(FFN, training=True)
    assert torch.equal(drawn, attached._gate(FFN, training=True))
    assert torch.equal(attached._gate(FFN, training=False), torch.ones(320))
    assert 0 < int((drawn < 1).sum()) < 320
    attached.after_step(1)
    assert not torch.equal(drawn, attached._gate(FFN, training=True))


def test_the_loss_asks_for_fewer_the_longer_it_takes(model: Donut) -> None:
    attached = gating(model)
    left = float(attached._units.left(attached.expected()).detach())
    attached._multipliers = torch.tensor([2.0, 3.0])
    for step, target in ((0, left), (1, left - (left - 0.75) / 5), (5, 0.75), (7, 0.75)):
        attached._step = step
        penalty = attached.penalty()
        assert penalty is not None
        assert float(penalty.detach()) == pytest.approx(2 * (left - target) + 3 * (left - target) ** 2, rel=1e-4)


def test_what_is_expected_to_be_left_counts_the_parameters_of_what_stays(model: Donut) -> None:
    units = UnitMask(model, 0.75)
    alive = {name: torch.ones(len(sizes)) for name, sizes in units.sizes.items()}
    assert float(units.left(alive)) == 1
    alive[FFN][:160] = 0
    layer = model.decoder.model.decoder.layers[1]
    gone = 160 * (layer.fc1.in_features + 1 + layer.fc2.out_features)
    assert float(units.left(alive)) == pytest.approx(1 - gone / size(model), rel=1e-6)


def test_gates_become_a_part_of_the_weights(model: Donut, references: OfReceipts) -> None:
    units, before = UnitMask(model, 0.75), logits(model, references)
    generator = torch.Generator().manual_seed(0)
    values = {name: torch.rand(len(sizes), generator=generator) for name, sizes in units.sizes.items()}
    handles = units.gate(lambda name, training: values[name])
    gated = logits(model, references)
    assert not torch.allclose(gated, before, atol=0.1)
    for handle in handles:
        handle.remove()
    assert torch.equal(logits(model, references), before)
    units.fold(values)
    torch.testing.assert_close(logits(model, references), gated, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("ratio", [0.9, 0.75, 0.5])
def test_what_is_cut_computes_what_was_masked(ratio: float, model: Donut, references: OfReceipts) -> None:
    whole, before = size(model), {group.name: group.count for group in groups(model)}
    attached = gating(model, ratio, Pulled)
    Walk(model, attached, rate=1e-4).go(1, 12)
    attached.check()
    masked = logits(model, references)
    smaller = attached.finish()
    assert isinstance(smaller, Donut)
    assert size(smaller) / whole == pytest.approx(ratio, rel=0.02)
    torch.testing.assert_close(logits(smaller, references), masked, rtol=1e-4, atol=1e-4)
    shares = {group.name: group.count / before[group.name] for group in groups(smaller) if group.kind == "ffn"}
    assert max(shares.values()) - min(shares.values()) > 0.1  # what goes is learnt, and not the same everywhere


def test_those_go_that_are_expected_least(model: Donut) -> None:
    attached = gating(model, kind=Pulled)
    Walk(model, attached).go(1, 6)
    expected = attached.expected()
    gone = {name: attached.state()[f"gone.{name}"] for name in expected}
    assert any(of.any() for of in gone.values())
    for name, chances in expected.items():
        if gone[name].any():
            assert chances[gone[name]].max() <= chances[~gone[name]].min()


def test_gates_are_gone_when_they_have_chosen(model: Donut) -> None:
    attached = gating(model, kind=Pulled)
    walk = Walk(model, attached)
    walk.go(1, 5)
    assert any(module._forward_pre_hooks for module in model.modules())
    assert attached.penalty() is not None
    walk.go(6, 6)
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert attached.penalty() is None


@pytest.mark.parametrize("at", [1, 4, 6, 9])
def test_a_broken_off_training_is_the_unbroken_one(at: int, model: Donut) -> None:
    equal, _ = broken_off(model, lambda m: gating(cast(Donut, m), kind=Pulled), 12, at)
    assert equal


def test_a_wrong_option_is_refused(model: Donut) -> None:
    with pytest.raises(UserError, match="ratio 1 is neither"):
        Gates(1)
    with pytest.raises(UserError, match=r"^ramp=0.6 and end=0.5: 0 < ramp <= end <= 1 has to hold$"):
        Gates(0.5, ramp=0.6)
    with pytest.raises(UserError, match=r"^the nearest to 1.0% of the parameters"):
        Gates(0.01).attach(model, SPAN)


def test_the_row_says_what_it_is(model: Donut) -> None:
    assert str(STRATEGY.constraint) == "units by learnt gates cut to 75.0% by 50% of the training"
    before = weights(model)
    assert STRATEGY.constraint is not None
    STRATEGY.constraint.attach(model, SPAN)
    assert same(weights(model), before)
