"""Truncated SVD, against Eckart and Young."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark import UserError, prunable
from benchmark.models.checkpoint import fingerprint
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.factored import ranks_of
from benchmark.models.parameters import non_embeddings
from benchmark.scales import TINY
from donutbench_strategies import low_rank
from donutbench_strategies.low_rank import ALONE, Truncated
from tests.strategies.conftest import OfReceipts


def size(model: Any) -> int:
    return sum(parameter.numel() for parameter in non_embeddings(model).values())


def matrix(outputs: int, inputs: int, seed: int) -> torch.Tensor:
    """In float64, of singular values that differ."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.randn(outputs, inputs, generator=generator, dtype=torch.float64)
    return whole * torch.linspace(0.1, 3, inputs, dtype=torch.float64)


@pytest.mark.parametrize("split", ["even", "up"])
@given(outputs=st.integers(1, 9), inputs=st.integers(1, 9), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_lost_are_the_singular_values_that_go(
    split: str, outputs: int, inputs: int, seed: int, data: st.DataObject
) -> None:
    weight, rank = matrix(outputs, inputs, seed), data.draw(st.integers(1, min(outputs, inputs)))
    down, up = Truncated(split).factors(weight, rank)
    assert (down.shape, up.shape) == ((rank, inputs), (outputs, rank))
    # The squares of singular values are the eigenvalues of W W^T.
    squares = torch.linalg.eigvalsh(weight @ weight.T).clamp(min=0)
    lost = (weight - up @ down).square().sum()
    assert float(lost) == pytest.approx(float(squares[: outputs - rank].sum()), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("rank", [1, 4, 11])
def test_no_other_product_of_that_rank_is_nearer(rank: int) -> None:
    """Not any of random ones, each with the best second factor for its first, nor one that alternates from there."""
    weight = matrix(12, 17, seed=3)
    down, up = Truncated().factors(weight, rank)
    ours = (weight - up @ down).norm()
    for seed in range(50):
        first = torch.randn(12, rank, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        for _ in range(1 + seed % 5):  # alternating least squares
            second = torch.linalg.lstsq(first, weight).solution
            assert (weight - first @ second).norm() >= ours - 1e-9
            first = torch.linalg.lstsq(second.T, weight.T).solution.T


def test_an_even_split_is_even_and_the_other_has_orthonormal_rows() -> None:
    weight = matrix(12, 17, seed=3)
    down, up = Truncated("even").factors(weight, 5)
    assert torch.allclose(down @ down.T, up.T @ up)
    turned, scaled = Truncated("up").factors(weight, 5)
    assert torch.allclose(turned @ turned.T, torch.eye(5, dtype=torch.float64))
    assert torch.allclose(scaled @ turned, up @ down)


def test_of_a_teacher_of_that_rank_nothing_is_lost(references: OfReceipts, receipts: EncodedDocuments) -> None:
    """Its weights made products of the ranks that the budget leaves, by QR and not by an SVD."""
    teacher = references.load("teacher")
    ranks = {f"{name}.weight": rank for name, rank in ranks_of(ALONE.start(references, TINY, 0)).items()}
    with torch.no_grad():
        for name, rank in ranks.items():
            weight = prunable(teacher)[name]
            basis = torch.linalg.qr(weight[:, :rank]).Q
            weight.copy_(basis @ (basis.T @ weight))
    made = replace(references, teacher=teacher)
    low: Any = ALONE.start(made, TINY, 0)
    assert {f"{name}.weight": rank for name, rank in ranks_of(low).items()} == ranks
    seen = references.calibration(2)
    inputs = {"pixel_values": seen.pixel_values, "decoder_input_ids": seen.decoder_input_ids}
    with torch.no_grad():
        assert torch.allclose(low(**inputs).logits, teacher(**inputs).logits, atol=2e-3)


class TestStart:
    @pytest.mark.parametrize("ratio", [0.75, 0.5, 0.25])
    def test_the_budget_is_met(self, ratio: float, references: OfReceipts) -> None:
        before = size(references.teacher)
        start = type(ALONE.start)(Truncated(), ratio)  # type: ignore[call-arg]
        assert size(start(references, TINY, 0)) == pytest.approx(ratio * before, rel=0.02)

    def test_it_is_the_same_twice_and_the_teacher_stays(self, references: OfReceipts) -> None:
        before = fingerprint(references.teacher)
        first, again = (ALONE.start(references, TINY, seed) for seed in (0, 1))
        assert fingerprint(first) == fingerprint(again)  # type: ignore[arg-type]
        assert fingerprint(references.teacher) == before
        assert not ranks_of(references.teacher)
        assert all(weight.is_contiguous() for weight in first.parameters()), "a loaded one would compute otherwise"

    def test_what_is_no_linear_layer_stays(self, references: OfReceipts) -> None:
        low, teacher = dict(ALONE.start(references, TINY, 0).named_parameters()), references.teacher
        for name, weight in teacher.named_parameters():
            if name in low:
                assert torch.equal(low[name], weight)
            else:
                owner, _, kind = name.rpartition(".")
                assert kind == "weight" or torch.equal(low[f"{owner}.up.bias"], weight)


def test_an_unknown_split_is_told() -> None:
    with pytest.raises(UserError, match=r"^unknown split of singular values 'odd': choose from even, up$"):
        Truncated("odd")


def test_rows() -> None:
    alone, distilled = low_rank.donutbench_register_strategies()
    assert (alone.name, distilled.name) == ("low-rank", "low-rank-distill")
    assert str(alone.start) == "teacher, linear layers factored by truncated SVD to 75.0% of its parameters"
    assert alone.protocols == distilled.protocols == ("task",)
    assert (alone.objective, distilled.constraint) == (None, None)
