"""Relations between and within classes, against numpy, and what they do not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from benchmark import CrossEntropy, Outputs, UserError
from donutbench_strategies.prune_dist import RelationDistillation, correlation

LABELS = torch.tensor([[1, 4, 4, -100], [0, 4, 1, 6]])
"""Two documents of four tokens, of a vocabulary of nine; one lies beyond the end."""


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(seed)).mul_(2)


def relations(student: torch.Tensor, teacher: torch.Tensor, **options: float) -> float:
    """The loss without its cross-entropy."""
    whole = RelationDistillation(**options)(Outputs(student), Outputs(teacher), LABELS)
    return float(whole - CrossEntropy()(Outputs(student), None, LABELS))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_it_is_one_minus_the_correlation_of_rows_and_of_columns_in_use(temperature: float) -> None:
    kept = (LABELS != -100).numpy()
    ours, theirs = (softmax(drawn(seed).numpy()[kept].astype(float) / temperature, axis=1) for seed in (0, 1))
    inter = np.mean([1 - np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)])
    intra = np.mean([1 - np.corrcoef(ours[:, token], theirs[:, token])[0, 1] for token in (0, 1, 4, 6)])
    for weights, by_hand in (((1, 1), inter + intra), ((1, 0), inter), ((0, 3), 3 * intra)):
        options = {"temperature": temperature, "inter": float(weights[0]), "intra": float(weights[1])}
        assert relations(drawn(0), drawn(1), **options) == pytest.approx(temperature**2 * by_hand, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.lists(st.floats(0.05, 1.0), min_size=8, max_size=8))
def test_relations_between_classes_do_not_see_a_positive_affine_map(seed: int, shares: list[float]) -> None:
    """A teacher of which every token is mixed with what knows nothing, each by a share of its own."""
    share = torch.tensor(shares).view(2, 4, 1)
    mixed = (share * drawn(seed).softmax(-1) + (1 - share) / 9).log()
    options = {"temperature": 1.0, "intra": 0.0}
    plain = relations(drawn(seed + 1), drawn(seed), **options)
    assert relations(drawn(seed + 1), mixed, **options) == pytest.approx(plain, abs=1e-4)


def test_those_within_classes_see_it_unless_it_is_one_for_all() -> None:
    options = {"temperature": 1.0, "inter": 0.0}
    plain = relations(drawn(0), drawn(1), **options)
    for share, same in ((torch.full((8,), 0.3), True), (torch.linspace(0.1, 1, 8), False)):
        share = share.view(2, 4, 1)
        mixed = (share * drawn(1).softmax(-1) + (1 - share) / 9).log()
        assert (relations(drawn(0), mixed, **options) == pytest.approx(plain, abs=1e-4)) is same


def test_a_student_that_is_the_teacher_has_nothing_to_learn() -> None:
    student = drawn(0).requires_grad_()
    loss = RelationDistillation()(Outputs(student), Outputs(drawn(0)), LABELS)
    (slope,) = torch.autograd.grad(loss - CrossEntropy()(Outputs(student), None, LABELS), student)
    assert relations(drawn(0), drawn(0)) == pytest.approx(0, abs=1e-5)
    assert slope.abs().max() < 1e-5


def test_a_teacher_that_tells_nothing_apart_gives_a_loss_all_the_same() -> None:
    student = drawn(0).requires_grad_()
    loss = RelationDistillation()(Outputs(student), Outputs(torch.zeros(2, 4, 9)), LABELS)
    (slope,) = torch.autograd.grad(loss, student)
    assert loss.isfinite()
    assert slope.isfinite().all()
    assert float(correlation(torch.arange(5.0), torch.ones(5), 0)) == 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(UserError, match="temperature above 0"):
        RelationDistillation(temperature)


def test_it_says_what_it_is_and_that_it_needs_a_whole_batch() -> None:
    assert str(RelationDistillation()) == (
        "cross-entropy + relation distillation, 1 between and 1 within classes, T = 2"
    )
    assert RelationDistillation().whole_batch
