"""The parts of a strategy: what is pruned and stays pruned, and what the objectives are by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import DonutProcessor

from benchmark import (
    CrossEntropy,
    FeatureDistillation,
    FixedMask,
    LogitDistillation,
    Outputs,
    UserError,
    magnitude_pruned,
    random_pruned,
    reference,
)
from benchmark.models.donut import Donut
from benchmark.models.processor import decoder_inputs, to_pixels
from benchmark.models.pruning import magnitudes, prune_globally, random_scores
from benchmark.parts.starts import Pruned, sparsity_of
from benchmark.scales import TINY
from benchmark.training.pages import Pages

TABLES = ("embed_tokens.weight", "embed_positions.weight", "bridge.rows", "bridge.columns", "lm_head.weight")

Weights = dict[str, torch.Tensor]
Step = Callable[[], None]


def weights(model: nn.Module) -> Weights:
    """All parameters but the tables of tokens and positions: said by name, not by the code under test."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if not name.endswith(TABLES)}


def zeros(model: nn.Module) -> int:
    return sum(int((weight == 0).sum()) for weight in weights(model).values())


def size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in weights(model).values())


@dataclass(frozen=True)
class OneModel:
    """References of which there is one."""

    model: Donut

    def load(self, name: str) -> Donut:
        assert name == "teacher"
        return self.model


class TestPruning:
    @pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, sparsity_of("paper-table"), 0.9])
    @pytest.mark.parametrize("scored", ["magnitude", "random"])
    def test_the_share_of_zeros_is_exact(self, sparsity: float, scored: str, model: Donut) -> None:
        assert zeros(model) == 0
        scores = magnitudes(model) if scored == "magnitude" else random_scores(model, seed=3)
        prune_globally(model, scores, sparsity)
        assert zeros(model) == round(sparsity * size(model))

    def test_ties_do_not_prune_more(self, model: Donut) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.where(weight > 0.05, 2.0, -0.5))
        prune_globally(model, magnitudes(model), 0.4)
        assert zeros(model) == round(0.4 * size(model))

    def test_what_is_zero_already_counts(self, model: Donut) -> None:
        prune_globally(model, magnitudes(model), 0.4)
        prune_globally(model, magnitudes(model), 0.6)
        assert zeros(model) == round(0.6 * size(model))

    def test_only_the_smallest_of_all_layers_go(self, model: Donut) -> None:
        before = weights(model)
        prune_globally(model, magnitudes(model), 0.7)
        after = weights(model)
        gone = torch.cat([before[name][after[name] == 0].abs() for name in before])
        touched = [name for name in before if (after[name] == 0).any()]
        kept = torch.cat([before[name][after[name] != 0].abs() for name in touched])
        assert gone.max() <= kept.min()

    def test_the_threshold_is_one_for_all_layers(self, model: Donut) -> None:
        large, small = (model.decoder.model.decoder.layers[i].fc1.weight for i in (0, 1))
        with torch.no_grad():
            large.add_(large.sign() * 10)
            small.mul_(0.001)
        prune_globally(model, magnitudes(model), 0.5)
        assert not (large == 0).any()
        assert (small == 0).all()

    def test_what_is_kept_is_not_changed(self, model: Donut) -> None:
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        prune_globally(model, magnitudes(model), 0.7)
        for name, weight in model.named_parameters():
            assert torch.equal(weight[weight != 0], before[name][weight != 0])

    @pytest.mark.parametrize("scored", ["magnitude", "random"])
    def test_embeddings_biases_and_norms_are_not_touched(self, scored: str, model: Donut) -> None:
        with torch.no_grad():  # the first to go, if they could
            for name, weight in model.named_parameters():
                if name.endswith((*TABLES, "bias", "bias_table")) or "norm" in name:
                    weight.mul_(1e-9)
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        scores = magnitudes(model) if scored == "magnitude" else random_scores(model, seed=0)
        prune_globally(model, scores, 0.9)
        touched = [name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])]
        assert touched
        for name in touched:
            assert name.endswith(".weight")
            assert not name.endswith(TABLES)
            assert "norm" not in name
        # Attention and feed-forward of both halves, patches and downsampling.
        for part in ("encoder.encoder", "decoder.model", "q_proj", "out_proj", "fc2", "patch_embed", "reduction"):
            assert any(part in name for name in touched), part

    def test_the_tied_head_is_an_embedding(self, model: Donut) -> None:
        assert model.decoder.lm_head.weight is model.decoder.get_input_embeddings().weight
        prune_globally(model, magnitudes(model), 0.9)
        assert (model.decoder.lm_head.weight != 0).all()

    def test_more_than_there_is_cannot_be_pruned(self, model: Donut) -> None:
        with pytest.raises(ValueError, match="prunable"):
            prune_globally(model, magnitudes(model), 0.9999)
        assert zeros(model) == 0


