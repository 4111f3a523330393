"""Starts and constraints: what is pruned and stays pruned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from transformers import DonutProcessor

from benchmark import (
    CrossEntropy,
    FeatureDistillation,
    FixedMask,
    LogitDistillation,
    Magnitude,
    Outputs,
    Span,
    UserError,
    magnitude_pruned,
    pruned,
    random_pruned,
    reference,
)
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.parameters import prunable
from benchmark.models.processor import decoder_inputs, to_pixels
from benchmark.models.pruning import highest, magnitudes, prune_globally, random_scores
from benchmark.parts.starts import Chance, Pruned, Score, sparsity_of
from benchmark.scales import TINY
from benchmark.types import Calibration

SPAN = Span(upstream=False, steps=3)
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

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        raise AssertionError("these starts look at no data")

    def tokens(self, count: int) -> frozenset[int]:
        raise AssertionError("these starts look at no data")


class TestPruning:
    @pytest.fixture(params=["few weights", "many"], autouse=True)
    def _size(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """Millions of weights are ranked by a histogram."""
        if request.param == "many":
            monkeypatch.setattr("benchmark.models.pruning._MANY", 0)

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

    def test_the_highest_stay_of_scores_that_may_be_negative(self, model: Donut) -> None:
        """Against sorting; those that are learnt begin at zero and go both ways."""
        scores = {name: score - 0.3 for name, score in random_scores(model, seed=1).items()}
        scores[next(iter(scores))].mul_(1e-6)
        keep = highest(model, scores, 0.6)
        ordered = torch.cat([score.flatten() for score in scores.values()]).sort().values
        threshold = ordered[round(0.6 * size(model))]
        assert all(torch.equal(keep[name], score >= threshold) for name, score in scores.items())

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

    def test_a_magnitude_start_takes_the_smallest(self, model: Donut) -> None:
        before = magnitudes(model)
        pruned = dict(magnitude_pruned("half")(OneModel(model), TINY, 0).named_parameters())
        gone = torch.cat([score[pruned[name] == 0] for name, score in before.items()])
        kept = torch.cat([score[pruned[name] != 0] for name, score in before.items()])
        assert gone.max() <= kept.min()

    @pytest.mark.parametrize("ratio", [4, 0.25, "4", "0.25"])
    def test_a_ratio_is_what_stays(self, ratio: float, model: Donut) -> None:
        start = magnitude_pruned(ratio=ratio)
        assert (start.ratio, str(start)) == (float(ratio), "teacher, magnitude-pruned by 75.0%")
        assert zeros(start(OneModel(model), TINY, 0)) == round(0.75 * size(model))

    def test_a_target_beside_a_ratio_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"^target half and ratio 4 both say how much goes$"):
            magnitude_pruned("half", ratio=4)

    @pytest.mark.parametrize("ratio", [0, 1, -2, "nan", "inf", "x"])
    def test_a_ratio_that_leaves_nothing_or_all_is_refused(self, ratio: float) -> None:
        with pytest.raises(UserError, match=rf"^ratio {ratio} is neither a share below 1 that stays nor a factor"):
            magnitude_pruned(ratio=ratio)

    @pytest.mark.parametrize("score", [Magnitude(), Chance()])
    def test_a_uniform_start_takes_the_same_share_of_every_matrix(self, score: Score, model: Donut) -> None:
        before = {name: weight.clone() for name, weight in prunable(model).items()}
        Pruned(score, "half", allocation="uniform")(OneModel(model), TINY, 0)
        share = round(0.5 * size(model)) / sum(weight.numel() for weight in before.values())
        for name, weight in prunable(model).items():
            gone = weight == 0
            assert abs(int(gone.sum()) - share * weight.numel()) <= 2  # of a thousand and more
            if score == Magnitude():
                assert before[name][gone].abs().max() <= before[name][~gone].abs().min()

    def test_by_rows_every_output_loses_the_same_share(self, model: Donut) -> None:
        before = {name: weight.detach().clone() for name, weight in prunable(model).items()}
        pruned(Magnitude(), "half", allocation="rows")(OneModel(model), TINY, 0)
        share = round(0.5 * size(model)) / sum(weight.numel() for weight in before.values())
        for name, weight in prunable(model).items():
            gone = weight.flatten(1) == 0
            counts = gone.sum(1)
            assert counts.max() - counts.min() <= 1
            assert (counts - share * gone.shape[1]).abs().max() <= 1 + 0.01 * gone.shape[1]
            for row, was in zip(gone, before[name].flatten(1).abs(), strict=True):
                assert was[row].max() <= was[~row].min()

    def test_erdos_renyi_kernels_spare_small_matrices(self, model: Donut) -> None:
        """Against the definition: outside the whole ones what stays is in proportion to the sum of the sides."""
        pruned(Magnitude(), "half", allocation="erk")(OneModel(model), TINY, 0)
        left = {name: int((weight != 0).sum()) for name, weight in prunable(model).items()}
        assert sum(w.numel() for w in prunable(model).values()) - sum(left.values()) == round(0.5 * size(model))
        cut = {name: weight for name, weight in prunable(model).items() if left[name] < weight.numel()}
        assert 10 < len(cut) < len(left)
        factors = torch.tensor([left[name] / sum(weight.shape) for name, weight in cut.items()])
        assert factors.max() / factors.min() < 1.02
        for name, weight in prunable(model).items():
            if name not in cut:
                assert factors.min() * sum(weight.shape) > 0.97 * weight.numel()

    def test_erdos_renyi_kernels_take_all_where_all_goes(self, model: Donut) -> None:
        weights = prunable(model)
        most = sum(weight.numel() for weight in weights.values()) / size(model)
        prune_globally(model, magnitudes(model), most, "erk")
        assert all((weight == 0).all() for weight in weights.values())

    def test_an_unknown_allocation_is_refused(self) -> None:
        with pytest.raises(UserError, match="unknown allocation 'even': choose from global, uniform, rows, erk"):
            Pruned(Magnitude(), "half", allocation="even")  # type: ignore[arg-type]

    def test_a_score_is_no_text(self) -> None:
        with pytest.raises(UserError, match="score 'random' cannot be called"):
            Pruned("random", "half")  # type: ignore[arg-type]

    def test_a_reference_is_taken_as_it_is(self, model: Donut) -> None:
        assert reference("teacher")(OneModel(model), TINY, 0) is model

    def test_parts_say_what_they_are(self) -> None:
        assert str(reference("small")) == "small"
        assert str(magnitude_pruned()) == "teacher, magnitude-pruned by 73.8%"
        assert str(random_pruned()) == "teacher, random-pruned by 73.8%"
        assert str(random_pruned("half")) == "teacher, random-pruned by 50.0%"
        assert (
            str(magnitude_pruned("half", allocation="uniform")) == "teacher, magnitude-pruned by 50.0% in each matrix"
        )
        assert str(FixedMask()) == "fixed mask"
        assert str(CrossEntropy()) == "cross-entropy"
        distilled = "0.2 cross-entropy + 0.8 logit distillation, T = 4"
        assert str(LogitDistillation(temperature=4.0, alpha=0.2)) == distilled
        featured = FeatureDistillation(temperature=4.0, alpha=0.2, weight=3.0)
        assert str(featured) == f"{distilled} + 3 feature distillation"


class TestFixedMask:
    """On real steps of Adam whose momentum is older than the mask: what revives masked weights."""

    @pytest.fixture
    def step(self, model: Donut, pages: EncodedDocuments, processor: DonutProcessor) -> Step:
        """One more step of training; the first three are done, without a mask."""
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        labels = pages.labels[:2, :30]
        prompt = processor.tokenizer.convert_tokens_to_ids("<s_receipts-mini>")
        inputs = decoder_inputs(labels, prompt, processor.tokenizer.pad_token_id)

        def train() -> None:
            output = model(
                pixel_values=to_pixels(processor, pages.pages[:2]), decoder_input_ids=inputs, use_cache=False
            )
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
        attached = FixedMask().attach(model, SPAN)
        for _ in range(3):
            step()
            attached.after_step(1)
        attached.check()
        after = weights(model)
        assert zeros(model) == round(0.7 * size(model))
        assert all((after[name][before[name] == 0] == 0).all() for name in before)
        changed = [not torch.equal(after[name], before[name]) for name in before]
        assert sum(changed) > 0.9 * len(changed)

    def test_without_it_they_come_back(self, model: Donut, step: Step) -> None:
        attached = FixedMask().attach(model, SPAN)
        step()
        assert zeros(model) < 0.1 * size(model)
        with pytest.raises(RuntimeError, match=r"\d+ pruned weights came back"):
            attached.check()

    def test_one_weight_is_enough(self, model: Donut) -> None:
        prune_globally(model, magnitudes(model), 0.5)
        attached = FixedMask().attach(model, SPAN)
        attached.check()
        weight = model.decoder.model.decoder.layers[3].fc2.weight
        row, column = (weight == 0).nonzero()[0].tolist()
        with torch.no_grad():
            weight[row, column] = 1e-30
        with pytest.raises(RuntimeError, match=r"^1 pruned weight"):
            attached.check()

    def test_a_weight_may_become_zero(self, model: Donut) -> None:
        attached = FixedMask().attach(model, SPAN)
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.weight.zero_()
        attached.check()
