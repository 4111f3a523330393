"""The divergence of where the page is read, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from benchmark import LogitDistillation, Outputs, UserError
from donutbench_strategies.prune_attention import AttentionDistillation, divergence

LABELS = torch.tensor([[1, 2, -100], [3, 1, 0]])
"""Two documents of three tokens; one lies beyond the end."""


def outputs(seed: int, layers: int, heads: int, cells: int = 7) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    cross = tuple(torch.randn(2, heads, 3, cells, generator=generator).mul(2).softmax(-1) for _ in range(layers))
    return Outputs(torch.randn(2, 3, 5, generator=generator), cross=cross)


def by_hand(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """KL in nats of each kept token and head."""
    ours, theirs = student.double().numpy(), teacher.double().numpy()
    documents, tokens = np.nonzero((LABELS != -100).numpy())
    return float(
        np.mean(
            [
                entropy(theirs[d, head, t], ours[d, head, t])
                for d, t in zip(documents, tokens, strict=True)
                for head in range(ours.shape[1])
            ]
        )
    )


def transferred(student: Outputs, teacher: Outputs) -> float:
    """The attentions' part of the loss, by difference."""
    whole = AttentionDistillation(weight=3.0)(student, teacher, LABELS)
    return float(whole - LogitDistillation()(student, teacher, LABELS)) / 3


def test_every_head_of_every_layer_counts_the_same() -> None:
    student, teacher = outputs(0, 4, 3), outputs(1, 4, 3)
    expected = np.mean([by_hand(*pair) for pair in zip(student.cross, teacher.cross, strict=True)])
    assert transferred(student, teacher) == pytest.approx(expected, rel=1e-4)


def test_a_student_of_fewer_layers_takes_every_nth_and_of_fewer_heads_their_mean() -> None:
    student, teacher = outputs(0, 2, 2), outputs(1, 4, 3)
    means = [[layer.mean(1, keepdim=True) for layer in side.cross] for side in (student, teacher)]
    expected = (by_hand(means[0][0], means[1][1]) + by_hand(means[0][1], means[1][3])) / 2
    assert transferred(student, teacher) == pytest.approx(expected, rel=1e-4)


def test_a_student_that_is_the_teacher_has_nothing_to_learn() -> None:
    scores = torch.randn(2, 3, 3, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = divergence(scores.softmax(-1), scores.detach().softmax(-1), LABELS != -100)
    (slope,) = torch.autograd.grad(loss, scores)
    assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
    assert slope.abs().max() < 1e-6


def test_its_gradient_is_the_difference_of_the_two() -> None:
    """dKL/dscores = student - teacher, for each of the 5 tokens and 3 heads."""
    scores, teacher = (torch.randn(2, 3, 3, 7, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    scores.requires_grad_()
    loss = divergence(scores.softmax(-1), teacher.softmax(-1), LABELS != -100)
    (slope,) = torch.autograd.grad(loss, scores)
    expected = (scores.detach().softmax(-1) - teacher.softmax(-1)) / 15
    expected[0, :, 2] = 0  # beyond the end
    torch.testing.assert_close(slope, expected, atol=1e-6, rtol=1e-4)


def test_what_is_never_read_is_no_infinity() -> None:
    """In half precision much of the teacher's attention is 0, and a sharp student's too."""
    scores = torch.tensor([300.0, 0.0, 0.0]).expand(2, 1, 3, 3).clone().requires_grad_()
    teacher = torch.tensor([0.0, 1.0, 0.0]).expand(2, 1, 3, 3)
    loss = divergence(scores.softmax(-1), teacher, LABELS != -100)
    (slope,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite()
    assert slope.isfinite().all()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(UserError, match="attentions need a weight of at least 0"):
        AttentionDistillation(weight=weight)


def test_it_says_what_it_is() -> None:
    assert str(AttentionDistillation(weight=2.0)) == f"{LogitDistillation()} + 2 cross-attention"
    assert AttentionDistillation().teaching == "attentions"