class TestStarts:
    @pytest.mark.parametrize(
        ("target", "sparsity"), [("paper-table", 1 - 37 / 141), ("half", 0.5), ("0.3", 0.3), ("0", 0.0)]
    )
    def test_a_target_is_a_name_or_a_number(self, target: str, sparsity: float) -> None:
        assert sparsity_of(target) == pytest.approx(sparsity)

    @pytest.mark.parametrize("target", ["halv", "", "1", "1.0", "-0.1", "nan", "inf", "50%"])
    def test_any_other_target_is_refused(self, target: str) -> None:
        with pytest.raises(UserError, match="paper-table, half") as caught:
            sparsity_of(target)
        assert repr(target) in str(caught.value)
        with pytest.raises(UserError):
            magnitude_pruned(target)

    @pytest.mark.parametrize("start", [magnitude_pruned(target="half"), random_pruned(target="half")])
    def test_a_start_prunes_the_teacher(self, start: Pruned, model: Donut) -> None:
        before = weights(model)
        pruned = start(OneModel(model), TINY, 0)
        assert zeros(pruned) == round(0.5 * size(pruned))
        same = (torch.equal(p[p != 0], before[name][p != 0]) for name, p in weights(pruned).items())
        assert all(same)

    def test_the_default_target_is_that_of_the_papers_table(self, model: Donut) -> None:
        pruned = magnitude_pruned()(OneModel(model), TINY, 0)
        assert 1 - zeros(pruned) / size(pruned) == pytest.approx(37 / 141, abs=1e-6)

    def test_random_pruning_is_seeded_and_even(self, model: Donut) -> None:
        def masks(seed: int) -> list[torch.Tensor]:
            scores = random_scores(model, seed)
            return [score < 0.7 for score in scores.values()]

        assert all(torch.equal(a, b) for a, b in zip(masks(0), masks(0), strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(masks(0), masks(1), strict=True))
        shares = [float(mask.float().mean()) for mask in masks(0) if mask.numel() > 4000]
        assert shares == pytest.approx([0.7] * len(shares), abs=0.03)

    def test_the_seed_of_the_cell_seeds_random_pruning(self, model: Donut) -> None:
        scores = random_scores(model, 5)
        random_pruned("half")(OneModel(model), TINY, 5)
        pruned = dict(model.named_parameters())
        lost = torch.cat([score[pruned[name] == 0] for name, score in scores.items()])
        left = torch.cat([score[pruned[name] != 0] for name, score in scores.items()])
        assert lost.max() <= left.min()

    def test_a_reference_is_taken_as_it_is(self, model: Donut) -> None:
        assert reference("teacher")(OneModel(model), TINY, 0) is model

    def test_parts_say_what_they_are(self) -> None:
        assert str(reference("small")) == "small"
        assert "73.8" in str(magnitude_pruned())
        assert "random" in str(random_pruned("half"))
        assert "50" in str(random_pruned("half"))
        assert "T = 4" in str(LogitDistillation(temperature=4.0))


class TestFixedMask:
    """On real steps of Adam whose momentum is older than the mask: what revives masked weights."""

    @pytest.fixture
    def step(self, model: Donut, pages: Pages, processor: DonutProcessor) -> Step:
        """One more step of training; the first three are done, without a mask."""
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        labels = pages.labels[:2, :30]
        prompt = processor.tokenizer.convert_tokens_to_ids("<s_receipts-mini>")
        inputs = decoder_inputs(labels, prompt, processor.tokenizer.pad_token_id)

        def train() -> None:
            output = model(pixel_values=to_pixels(pages.pages[:2]), decoder_input_ids=inputs, use_cache=False)
            loss = CrossEntropy()(Outputs(output.logits), None, labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()

        for _ in range(3):
            train()
        prune_globally(model, magnitudes(model), 0.7)
        return train

    def test_nothing_is_revived(self, model: Donut, step: Step) -> None:
        before = weights(model)
        attached = FixedMask().attach(model)
        for _ in range(3):
            step()
            attached.after_step()
        attached.check()
        after = weights(model)
        assert zeros(model) == round(0.7 * size(model))
        assert all((after[name][before[name] == 0] == 0).all() for name in before)
        changed = [not torch.equal(after[name], before[name]) for name in before]
        assert sum(changed) > 0.9 * len(changed)

    def test_without_it_they_come_back(self, model: Donut, step: Step) -> None:
        attached = FixedMask().attach(model)
        step()
        assert zeros(model) < 0.1 * size(model)
        with pytest.raises(RuntimeError, match=r"\d+ pruned weights came back"):
            attached.check()

    def test_one_weight_is_enough(self, model: Donut) -> None:
        prune_globally(model, magnitudes(model), 0.5)
        attached = FixedMask().attach(model)
        attached.check()
        weight = model.decoder.model.decoder.layers[3].fc2.weight
        row, column = (weight == 0).nonzero()[0].tolist()
        with torch.no_grad():
            weight[row, column] = 1e-30
        with pytest.raises(RuntimeError, match=r"^1 pruned weight"):
            attached.check()

    def test_a_weight_may_become_zero(self, model: Donut) -> None:
        attached = FixedMask().attach(model)
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.weight.zero_()
        attached.check()


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

    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
    def test_a_weight_that_is_none_is_refused(self, weight: float) -> None:
        with pytest.raises(UserError, match="weight"):
            FeatureDistillation(weight=weight)
