"""The second test split of the embedded data: its pages look as none of training, and say what is printed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import ImageFilter
from transformers import DonutProcessor

from benchmark.models.processor import encode, to_json
from benchmark.scales import TINY
from benchmark.truth import to_text
from benchmark.types import SPLITS, Dataset, Document, Split
from benchmark.types import Glyph as Point
from donutbench_datasets import render
from donutbench_datasets.render import FACES, SHIFTED, USUAL, Look, Sheet
from donutbench_datasets.words import ALPHABET, PUNCTUATION, split_of

NAMES = ("synthdog-mini", "receipts-mini", "parcels-mini")
GOLDEN = {"synthdog-mini": "a62347591ad1f895", "receipts-mini": "850e7f03c48d1c00", "parcels-mini": "3d1b6862e03180a5"}
COUNT = 24
SIDE_BY_SIDE: tuple[Split, ...] = ("train", "shifted")


@pytest.fixture(params=NAMES)
def dataset(request: pytest.FixtureRequest, datasets: dict[str, Dataset]) -> Dataset:
    return datasets[str(request.param)]


@pytest.fixture(scope="module")
def opened(datasets: dict[str, Dataset]) -> dict[str, list[Document]]:
    return {name: list(datasets[name].open(TINY, "shifted", 0, COUNT)) for name in NAMES}


@pytest.fixture
def documents(dataset: Dataset, opened: dict[str, list[Document]]) -> list[Document]:
    return opened[dataset.name]


def leaves(truth: Any) -> Iterator[str]:
    if isinstance(truth, str):
        yield truth
    for value in truth.values() if isinstance(truth, dict) else truth if isinstance(truth, list) else ():
        yield from leaves(value)


class TestDocuments:
    def test_they_are_those_of_every_machine(self, dataset: Dataset, documents: list[Document]) -> None:
        content = [d.page.tobytes() + json.dumps([d.id, d.ground_truth]).encode() for d in documents[:3]]
        assert hashlib.sha256(b"".join(content)).hexdigest()[:16] == GOLDEN[dataset.name]

    def test_there_are_as_many_as_the_scale_says(self, dataset: Dataset) -> None:
        assert dataset.shifted
        assert len(dataset.open(TINY, "shifted", 0, None)) == TINY.shifted_documents == 50

    def test_the_glyphs_follow_the_ground_truth(self, documents: list[Document]) -> None:
        for document in documents:
            printed = re.sub(r"\s", "", "".join(leaves(document.ground_truth)))
            assert "".join(glyph.character for glyph in document.glyphs) == printed

    def test_every_letter_is_on_the_page(self, documents: list[Document]) -> None:
        for glyph in (glyph for document in documents for glyph in document.glyphs):
            assert 2 < glyph.x < TINY.width - 2
            assert 3 < glyph.y < TINY.height - 3

    def test_a_model_of_the_data_set_can_write_them(
        self, dataset: Dataset, documents: list[Document], processor: DonutProcessor
    ) -> None:
        texts = [to_text(document.ground_truth) for document in documents]
        for document, row in zip(documents, encode(processor, texts, TINY.max_tokens).tolist(), strict=True):
            text = processor.tokenizer.decode(row[: row.index(processor.tokenizer.eos_token_id)])
            assert to_json(processor, text) == document.ground_truth
            assert set(document.ground_truth) <= set(dataset.keys)

    def test_the_words_are_those_of_the_test_split(self, opened: dict[str, list[Document]]) -> None:
        receipts, parcels = ([d.ground_truth for d in opened[name]] for name in ("receipts-mini", "parcels-mini"))
        dishes = [item["nm"] for truth in receipts for item in np.atleast_1d(truth["menu"])]
        parties = [truth[who] for truth in parcels for who in ("sender", "receiver")]
        texts = [*dishes, *(party[key] for party in parties for key in ("name", "address"))]
        assert {split_of(text) for text in texts} == {"test"}

    def test_it_shares_no_document_with_another_split(self, dataset: Dataset, documents: list[Document]) -> None:
        others = [document for split in SPLITS for document in dataset.open(TINY, split, 0, COUNT)]
        said = {json.dumps(document.ground_truth) for document in documents}
        assert len(said) == COUNT
        assert not said & {json.dumps(document.ground_truth) for document in others}


class TestFaces:
    def test_none_is_in_training(self) -> None:
        assert USUAL.faces == FACES
        assert not set(SHIFTED.faces) & set(FACES)

    @pytest.mark.parametrize("face", SHIFTED.faces)
    @pytest.mark.parametrize("size", [11, 40])
    def test_each_has_every_character_that_is_written(self, face: str, size: int) -> None:
        """None is blank, none is the box of a missing one, no two look the same."""
        missing = render._stamp(face, size, "\ue000").ink
        inks = {sign: render._stamp(face, size, sign).ink for sign in ALPHABET + PUNCTUATION}
        assert all(ink.max() > 60 and not np.array_equal(ink, missing) for ink in inks.values())
        stamps = {(render._stamp(face, size, sign).top, ink.shape, ink.tobytes()) for sign, ink in inks.items()}
        assert len(stamps) == len(inks)


def turned(look: Look, seed: int) -> tuple[float, float, float]:
    """What the camera made of a cross in the middle of a page: its slope, its lean and how unlike its halves are."""
    sheet = Sheet(TINY, np.random.default_rng(seed), look)
    x, y, arm = TINY.width / 2, TINY.height / 2, 30.0
    ends = ((x - arm, y), (x + arm, y), (x, y - arm), (x, y + arm), (x, y))
    _, (left, right, above, below, middle) = sheet.finish([Point("H", *end) for end in ends])
    slope = abs((right.y - left.y) / (right.x - left.x))
    lean = abs((below.x - above.x) / (below.y - above.y))
    before, after = (math.hypot(end.x - middle.x, end.y - middle.y) for end in (left, right))
    return slope, lean, abs(math.log(before / after))


class TestRanges:
    def test_every_page_is_turned_more_than_any_of_training(self) -> None:
        usual = np.array([turned(USUAL, seed) for seed in range(60)])
        shifted = np.array([turned(SHIFTED, seed) for seed in range(60)])
        assert (usual.max(axis=0) < shifted.min(axis=0)).all()
        assert (usual.max(axis=0) > 0.5 * shifted.min(axis=0)).all(), "training has cameras that are turned at all"

    def test_every_page_is_blurred_more_than_any_of_training(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def blurs(look: Look) -> list[float]:
            found: list[float] = []
            blur = ImageFilter.GaussianBlur

            def spy(radius: float) -> ImageFilter.GaussianBlur:
                found.append(radius)
                return blur(radius)

            with monkeypatch.context() as patch:
                patch.setattr(ImageFilter, "GaussianBlur", spy)
                for seed in range(50):
                    sheet = Sheet(TINY, np.random.default_rng(seed), look)
                    before = len(found)
                    sheet.finish([])
                    found[before:] = [radius * 11 / sheet.size for radius in found[before:]]
            return found

        usual, shifted = blurs(USUAL), blurs(SHIFTED)
        assert 15 < len(usual) < 50
        assert len(shifted) == 50
        assert max(usual) < min(shifted)

    @pytest.mark.parametrize("seed", range(6))
    @pytest.mark.parametrize(("x", "baseline"), [(8, 20), (140, 20), (75, 50), (8, 84), (140, 84)])
    def test_a_glyph_is_where_its_ink_is(self, seed: int, x: int, baseline: int) -> None:
        clean = replace(SHIFTED, blur=USUAL.blur)
        sheet = Sheet(TINY, np.random.default_rng(seed), clean)
        page, (glyph,) = sheet.finish(sheet.write("H", x, baseline))
        darkness = np.median(page) - page.astype(np.float64)
        # The light of the paper is uneven; ink is far darker.
        darkness[darkness < darkness.max() / 2] = 0
        rows, columns = np.indices(page.shape)
        assert glyph.x == pytest.approx((darkness * columns).sum() / darkness.sum() + 0.5, abs=1.3)
        assert glyph.y == pytest.approx((darkness * rows).sum() / darkness.sum() + 0.5, abs=1.3)


def corner(document: Document, character: int) -> float:
    """Where a character of the ground truth stands, as a share of the page's width."""
    return document.glyphs[character].x / TINY.width


