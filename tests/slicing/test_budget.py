"""What a budget leaves, and in which order things go."""

from __future__ import annotations

from copy import deepcopy
from itertools import pairwise

import pytest
import torch

from benchmark.models.donut import Donut
from benchmark.models.macs import count_macs
from benchmark.scales import TINY
from benchmark.slicing.budget import Scores, cut_to
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import Group
from benchmark.slicing.importance import magnitude, random
from benchmark.slicing.options import Allocation, Kind, Measure

PAGE = (TINY.height, TINY.width)
TABLES = ("embed_tokens.weight", "embed_positions.weight", "bridge.rows", "bridge.columns")


def parameters(model: Donut) -> int:
    """All but the tables, which are said by name."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.endswith(TABLES))


def macs(model: Donut) -> int:
    return count_macs(model, torch.zeros(1, 3, *PAGE), 5, 64).total


def widths(model: Donut, kind: Kind) -> dict[str, int]:
    return {group.name: group.count for group in units_of(model, kind)}


@pytest.mark.parametrize("allocation", ["uniform", "global"])
@pytest.mark.parametrize(
    ("kind", "share", "of"),
    [
        ("ffn", 0.9, "parameters"),
        ("ffn", 0.6, "parameters"),
        ("ffn", 0.7, "macs"),
        ("heads", 0.8, "parameters"),
        ("heads", 0.85, "macs"),
        ("width", 0.5, "parameters"),
        ("width", 0.7, "macs"),
    ],
)
def test_it_is_met_within_two_percent(
    kind: Kind, share: float, of: Measure, allocation: Allocation, plain: Donut
) -> None:
    count = parameters if of == "parameters" else macs
    before = count(plain)
    left = cut_to(plain, random(units_of(plain, kind), 0), share, of, allocation, PAGE)
    print(f"{kind} {share:.0%} of the {of}: {left:.2%}")
    assert left == count(plain) / before
    assert left == pytest.approx(share, rel=0.02)


def test_of_layers_any_number_may_go_from_any_stack(plain: Donut) -> None:
    left = cut_to(plain, random(units_of(plain, "layers"), 0), 0.62, "parameters", "uniform", PAGE)
    assert left == pytest.approx(0.62, rel=0.02)


def test_what_nothing_comes_near_is_told_with_what_is_nearest(plain: Donut) -> None:
    """A layer is a tenth of the model."""
    with pytest.raises(ValueError, match=r"the nearest to 96\.0% of the parameters that can be left is \d+\.\d%"):
        cut_to(plain, random(units_of(plain, "layers"), 0), 0.96, "parameters", "uniform", PAGE)


@pytest.mark.parametrize("kind", ["ffn", "width"])
def test_what_stays_is_a_multiple_of_eight(kind: Kind, plain: Donut) -> None:
    cut_to(plain, magnitude(plain, units_of(plain, kind)), 0.77, "parameters", "global", PAGE)
    assert {width % 8 for width in widths(plain, kind).values()} == {0}


def test_a_uniform_allocation_takes_the_same_share_everywhere(plain: Donut) -> None:
    before = widths(plain, "ffn")
    cut_to(plain, magnitude(plain, units_of(plain, "ffn")), 0.75, "parameters", "uniform", PAGE)
    shares = [width / before[name] for name, width in widths(plain, "ffn").items()]
    assert max(shares) - min(shares) <= 8 / min(before.values())


def test_a_global_one_takes_what_is_worth_least_beside_its_group(plain: Donut) -> None:
    groups = units_of(plain, "ffn")
    scores = {group: torch.ones(group.count) for group in groups}
    scores[groups[0]][:96] = 0.01
    cut_to(plain, scores, 0.995, "parameters", "global", PAGE)
    first, *others = widths(plain, "ffn").values()
    assert first < groups[0].count
    assert others == [group.count for group in groups[1:]]


def test_the_lowest_go_and_the_rest_keeps_its_order(plain: Donut) -> None:
    groups = units_of(plain, "heads")
    scores: Scores = {group: torch.arange(group.count, 0, -1.0) for group in groups}
    before = plain.decoder.model.decoder.layers[0].self_attn.v_proj.weight.detach().clone()
    cut_to(plain, scores, 0.8, "parameters", "uniform", PAGE)
    after = plain.decoder.model.decoder.layers[0].self_attn.v_proj.weight
    assert torch.equal(after, before[: len(after)])


def test_more_of_a_budget_is_more_of_the_same(plain: Donut) -> None:
    groups, sizes = units_of(plain, "ffn"), []
    for share in (0.6, 0.7, 0.8):
        sizes.append([len(kept) for kept in _kept(plain, {g: torch.rand(g.count) for g in groups}, share)])
    for smaller, larger in pairwise(sizes):
        assert all(a <= b for a, b in zip(smaller, larger, strict=True))


def _kept(model: Donut, scores: dict[Group, torch.Tensor], share: float) -> list[range]:
    copied = deepcopy(model)
    cut_to(copied, scores, share, "parameters", "uniform", PAGE)
    return [range(width) for width in widths(copied, "ffn").values()]


def test_something_stays_everywhere(plain: Donut) -> None:
    for kind in ("ffn", "heads", "width"):
        with pytest.raises(ValueError, match=r"% of the parameters stay at least, which is more than 0.1%"):
            cut_to(plain, random(units_of(plain, kind), 0), 0.001, "parameters", "global", PAGE)


def test_what_cannot_be_met_changes_nothing(plain: Donut) -> None:
    before = parameters(plain)
    with pytest.raises(ValueError, match="stay at least"):
        cut_to(plain, random(units_of(plain, "layers"), 0), 0.1, "parameters", "uniform", PAGE)
    assert parameters(plain) == before
