"""The two auxiliary losses that teach the zoo to read, by hand, and how they fade."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import DonutProcessor

from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.pretraining.auxiliary import CellReader, guided_attention, places_of
from benchmark.pretraining.loss import PretrainingLoss
from benchmark.scales import TINY
from benchmark.training.trainer import Batch, Documents

STEPS, PROMPT, PAD = 100, 7, 1


class TestPlaces:
    def test_they_are_cells_from_left_to_right_and_down(self) -> None:
        """12 rows of 20 cells of 8 pixels."""
        points = torch.tensor([[[0.0, 0.0], [8.5, 0.0], [7.9, 8.0], [159.9, 95.9]]])
        assert places_of(points, TINY).tolist() == [[0, 1, 20, 239]]

    def test_what_is_unknown_or_off_the_page_is_nowhere(self) -> None:
        points = [[-1.0, -1.0], [160.0, 3.0], [3.0, 96.0], [3.0, -0.5], [-0.5, 11.0], [0.0, 95.9]]
        assert places_of(torch.tensor([points]), TINY).tolist() == [[-1, -1, -1, -1, -1, 220]]

    def test_cells_are_of_the_scale(self) -> None:
        scale = replace(TINY, height=192, width=320, patch=8)
        assert places_of(torch.tensor([[[17.0, 33.0]]]), scale).tolist() == [[2 * 20 + 1]]


class TestCellReader:
    """Three cells, five tokens; the head's bias says the same of every cell."""

    @pytest.fixture
    def reader(self) -> CellReader:
        reader = CellReader(width=4, vocabulary=5)
        with torch.no_grad():
            reader.head.weight.zero_()
            reader.head.bias.copy_(torch.tensor([0.3, 0.1, 0.2, 2.0, -1.0, 0.1, 0.5, -0.4, 0.0, 1.0]))
        return reader

    LABELS = torch.tensor([[3, 4, 2, 1, 4], [2, 2, 3, 4, -100]])
    PLACES = torch.tensor([[1, 1, 0, 1, -1], [0, 0, 2, -1, -1]])
    TARGETS = ([[2, 0], [3, 4], [0, 0]], [[2, 2], [0, 0], [3, 0]])
    """The token 1 is the third in cell 1 of the first document: there is no room for it."""

    def test_its_loss_is_the_mean_over_cells_and_slots_of_which_empty_ones_weigh_a_fifth(
        self, reader: CellReader
    ) -> None:
        logs = reader.head.bias.detach().view(2, 5).double().log_softmax(-1)
        lost = weighed = 0.0
        for document in self.TARGETS:
            for cell in document:
                for slot, token in enumerate(cell):
                    weight = 1.0 if token else 0.2
                    lost -= weight * float(logs[slot, token])
                    weighed += weight
        loss = reader.loss(torch.randn(2, 3, 4), self.LABELS, self.PLACES)
        assert float(loss.detach()) == pytest.approx(lost / weighed, rel=1e-5)

    def test_its_accuracy_is_the_share_of_printed_characters(self, reader: CellReader) -> None:
        # It says 3 in the first and 4 in the second slot of every cell: 3 of the 6 characters that there is room for.
        assert reader.accuracy(torch.zeros(2, 3, 4), self.LABELS, self.PLACES) == pytest.approx(3 / 6)

    def test_it_reads_the_cells(self) -> None:
        torch.manual_seed(0)
        reader = CellReader(width=6, vocabulary=5)
        cells = torch.eye(3, 6).repeat(2, 1, 1)
        labels, places = torch.tensor([[3, 4], [1, 2]]), torch.tensor([[0, 2], [0, 2]])
        optimizer = torch.optim.Adam(reader.parameters(), lr=0.1)
        first = float(reader.loss(cells[:1], labels[:1], places[:1]).detach())
        for _ in range(60):
            optimizer.zero_grad()
            torch.autograd.backward(reader.loss(cells[:1], labels[:1], places[:1]))
            optimizer.step()
        assert float(reader.loss(cells[:1], labels[:1], places[:1]).detach()) < 0.05 * first
        assert reader.accuracy(cells, labels, places) == 0.5