class TestLayouts:
    """What the first or the last character of the ground truth shows of them."""

    def test_the_amounts_of_receipts_stand_elsewhere(self, datasets: dict[str, Dataset]) -> None:
        receipts = datasets["receipts-mini"]
        assert min(corner(d, -1) for d in receipts.open(TINY, "train", 0, COUNT)) > 0.9
        assert max(corner(d, -1) for d in receipts.open(TINY, "shifted", 0, COUNT)) < 0.8

    def test_lines_of_text_begin_elsewhere(self, datasets: dict[str, Dataset]) -> None:
        reading = datasets["synthdog-mini"]
        usual, shifted = ([corner(d, 0) for d in reading.open(TINY, split, 0, COUNT)] for split in SIDE_BY_SIDE)
        assert max(usual) < min(shifted)

    def test_addresses_of_parcels_begin_elsewhere(self, datasets: dict[str, Dataset]) -> None:
        def first(document: Document) -> float:
            return corner(document, len(document.ground_truth["sender"]["name"].replace(" ", "")))

        parcels = datasets["parcels-mini"]
        assert max(map(first, parcels.open(TINY, "train", 0, COUNT))) < 0.1
        assert np.median([first(d) for d in parcels.open(TINY, "shifted", 0, COUNT)]) > 0.12
