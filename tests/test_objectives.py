"""What the objectives are by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmark import (
    CrossEntropy,
    FeatureDistillation,
    LogitDistillation,
    Outputs,
    UserError,
)


def log_softmax(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = rows - rows.max(-1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return logs


class TestObjectives:
    """Three documents of five tokens and a vocabulary of seven; two tokens lie beyond the end."""

    @pytest.fixture
    def student(self) -> torch.Tensor:
        return torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)).mul_(3).requires_grad_()

    @pytest.fixture
    def teacher(self) -> torch.Tensor:
        return torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(1)).mul_(3)

    @pytest.fixture
    def labels(self) -> torch.Tensor:
        labels = torch.randint(0, 7, (3, 5), generator=torch.Generator().manual_seed(2))
        labels[0, 3:] = -100
        return labels

    def test_cross_entropy_is_the_mean_over_tokens(self, student: torch.Tensor, labels: torch.Tensor) -> None:
        kept = (labels != -100).numpy()
        logs = log_softmax(student.detach().numpy()[kept].astype(np.float64))
        by_hand = -logs[np.arange(13), labels.numpy()[kept]].mean()
        assert float(CrossEntropy()(Outputs(student.detach()), None, labels)) == pytest.approx(by_hand, rel=1e-5)
        assert CrossEntropy().teaching == "none"

    @pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
    @pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
    def test_distillation_is_hintons(
        self, temperature: float, alpha: float, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor
    ) -> None:
        kept = (labels != -100).numpy()
        ours, theirs = (logits.detach().numpy()[kept].astype(np.float64) for logits in (student, teacher))
        hard = -log_softmax(ours)[np.arange(13), labels.numpy()[kept]].mean()
        goal = log_softmax(theirs / temperature)
        soft = (np.exp(goal) * (goal - log_softmax(ours / temperature))).sum(-1).mean()
        by_hand = alpha * hard + (1 - alpha) * temperature**2 * soft
        objective = LogitDistillation(temperature=temperature, alpha=alpha)
        assert float(objective(Outputs(student.detach()), Outputs(teacher), labels)) == pytest.approx(by_hand, rel=1e-5)

    def test_with_alpha_1_it_is_cross_entropy(
        self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor
    ) -> None:
        ours = Outputs(student.detach())
        distilled = LogitDistillation(alpha=1.0)(ours, Outputs(teacher), labels)
        assert float(distilled) == pytest.approx(float(CrossEntropy()(ours, None, labels)))

    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    def test_a_student_that_is_the_teacher_learns_nothing_more(
        self, temperature: float, student: torch.Tensor, labels: torch.Tensor
    ) -> None:
        objective = LogitDistillation(temperature=temperature, alpha=0.0)
        loss = objective(Outputs(student), Outputs(student.detach().clone()), labels)
        torch.autograd.backward(loss)
        assert student.grad is not None
        assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
        assert float(student.grad.abs().max()) < 1e-6

    def test_it_draws_the_student_to_the_teacher(
        self, student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor
    ) -> None:
        objective = LogitDistillation(alpha=0.0)
        optimizer = torch.optim.Adam([student], lr=0.1)
        before = float(objective(Outputs(student.detach()), Outputs(teacher), labels))
        for _ in range(200):
            optimizer.zero_grad()
            torch.autograd.backward(objective(Outputs(student), Outputs(teacher), labels))
            optimizer.step()
        kept = labels != -100
        assert float(objective(Outputs(student.detach()), Outputs(teacher), labels)) < 0.01 * before
        assert torch.equal(student[kept].argmax(-1), teacher[kept].argmax(-1))

    @pytest.mark.parametrize("objective", [CrossEntropy(), LogitDistillation(), LogitDistillation(alpha=0.0)])
    def test_what_lies_beyond_the_end_does_not_count(
        self,
        objective: CrossEntropy | LogitDistillation,
        student: torch.Tensor,
        teacher: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        beyond = labels == -100
        loss = objective(Outputs(student), Outputs(teacher), labels)
        torch.autograd.backward(loss)
        assert student.grad is not None
        assert (student.grad[beyond] == 0).all()
        assert (student.grad[~beyond] != 0).any()
        other, others = student.detach().clone(), teacher.clone()
        other[beyond], others[beyond] = 50.0, -50.0
        assert float(objective(Outputs(other), Outputs(others), labels)) == pytest.approx(float(loss.detach()))

    @pytest.mark.parametrize("objective", [CrossEntropy(), LogitDistillation()])
    def test_bfloat16_logits_are_summed_in_float32(
        self,
        objective: CrossEntropy | LogitDistillation,
        student: torch.Tensor,
        teacher: torch.Tensor,
        labels: torch.Tensor,
    ) -> None:
        ours, theirs = student.detach().bfloat16(), teacher.bfloat16()
        loss = objective(Outputs(ours), Outputs(theirs), labels)
        assert loss.dtype == torch.float32
        assert float(loss) == pytest.approx(
            float(objective(Outputs(ours.float()), Outputs(theirs.float()), labels)), rel=1e-6
        )

    @pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
    def test_a_temperature_that_is_none_is_refused(self, temperature: float) -> None:
        with pytest.raises(UserError, match="temperature"):
            LogitDistillation(temperature=temperature)

    @pytest.mark.parametrize("alpha", [-0.1, 1.1, 2.0, float("nan")])
    def test_an_alpha_that_is_no_share_is_refused(self, alpha: float) -> None:
        with pytest.raises(UserError, match="alpha"):
            LogitDistillation(alpha=alpha)

    def test_distillation_without_a_teacher_is_told(self, student: torch.Tensor, labels: torch.Tensor) -> None:
        for objective in (LogitDistillation(), FeatureDistillation()):
            with pytest.raises(ValueError, match="teacher"):
                objective(Outputs(student), None, labels)


class TestFeatureDistillation:
    """Two documents of three tokens and four cells; the teacher has two stages and four layers of width 6."""

    @pytest.fixture
    def labels(self) -> torch.Tensor:
        return torch.tensor([[1, 2, -100], [3, 1, 0]])

    @staticmethod
    def outputs(seed: int, layers: int, width: int) -> Outputs:
        generator = torch.Generator().manual_seed(seed)
        encoder = tuple(torch.randn(2, 4, width, generator=generator) for _ in range(2))
        decoder = tuple(torch.randn(2, 3, width, generator=generator) for _ in range(layers))
        return Outputs(torch.randn(2, 3, 5, generator=generator), encoder, decoder)

    def missing(self, student: Outputs, teacher: Outputs, labels: torch.Tensor) -> float:
        """The features' part of the loss, by difference."""
        logits = LogitDistillation()(student, teacher, labels)
        return float(FeatureDistillation(weight=3.0)(student, teacher, labels) - logits) / 3

    def test_it_is_the_distance_over_the_variance(self, labels: torch.Tensor) -> None:
        student, teacher = self.outputs(0, 4, 6), self.outputs(1, 4, 6)
        kept = (labels != -100).numpy()
        shares = []
        for ours, goal in zip(student.encoder + student.decoder, teacher.encoder + teacher.decoder, strict=True):
            rows = np.ones((2, 4), bool) if ours.shape[1] == 4 else kept
            a, b = ours.double().numpy()[rows], goal.double().numpy()[rows]
            shares.append(((a - b) ** 2).mean() / b.var(0).mean())
        assert self.missing(student, teacher, labels) == pytest.approx(np.mean(shares), rel=1e-5)

    def test_the_teacher_itself_misses_nothing(self, labels: torch.Tensor) -> None:
        teacher = self.outputs(1, 4, 6)
        assert self.missing(teacher, teacher, labels) == pytest.approx(0.0, abs=1e-6)

    def test_tokens_beyond_the_end_do_not_count(self, labels: torch.Tensor) -> None:
        student, teacher = self.outputs(0, 4, 6), self.outputs(1, 4, 6)
        before = self.missing(student, teacher, labels)
        for layer in student.decoder:
            layer[0, 2] = 99.0
        assert self.missing(student, teacher, labels) == pytest.approx(before, rel=1e-6)

    def test_fewer_layers_take_every_second_of_the_teachers(self, labels: torch.Tensor) -> None:
        teacher = self.outputs(1, 4, 6)
        student = Outputs(teacher.logits, teacher.encoder, (teacher.decoder[1], teacher.decoder[3]))
        assert self.missing(student, teacher, labels) == pytest.approx(0.0, abs=1e-6)

    def test_a_narrow_student_is_judged_by_what_can_be_read_from_it(self) -> None:
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(8, 50, 4, generator=generator)
        wide = features @ torch.randn(4, 6, generator=generator) + 2
        labels, logits = torch.ones(8, 50, dtype=torch.long), torch.zeros(8, 50, 5)
        teacher = Outputs(logits, (wide,), (wide,))
        assert self.missing(Outputs(logits, (features,), (features,)), teacher, labels) < 0.01
        noise = torch.randn(8, 50, 4, generator=generator)
        assert self.missing(Outputs(logits, (noise,), (noise,)), teacher, labels) > 0.9

    def test_the_map_is_kept_small_by_a_thousandth(self) -> None:
        """Of a feature that hardly varies little is read: what least squares finds with the ridge as more rows."""
        generator = torch.Generator().manual_seed(0)
        hidden = torch.randn(1, 40, 3, generator=generator)
        features, goal = hidden * torch.tensor([3.0, 3.0, 0.1]), hidden[..., 1:] + 1
        labels, logits = torch.ones(1, 40, dtype=torch.long), torch.zeros(1, 40, 4)
        rows = np.concatenate([features[0].double().numpy(), np.ones((40, 1))], 1)
        ridge = 1e-3 * np.diag(rows.T @ rows).mean()
        truth = goal[0].double().numpy()
        solution, *_ = np.linalg.lstsq(
            np.concatenate([rows, np.sqrt(ridge) * np.eye(4)]), np.concatenate([truth, np.zeros((4, 2))])
        )
        share = ((truth - rows @ solution) ** 2).mean() / truth.var(0).mean()
        found = self.missing(Outputs(logits, (features,), (features,)), Outputs(logits, (goal,), (goal,)), labels)
        assert share > 0.01
        assert found == pytest.approx(share, rel=1e-3)

    def test_its_gradient_is_that_of_the_best_map(self) -> None:
        """By finite differences through the fit itself: the map need not be followed."""
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(1, 40, 3, generator=generator)
        teacher = Outputs(torch.zeros(1, 40, 5), (torch.randn(1, 40, 6, generator=generator),), ())
        labels = torch.ones(1, 40, dtype=torch.long)
        followed = features.clone().requires_grad_()
        objective = FeatureDistillation(weight=1.0, alpha=0.0)
        torch.autograd.backward(objective(Outputs(teacher.logits, (followed,), ()), teacher, labels))
        assert followed.grad is not None
        step = torch.zeros_like(features)
        step[0, 7, 1] = 0.05
        losses = [
            float(objective(Outputs(teacher.logits, (moved,), ()), teacher, labels))
            for moved in (features + step, features - step)
        ]
        assert float(followed.grad[0, 7, 1]) == pytest.approx((losses[0] - losses[1]) / 0.1, rel=0.05, abs=2e-5)

    @pytest.mark.parametrize("weight", [0.0, 0.5])
    def test_a_small_weight_is_taken(self, weight: float) -> None:
        assert FeatureDistillation(weight=weight).weight == weight

    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
    def test_a_weight_that_is_none_is_refused(self, weight: float) -> None:
        with pytest.raises(UserError, match="weight"):
            FeatureDistillation(weight=weight)