def test_guided_attention_is_minus_the_log_of_the_mass_on_the_right_cell(processor: DonutProcessor) -> None:
    """Two documents, two heads, two tokens, three cells; one token has no place."""
    generator = torch.Generator().manual_seed(0)
    layers = tuple(torch.rand(2, 2, 2, 3, generator=generator).softmax(-1) for _ in range(2))
    places = torch.tensor([[1, -1], [2, 0]])
    by_hand = []
    for layer in layers:
        masses = [layer[0, :, 0, 1].mean(), layer[1, :, 0, 2].mean(), layer[1, :, 1, 0].mean()]
        by_hand.append(-torch.stack(masses).log().mean())
    assert float(guided_attention(layers, places)) == pytest.approx(float(torch.stack(by_hand).mean()), rel=1e-4)
    nothing = torch.zeros(1, 1, 1, 2)
    assert float(guided_attention((nothing,), torch.tensor([[0]]))) == pytest.approx(13.8155, abs=1e-3)


def aided(processor: DonutProcessor, encoder_share: float = 0.1, shift: int = 0, seed: int = 0) -> PretrainingLoss:
    return PretrainingLoss(TINY, processor, PROMPT, STEPS, encoder_share, 0.6, shift, seed)


class TestFading:
    """The first tenth trains the encoder alone; at three fifths both auxiliary losses are gone."""

    @pytest.fixture
    def batch(self, pages: EncodedDocuments) -> Batch:
        documents = Documents(pages)
        batch = documents.collate([documents[0], documents[1]])
        return {name: column[:, :40] if name in ("labels", "points") else column for name, column in batch.items()}

    @pytest.fixture
    def reading(self, model: Donut) -> Donut:
        torch.manual_seed(3)
        model.cell_reader = CellReader(model.encoder.config.hidden_size, model.decoder.config.vocab_size)
        model.decoder.set_attn_implementation("eager")
        return model

    @staticmethod
    def parts(model: Donut, batch: Batch) -> tuple[float, float, float]:
        """Cross-entropy, guided attention of the last two layers, and the cells' loss."""
        pixels = (batch["pages"].float() / 127.5 - 1)[:, None].expand(-1, 3, -1, -1)
        labels = batch["labels"]
        inputs = torch.cat([torch.full((2, 1), PROMPT), labels[:, :-1]], 1)
        with torch.no_grad():
            output = model(
                pixel_values=pixels,
                decoder_input_ids=torch.where(inputs == -100, PAD, inputs),
                use_cache=False,
                output_attentions=True,
            )
            cells = output.encoder_last_hidden_state
            places = places_of(batch["points"], TINY)
            read = cross_entropy(output.logits.flatten(0, 1), labels.flatten())
            guided = guided_attention(output.cross_attentions[-2:], places)
            reader = model.cell_reader
            assert isinstance(reader, CellReader)
            return float(read), float(guided), float(reader.loss(cells, labels, places))

    @pytest.mark.parametrize(("done", "aid"), [(0.1, 1.0), (0.35, 0.5), (0.5, 0.2), (0.6, 0.0), (0.9, 0.0)])
    def test_both_auxiliary_losses_fade_out(
        self, done: float, aid: float, reading: Donut, batch: Batch, processor: DonutProcessor
    ) -> None:
        read, guided, cells = self.parts(reading, batch)
        loss = float(aided(processor)(reading, batch, done).detach())
        assert loss == pytest.approx(read + aid * (0.5 * guided + cells), rel=1e-4)
        assert guided > 0.1
        assert cells > 0.1

    @pytest.mark.parametrize("done", [0.0, 0.09])
    def test_first_the_encoder_learns_alone(
        self, done: float, reading: Donut, batch: Batch, processor: DonutProcessor
    ) -> None:
        loss = aided(processor)(reading, batch, done)
        assert float(loss.detach()) == pytest.approx(self.parts(reading, batch)[2], rel=1e-4)
        torch.autograd.backward(loss)
        assert all(weight.grad is None for weight in reading.decoder.parameters())

    def test_without_an_encoder_stage_only_the_attention_is_guided(
        self, reading: Donut, batch: Batch, processor: DonutProcessor
    ) -> None:
        read, guided, _ = self.parts(reading, batch)
        loss = float(aided(processor, encoder_share=0.0)(reading, batch, 0.3).detach())
        assert loss == pytest.approx(read + 0.5 * 0.5 * guided, rel=1e-4)

    def test_both_layers_of_a_small_decoder_are_guided(self, batch: Batch, processor: DonutProcessor) -> None:
        small = build(TINY, TINY.small, len(processor.tokenizer), seed=0)
        small.cell_reader = CellReader(small.encoder.config.hidden_size, small.decoder.config.vocab_size)
        small.decoder.set_attn_implementation("eager")
        read, guided, cells = self.parts(small, batch)
        loss = float(aided(processor)(small, batch, 0.1).detach())
        assert loss == pytest.approx(read + 0.5 * guided + cells, rel=1e-4)

    def test_without_aid_no_attention_is_kept(self, reading: Donut, batch: Batch, processor: DonutProcessor) -> None:
        asked: list[bool] = []
        with reading.decoder.register_forward_pre_hook(
            lambda _, args, kwargs: asked.append(kwargs["output_attentions"]), with_kwargs=True
        ):
            for done in (0.3, 0.7):
                aided(processor)(reading, batch, done)
        assert asked == [True, False]


