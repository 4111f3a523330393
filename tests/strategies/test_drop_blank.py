"""Fewer cells for the decoder: those with the most ink, as many of every page, for whoever reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark import FeatureDistillation, Outputs, UserError, fewer_cells
from benchmark.models.arithmetic import donut_macs
from benchmark.models.cells import Selection, ink, select_cells
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, beyond_transformers
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import greedy
from benchmark.models.macs import count_macs
from benchmark.scales import TINY
from benchmark.scoring.predict import transformers_greedy
from benchmark.scoring.representations import represent
from benchmark.training.alike import read_alike
from donutbench_strategies import drop_blank, drop_random
from tests.strategies.conftest import OfReceipts

ROWS, COLUMNS = TINY.grid
CELL = TINY.height // ROWS
PAGES = 3
HALF = ROWS * COLUMNS // 2


def inkiest(page: NDArray[np.float32], count: int) -> list[int]:
    """The cells that are darkest against their brightest pixel, one after the other in float64, ties to the first."""
    scores = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            cell = page[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL].astype(np.float64)
            scores.append((-(cell.max() - cell).mean(), row * COLUMNS + column))
    return sorted(place for _, place in sorted(scores)[:count])


@pytest.fixture
def pixels(references: OfReceipts) -> torch.Tensor:
    return references.documents.pixel_values[:PAGES]


def made(references: OfReceipts, by: str, keep: float, seed: int = 0) -> Donut:
    model = fewer_cells(by, keep)(references, TINY, seed)  # type: ignore[arg-type]
    assert isinstance(model, Donut)
    return model


def memory(model: Donut, pixels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model.encoder(pixel_values=pixels).last_hidden_state
    return found


class TestInk:
    @pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
    def test_the_cells_of_most_ink_are_kept_in_their_order(
        self, keep: float, references: OfReceipts, pixels: torch.Tensor
    ) -> None:
        whole, left = memory(references.teacher, pixels), memory(made(references, "ink", keep), pixels)
        for page, before, after in zip(pixels, whole, left, strict=True):
            kept = inkiest(page[0].numpy(), round(keep * ROWS * COLUMNS))
            assert torch.equal(after, before[kept])

    def test_all_of_them_is_what_the_model_did(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        assert torch.equal(memory(made(references, "ink", 1.0), pixels), memory(references.teacher, pixels))

    def test_cells_of_one_colour_have_none(self) -> None:
        colours = torch.rand(1, 3, 1, 5).repeat_interleave(8, 3)
        assert not ink(colours.expand(-1, -1, 8, -1), 8).any()

    def test_black_beside_the_page_is_blank(self, pixels: torch.Tensor) -> None:
        framed = pixels.clone()
        framed[:, :, :, -4 * CELL :] = -1.0
        kept = Selection(0.5).places(framed, CELL)
        assert bool(((kept % COLUMNS) < COLUMNS - 4).all())

    def test_of_equally_blank_cells_the_first_are_kept(self) -> None:
        page = torch.ones(1, 3, 4 * 8, 8)
        page[:, :, 20, 3] = -1.0
        assert Selection(0.5).places(page, 8).tolist() == [[0, 2]]

    def test_a_page_that_is_no_multiple_of_cells_ends_in_smaller_ones(self) -> None:
        page = torch.ones(1, 3, 10, 12)
        page[:, :, 9, 11] = -1.0
        values = ink(page, 8)[0].tolist()
        assert values[:3] == [0.0, 0.0, 0.0]
        assert values[3] > 0

    def test_a_page_is_read_as_alone(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        model = made(references, "ink", 0.5)
        together = memory(model, pixels)
        for page, cells in zip(pixels, together, strict=True):
            torch.testing.assert_close(memory(model, page[None])[0], cells, rtol=1e-4, atol=1e-4)


class TestChance:
    def test_the_same_places_of_every_page(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        whole, left = memory(references.teacher, pixels), memory(made(references, "chance", 0.5), pixels)
        assert left.shape == (PAGES, HALF, whole.shape[-1])
        kept = [int((whole[0] == cell).all(-1).nonzero()[0, 0]) for cell in left[0]]
        assert kept == sorted(set(kept))
        assert torch.equal(left, whole[:, kept])

    def test_the_seed_decides_them(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        one, same, other = (memory(made(references, "chance", 0.5, seed), pixels) for seed in (0, 0, 1))
        assert torch.equal(one, same)
        assert not torch.equal(one, other)


@pytest.mark.parametrize("by", ["ink", "chance"])
class TestReaders:
    def test_it_comes_back(self, by: str, references: OfReceipts, pixels: torch.Tensor, tmp_path: Path) -> None:
        model = made(references, by, 0.3, seed=4)
        save_model(model, tmp_path / "a")
        again = load_model(tmp_path / "a")
        assert again.encoder.selection == model.encoder.selection
        assert torch.equal(memory(again, pixels), memory(model, pixels))
        again.encoder.bridge = None
        assert beyond_transformers(again) == "its decoder reads some of the encoder's cells alone"

    def test_greedy_writes_what_generate_writes(self, by: str, references: OfReceipts, pixels: torch.Tensor) -> None:
        model, never = made(references, by, 0.4), 2**31 - 1
        start = int(references.documents.decoder_input_ids[0, 0])
        ours = greedy(model, pixels, start, never, 30)
        assert torch.equal(ours, transformers_greedy(model, pixels, start, never, 30))

    def test_cross_attention_costs_as_much_less(self, by: str, references: OfReceipts) -> None:
        page, tokens, width = torch.zeros(1, 3, TINY.height, TINY.width), 7, TINY.teacher.decoder_width
        before, after = (
            count_macs(model, page, prompt=5, tokens=tokens)
            for model in (references.teacher, made(references, by, 0.5))
        )
        gone = ROWS * COLUMNS - HALF
        keys_and_values, attention = 2 * width * width * gone, 2 * tokens * width * gone
        assert after.encoder == before.encoder
        assert before.decoder - after.decoder == TINY.teacher.decoder_layers * (keys_and_values + attention)
        assert donut_macs(made(references, by, 0.5), (TINY.height, TINY.width), tokens) == after

    def test_weights_and_references_stay_as_they_are(self, by: str, references: OfReceipts) -> None:
        model = made(references, by, 0.5)
        assert fingerprint(model) == fingerprint(references.teacher)
        assert references.teacher.encoder.selection is None
        assert getattr(references.teacher.encoder.config, "selection", None) is None

    def test_layers_can_be_compared(
        self, by: str, references: OfReceipts, receipts: EncodedDocuments, processor: DonutProcessor
    ) -> None:
        """Stages are looked at in all cells, so an untrained row differs from its teacher in the decoder alone."""
        prompt = int(references.documents.decoder_input_ids[0, 0])
        few = receipts.head(4)
        ours, theirs = (
            represent(model, processor, few, prompt) for model in (made(references, by, 0.5), references.teacher)
        )
        assert ours.names == theirs.names
        for name, mine, other in zip(ours.names, ours.layers, theirs.layers, strict=True):
            assert bool(np.allclose(mine, other)) == name.startswith("enc.")


class TestLearning:
    def test_the_memory_is_compared_where_both_have_it(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        model = made(references, "ink", 0.5)
        whole = memory(references.teacher, pixels)
        stage, token = torch.randn(PAGES, ROWS * COLUMNS, 4), torch.randn(PAGES, 2, 4)
        teacher = Outputs(torch.randn(PAGES, 2, 9), (stage, whole), (token,))
        seen = read_alike(model, teacher, pixels)
        assert torch.equal(seen.encoder[0], stage)
        assert torch.equal(seen.encoder[1], memory(model, pixels))
        student = replace(teacher, encoder=(stage, memory(model, pixels)))
        loss = FeatureDistillation(alpha=0.0)(student, seen, torch.ones(PAGES, 2, dtype=torch.long))
        assert float(loss) == pytest.approx(0.0, abs=1e-6)

    def test_the_attention_to_what_both_have_adds_up_to_one(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        model = made(references, "ink", 0.5)
        cross = torch.rand(PAGES, 2, 5, ROWS * COLUMNS).softmax(-1)
        seen = read_alike(model, Outputs(torch.zeros(1), cross=(cross,)), pixels)
        assert seen.encoder == ()
        for page, before, after in zip(pixels, cross, seen.cross[0], strict=True):
            kept = before[..., inkiest(page[0].numpy(), HALF)]
            torch.testing.assert_close(after, kept / kept.sum(-1, keepdim=True))

    def test_a_model_that_reads_all_is_left_alone(self, references: OfReceipts, pixels: torch.Tensor) -> None:
        teacher = Outputs(torch.zeros(1), (torch.zeros(1),))
        assert read_alike(references.teacher, teacher, pixels) is teacher


class TestErrors:
    @pytest.mark.parametrize("keep", [0.0, -0.5, 1.5, float("nan")])
    def test_a_share_is_one(self, keep: float) -> None:
        with pytest.raises(UserError, match="is no share of the cells"):
            fewer_cells("ink", keep)

    def test_an_unknown_choice_is_named(self) -> None:
        with pytest.raises(UserError, match="inc"):
            fewer_cells("inc")  # type: ignore[arg-type]

    def test_cells_are_dropped_once(self, references: OfReceipts) -> None:
        with pytest.raises(ValueError, match="only 50% of the cells already"):
            select_cells(made(references, "ink", 0.5), Selection(0.5))

    @pytest.mark.parametrize(
        ("selection", "error"),
        [
            ({"keep": 0.0, "by": "ink"}, "keeps 0.0"),
            ({"keep": 2, "by": "ink"}, "keeps 2"),
            ({"keep": 0.5, "by": "luck"}, "by 'luck', not by ink or chance"),
            ({"share": 0.5}, "share"),
            (0.5, "selection|mapping"),
        ],
    )
    def test_a_config_of_something_else_is_refused_in_one_line(
        self, selection: object, error: str, references: OfReceipts, tmp_path: Path
    ) -> None:
        save_model(made(references, "ink", 0.5), tmp_path / "a")
        path = tmp_path / "a" / "config.json"
        config = json.loads(path.read_text())
        config["encoder"]["selection"] = selection
        path.write_text(json.dumps(config))
        with pytest.raises(UserError, match=error) as caught:
            load_model(tmp_path / "a")
        assert "\n" not in str(caught.value)


def test_all_four_are_for_the_task_alone() -> None:
    rows = [*drop_blank.donutbench_register_strategies(), *drop_random.donutbench_register_strategies()]
    assert [row.name for row in rows] == ["drop-blank", "drop-blank-distill", "drop-random", "drop-random-distill"]
    assert {row.protocols for row in rows} == {("task",)}
    assert [row.start for row in rows[::2]] == [fewer_cells("ink"), fewer_cells("chance")]
    assert [row.objective is None for row in rows] == [True, False] * 2
