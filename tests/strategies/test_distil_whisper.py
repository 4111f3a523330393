"""Two decoder layers on an encoder that does not move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from transformers import DonutProcessor

from benchmark import CrossEntropy, Outputs, Span, Strategy, UserError
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.scales import TINY, Budget, OptimizerName
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.types import Dataset
from donutbench_strategies.distil_whisper import Frozen, Shallow, WeighedDistillation, donutbench_register_strategies
from tests.strategies.conftest import OfReceipts

SPAN = Span(upstream=False, steps=3)


def shallow(references: OfReceipts, layers: int = 2) -> Donut:
    model = Shallow(layers)(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


def layers_of(model: Donut) -> Any:
    return model.decoder.model.decoder.layers


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


class TestShallow:
    @pytest.mark.parametrize(("layers", "kept"), [(2, [0, 3]), (3, [0, 1, 3]), (4, [0, 1, 2, 3])])
    def test_it_is_the_teacher_with_its_outer_layers(
        self, layers: int, kept: list[int], references: OfReceipts
    ) -> None:
        model, teacher = shallow(references, layers), references.teacher
        assert len(layers_of(model)) == model.decoder.config.decoder_layers == layers
        for ours, place in zip(layers_of(model), kept, strict=True):
            assert same(ours, layers_of(teacher)[place])
        assert same(model.encoder, teacher.encoder)
        assert same(model.decoder.model.decoder.embed_tokens, teacher.decoder.model.decoder.embed_tokens)
        assert same(model.decoder.model.decoder.layer_norm, teacher.decoder.model.decoder.layer_norm)
        assert len(layers_of(teacher)) == 4

    def test_it_is_loaded_again_as_it_was(self, references: OfReceipts, tmp_path: Path) -> None:
        model = shallow(references)
        save_model(model, tmp_path / "shallow")
        assert fingerprint(load_model(tmp_path / "shallow")) == fingerprint(model)

    def test_it_computes_what_the_teacher_would_without_the_inner_layers(self, references: OfReceipts) -> None:
        """Inner layers that add nothing to what passes them."""
        teacher, documents = references.load("teacher"), references.calibration(2)
        with torch.no_grad():
            for layer in layers_of(teacher)[1:3]:
                for last in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                    last.weight.zero_()
                    last.bias.zero_()
            said = [
                model(pixel_values=documents.pixel_values, decoder_input_ids=documents.decoder_input_ids).logits
                for model in (teacher.train(False), shallow(references).train(False))
            ]
        torch.testing.assert_close(*said, atol=1e-4, rtol=1e-4)

    def test_more_layers_than_there_are_cannot_stay(self, references: OfReceipts) -> None:
        with pytest.raises(UserError, match=r"^the teacher's decoder has 4 layers, of which 5 cannot stay$"):
            shallow(references, 5)

    @pytest.mark.parametrize("layers", [1, 0, -1])
    def test_both_ends_stay(self, layers: int) -> None:
        with pytest.raises(UserError, match="the first and the last decoder layer stay"):
            Shallow(layers)


class TestLoss:
    LABELS = torch.tensor([[1, 4, 4, -100], [0, 4, 1, 6]])

    @pytest.mark.parametrize(("hard", "soft", "temperature"), [(0.8, 1.0, 2.0), (1.0, 0.0, 1.0), (0.0, 3.0, 4.0)])
    def test_both_parts_are_weighed_as_they_are_given(self, hard: float, soft: float, temperature: float) -> None:
        ours, theirs = (torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
        kept = (self.LABELS != -100).numpy()
        student, teacher = (side.double().numpy()[kept] for side in (ours, theirs))
        entropy = -log_softmax(student, 1)[np.arange(7), self.LABELS.numpy()[kept]].mean()
        goal = log_softmax(teacher / temperature, 1)
        divergence = (np.exp(goal) * (goal - log_softmax(student / temperature, 1))).sum(1).mean()
        by_hand = hard * entropy + soft * temperature**2 * divergence
        found = WeighedDistillation(hard, soft, temperature)(Outputs(ours), Outputs(theirs), self.LABELS)
        assert float(found) == pytest.approx(by_hand, rel=1e-5)

    def test_its_own_weights_are_those_of_the_published_code(self) -> None:
        assert str(WeighedDistillation()) == "0.8 cross-entropy + 1 logit distillation, T = 2"

    @pytest.mark.parametrize(("hard", "soft"), [(0.0, 0.0), (-1.0, 2.0), (1.0, -0.5), (float("nan"), 1.0)])
    def test_weights_that_are_none_are_refused(self, hard: float, soft: float) -> None:
        with pytest.raises(UserError, match="weights are at least 0 and not both 0"):
            WeighedDistillation(hard, soft)

    def test_a_temperature_that_is_none_is_refused(self) -> None:
        with pytest.raises(UserError, match="temperature above 0"):
            WeighedDistillation(temperature=0.0)


class TestFrozen:
    @pytest.fixture
    def data(
        self,
        datasets: dict[str, Dataset],
        processor: DonutProcessor,
        receipts: EncodedDocuments,
        references: OfReceipts,
    ) -> TrainingData:
        budget = Budget(reading_documents=6, task_documents=6, batch=2, learning_rate=0.02, evaluations=3)
        pages, teacher = receipts.head(6), references.load("teacher")
        return TrainingData(datasets["receipts-mini"], processor, pages, pages.head(1), teacher, budget, 6)

    @pytest.mark.parametrize("optimizer", ["muon", "adam"])
    def test_no_optimizer_moves_it(
        self, optimizer: OptimizerName, data: TrainingData, references: OfReceipts, tmp_path: Path
    ) -> None:
        """Three steps with Muon, which lets weights decay, and with Adam."""
        data = replace(data, budget=replace(data.budget, optimizer=optimizer))
        (strategy,) = donutbench_register_strategies()
        before = shallow(references)

        def trained(mine: Strategy, place: str) -> Donut:
            model, curve = train_strategy(
                shallow(references), mine, data, 0.02, lambda model: 0.0, 0, "", tmp_path / place
            )
            assert len(curve) == 3
            return model

        model = trained(strategy, "frozen")
        assert same(model.encoder, before.encoder)
        for ours, old in zip(layers_of(model), layers_of(before), strict=True):
            assert not torch.equal(ours.fc1.weight, old.fc1.weight)
            assert not torch.equal(ours.encoder_attn.k_proj.weight, old.encoder_attn.k_proj.weight)
        assert all(weight.requires_grad for weight in model.parameters())
        free = trained(replace(strategy, constraint=None), "free")
        moved = [
            not torch.equal(*pair) for pair in zip(free.encoder.parameters(), before.encoder.parameters(), strict=True)
        ]
        assert all(moved)

    def test_what_is_killed_goes_on_with_it_frozen(
        self, data: TrainingData, references: OfReceipts, tmp_path: Path
    ) -> None:
        data = replace(data, budget=replace(data.budget, save_steps=1))
        (strategy,) = donutbench_register_strategies()
        calls: list[int] = []

        def validate(model: Donut) -> float:
            calls.append(1)
            if len(calls) == 2:
                raise InterruptedError
            return 0.0

        def trained(model: Donut) -> Donut:
            return train_strategy(model, strategy, data, 0.02, validate, 0, "", tmp_path / "killed")[0]

        with pytest.raises(InterruptedError):
            trained(shallow(references))
        model = trained(shallow(references))
        assert same(model.encoder, references.teacher.encoder)
        assert not same(layers_of(model)[0], layers_of(references.teacher)[0])

    def test_what_moves_all_the_same_is_told(self, references: OfReceipts) -> None:
        model = references.load("teacher")
        attached = Frozen().attach(model, SPAN)
        attached.check()
        with torch.no_grad():
            model.encoder.embeddings.norm.bias[3] += 1e-6
        message = r"^1 frozen weights have moved, encoder\.embeddings\.norm\.bias first$"
        with pytest.raises(RuntimeError, match=message):
            attached.check()

    def test_a_part_is_any_that_has_weights(self, references: OfReceipts) -> None:
        model = references.load("teacher")
        Frozen("decoder.model.decoder.layers").attach(model, SPAN)
        still = {name for name, weight in model.named_parameters() if not weight.requires_grad}
        assert still == {
            name for name, _ in model.named_parameters() if name.startswith("decoder.model.decoder.layers.")
        }

    @pytest.mark.parametrize("part", ["encode", "", "encoder."])
    def test_a_part_that_there_is_not_is_refused(self, part: str, references: OfReceipts) -> None:
        with pytest.raises(UserError, match="there are no weights in"):
            Frozen(part).attach(references.load("teacher"), SPAN)

    def test_it_says_what_it_is(self) -> None:
        assert [str(part) for part in (Frozen(), Shallow())] == ["frozen encoder", "teacher, 2 spaced decoder layers"]
        assert CrossEntropy().teaching == "none"