class TestShifts:
    """A page on which one pixel is black, and a character known to be there."""

    def shifts(self, processor: DonutProcessor, seed: int, shift: int) -> list[tuple[int, int]]:
        """How far pages of 60 steps go down and right."""
        page = torch.full((2, 96, 160), 255, dtype=torch.uint8)
        page[:, 40, 70] = 0
        points = torch.tensor([[[70.0, 40.0], [-1.0, -1.0], [0.0, 0.0]]]).expand(2, -1, -1)
        found = []
        for step in range(60):
            pages, moved = aided(processor, shift=shift, seed=seed)._shifted(page, points, step)
            ((first, down, right), (second, *same)) = (pages == 0).nonzero().tolist()
            assert (first, second, same) == (0, 1, [down, right])
            assert moved.tolist() == [[[right, down], [-1, -1], [right - 70, down - 40]]] * 2
            found.append((down - 40, right - 70))
        return found

    def test_page_and_points_go_together_by_at_most_the_shift(self, processor: DonutProcessor) -> None:
        downs, rights = (set(way) for way in zip(*self.shifts(processor, 0, 2), strict=True))
        assert downs == rights == {-2, -1, 0, 1, 2}

    def test_a_step_has_its_shift_and_a_seed_its_own(self, processor: DonutProcessor) -> None:
        assert self.shifts(processor, 0, 3) == self.shifts(processor, 0, 3)
        assert self.shifts(processor, 0, 3) != self.shifts(processor, 1, 3)
        assert set(self.shifts(processor, 0, 0)) == {(0, 0)}

    def test_the_loss_shifts_by_the_step(
        self, pages: EncodedDocuments, model: Donut, monkeypatch: pytest.MonkeyPatch, processor: DonutProcessor
    ) -> None:
        steps: list[int] = []
        shifted = PretrainingLoss._shifted

        def note(
            aided: PretrainingLoss, pages: torch.Tensor, points: torch.Tensor, step: int
        ) -> tuple[torch.Tensor, torch.Tensor]:
            steps.append(step)
            return shifted(aided, pages, points, step)

        monkeypatch.setattr(PretrainingLoss, "_shifted", note)
        model.cell_reader = CellReader(model.encoder.config.hidden_size, model.decoder.config.vocab_size)
        documents = Documents(pages)
        for step in (0, 3, 7):
            aided(processor, shift=2)(model, documents.collate([documents[0]]), step / STEPS)
        assert steps == [0, 3, 7]
