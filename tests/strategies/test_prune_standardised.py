"""Standardised logits, against scipy, and what they do not see."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import rel_entr, softmax
from scipy.stats import zscore

from benchmark import CrossEntropy, LogitDistillation, Outputs
from donutbench_strategies.prune_standardised import StandardisedDistillation, standardised

LABELS = torch.tensor([[1, 4, 4, -100], [0, 4, 1, 6]])
"""Two documents of four tokens, of a vocabulary of nine; one lies beyond the end."""


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(seed)).mul_(2)


def soft(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 2.0) -> float:
    return float(StandardisedDistillation(temperature, alpha=0.0)(Outputs(student), Outputs(teacher), LABELS))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_it_is_the_divergence_of_standardised_logits(temperature: float) -> None:
    kept = (LABELS != -100).numpy()
    ours, theirs = (
        softmax(zscore(drawn(seed).numpy()[kept].astype(float), axis=1) / temperature, axis=1) for seed in (0, 1)
    )
    by_hand = temperature**2 * rel_entr(theirs, ours).sum(1).mean()
    assert soft(drawn(0), drawn(1), temperature) == pytest.approx(by_hand, rel=1e-4)
    hard = float(CrossEntropy()(Outputs(drawn(0)), None, LABELS))
    both = StandardisedDistillation(temperature, alpha=0.3)(Outputs(drawn(0)), Outputs(drawn(1)), LABELS)
    assert float(both) == pytest.approx(0.3 * hard + 0.7 * by_hand, rel=1e-4)


floats = st.lists(st.floats(0.1, 10.0), min_size=8, max_size=8)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), floats, floats, st.booleans())
def test_it_sees_no_shift_and_no_scale_of_any_token(
    seed: int, scales: list[float], shifts: list[float], of_the_student: bool
) -> None:
    scale, shift = (torch.tensor(values).view(2, 4, 1) for values in (scales, shifts))
    student, teacher = drawn(seed), drawn(seed + 1)
    changed = (scale * student + shift, teacher) if of_the_student else (student, scale * teacher - shift)
    assert soft(*changed) == pytest.approx(soft(student, teacher), rel=1e-3, abs=1e-5)


def test_plain_distillation_sees_both_the_scale_and_the_sign() -> None:
    plain = LogitDistillation(alpha=0.0)
    same, larger = (float(plain(Outputs(drawn(0)), Outputs(k * drawn(0)), LABELS)) for k in (1, 3))
    assert larger > same + 0.1
    assert soft(drawn(0), 3 * drawn(0)) == pytest.approx(0, abs=1e-5)
    assert soft(drawn(0), -drawn(0)) > 0.5


def test_tokens_have_mean_0_and_variance_1_and_nothing_is_not_divided() -> None:
    found = standardised(torch.cat([drawn(0), torch.full((1, 4, 9), 7.0)])).numpy()
    assert np.allclose(found[:2], zscore(drawn(0).numpy(), axis=-1), atol=1e-4)
    assert (found[2] == 0).all()


def test_it_says_what_it_is() -> None:
    assert str(StandardisedDistillation()) == f"{LogitDistillation()}, logits standardised"
