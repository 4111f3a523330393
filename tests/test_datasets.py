"""The embedded data sets: the same bytes everywhere, no leak between splits, and ground truth that is printed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.models.encoded import encode_documents
from benchmark.models.processor import encode, to_json
from benchmark.scales import TINY, Scale
from benchmark.truth import to_text
from benchmark.types import SPLITS, Dataset, Document, Split
from donutbench_datasets.render import FACES, Sheet
from donutbench_datasets.words import Writer

NAMES = ("synthdog-mini", "receipts-mini", "parcels-mini")
# If these change, so do the documents: raise `Dataset.version`, and make the zoo and the reports again.
GOLDEN = {
    "synthdog-mini": ("a09f86ad7be8a4de", "48a9cee189529a55"),
    "receipts-mini": ("84083c9c1c67b46a", "fa1a444a6f844212"),
    "parcels-mini": ("704a81d1921ec76e", "4210534978cb5ba8"),
}
PRINTED_LABELS = {
    "SUBTOTAL",
    "Subtotal",
    "Sub Total",
    "TAX",
    "Tax",
    "VAT",
    "TOTAL",
    "Total",
    "TOTAL DUE",
    "CASH",
    "CHANGE",
}
PRINTED_LABELS |= {"PARCEL", "CUSTOMS", "PRIORITY", "EXPRESS"}
COUNTS: dict[Split, int] = {"train": 500, "test": 100}
NUMBER = re.compile(r"\d+|\d+\.\d\d|\d+\.\dkg|\d{3}-\d{4}")
TITLES = frozenset(["Ltd", "Inc", "Bros", "Sons", "Group", "Trading", "Store", "Supply", "Foods", "Market"])
TWO_WORDS = re.compile(r"([A-Z][a-z]+) ([A-Z][a-z]+)")
STREET = re.compile(r"\d+ ([A-Z][a-z]+) [A-Z][a-z]+, ([A-Z][a-z]+)")
LARGE = replace(TINY, name="large", height=960, width=1280, font_pixels=(28, 44), max_tokens=4096)


@dataclass(frozen=True)
class Corpus:
    """Documents of one split and every string that was printed on them."""

    documents: Sequence[Document]
    printed: frozenset[str]

    @property
    def strings(self) -> set[str]:
        """What belongs to a split: all but labels, amounts, phone numbers and weights; case does not count."""
        return {t.lower() for t in self.printed if t not in PRINTED_LABELS and not NUMBER.fullmatch(t)}

    @property
    def proper_names(self) -> set[str]:
        """The words of names, companies and streets."""
        texts = self.printed - PRINTED_LABELS
        found = (TWO_WORDS.fullmatch(text) or STREET.fullmatch(text) for text in texts)
        return {word for match in found if match for word in match.groups()} - TITLES


@pytest.fixture(scope="session")
def corpora(datasets: dict[str, Dataset]) -> dict[tuple[str, Split], Corpus]:
    """500 training and 100 test documents of each data set."""
    found: dict[tuple[str, Split], Corpus] = {}
    write = Sheet.write
    with pytest.MonkeyPatch.context() as patch:
        for name, dataset in datasets.items():
            for split, count in COUNTS.items():
                printed: set[str] = set()

                def spy(sheet: Sheet, text: str, *place: Any, seen: set[str] = printed) -> Any:
                    seen.add(text)
                    return write(sheet, text, *place)

                patch.setattr(Sheet, "write", spy)
                documents = list(dataset.open(TINY, split, 0, count))
                found[name, split] = Corpus(documents, frozenset(printed))
    return found


@pytest.fixture(params=NAMES)
def dataset(request: pytest.FixtureRequest, datasets: dict[str, Dataset]) -> Dataset:
    return datasets[str(request.param)]


@pytest.fixture
def documents(dataset: Dataset, corpora: dict[tuple[str, Split], Corpus]) -> list[Document]:
    """All of the corpus."""
    return [document for split in ("train", "test") for document in corpora[dataset.name, split].documents]


def some(dataset: Dataset, seed: int = 0, count: int = 3, scale: Scale = TINY) -> list[Document]:
    """A few documents of every split."""
    return [document for split in SPLITS for document in dataset.open(scale, split, seed, count)]


def digest(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def pages_digest(documents: Sequence[Document]) -> str:
    return digest(document.page.tobytes() for document in documents)


def truths_digest(documents: Sequence[Document]) -> str:
    return digest(json.dumps(document.ground_truth).encode() for document in documents)


def leaves(truth: Any) -> list[str]:
    if isinstance(truth, dict):
        return [leaf for value in truth.values() for leaf in leaves(value)]
    if isinstance(truth, list):
        return [leaf for value in truth for leaf in leaves(value)]
    assert isinstance(truth, str)
    return [truth]


class TestBytes:
    def test_they_are_those_of_every_machine(self, dataset: Dataset) -> None:
        documents = some(dataset)
        assert (truths_digest(documents), pages_digest(documents)) == GOLDEN[dataset.name]

    def test_the_same_seed_gives_the_same_documents(self, dataset: Dataset) -> None:
        for first, second in zip(some(dataset, seed=5), some(dataset, seed=5), strict=True):
            assert np.array_equal(first.page, second.page)
            assert replace(first, page=second.page) == second

    def test_another_seed_gives_others(self, dataset: Dataset) -> None:
        for first, second in zip(some(dataset, seed=5), some(dataset, seed=6), strict=True):
            assert not np.array_equal(first.page, second.page)
            assert first.ground_truth != second.ground_truth
            assert first.id != second.id

    def test_a_document_depends_on_its_index_alone(self, dataset: Dataset) -> None:
        few, many = dataset.open(TINY, "train", 0, 4), dataset.open(TINY, "train", 0, 40)
        backwards = [many[i] for i in (3, 2, 1, 0)][::-1]
        assert pages_digest(few) == pages_digest(backwards) == pages_digest(many[:4])
        assert (few[-1].id, few[3].id) == (backwards[3].id, backwards[3].id)
        with pytest.raises(IndexError):
            few[4]

    def test_without_a_count_a_split_has_the_size_of_the_scale(self, dataset: Dataset) -> None:
        assert len(dataset.open(TINY, "validation", 0, None)) == TINY.validation_documents
        assert len(dataset.open(TINY, "test", 0, None)) == TINY.test_documents


class TestSplits:
    def test_no_string_of_the_test_split_occurs_in_training(
        self, dataset: Dataset, corpora: dict[tuple[str, Split], Corpus]
    ) -> None:
        train, test = (corpora[dataset.name, split] for split in ("train", "test"))
        assert len(train.strings) > 500
        assert len(test.strings) > 100
        assert not train.strings & test.strings

    def test_no_name_of_the_test_split_occurs_in_training(
        self, dataset: Dataset, corpora: dict[tuple[str, Split], Corpus]
    ) -> None:
        train, test = (corpora[dataset.name, split] for split in ("train", "test"))
        assert len(train.proper_names) > 200
        assert len(test.proper_names) > 40
        assert not train.proper_names & test.proper_names

    def test_no_two_documents_say_the_same(self, documents: list[Document]) -> None:
        assert len({json.dumps(d.ground_truth) for d in documents}) == len(documents)
        assert len({d.id for d in documents}) == len(documents)
        assert len({d.page.tobytes() for d in documents}) == len(documents)

    @pytest.mark.parametrize(
        ("kind", "longest"),
        [("name", 16), ("company", 16), ("street", 22), ("dish", 11), ("article", 11), ("code", 4), ("sentence", 12)],
    )
    def test_each_kind_of_text_belongs_to_one_split(self, kind: str, longest: int) -> None:
        drawn: dict[str, set[str]] = {}
        for number, split in enumerate(SPLITS):
            writer = Writer(np.random.default_rng(number), split)
            drawn[split] = {getattr(writer, kind)(longest).lower() for _ in range(150)}
            assert max(map(len, drawn[split])) <= longest
        assert not drawn["train"] & drawn["test"]
        assert not drawn["train"] & drawn["validation"]
        assert not drawn["validation"] & drawn["test"]


class TestGroundTruth:
    def test_it_survives_the_way_to_tokens_and_back(self, documents: list[Document], processor: DonutProcessor) -> None:
        end, unknown = processor.tokenizer.eos_token_id, processor.tokenizer.unk_token_id
        texts = [to_text(document.ground_truth) for document in documents]
        labels = encode(processor, texts, longest=1000).tolist()
        for document, row in zip(documents, labels, strict=True):
            tokens = row[: row.index(end)]
            assert unknown not in tokens
            text = processor.tokenizer.decode(tokens, skip_special_tokens=False)
            assert to_json(processor, text) == document.ground_truth

    def test_it_fits_into_the_decoder(
        self, dataset: Dataset, documents: list[Document], processor: DonutProcessor
    ) -> None:
        # Prompt, tokens and end: `decode` writes no more than that.
        labels = encode(processor, [to_text(d.ground_truth) for d in documents], longest=1000)
        lengths = 1 + (labels != -100).sum(1)
        long = [d.id for d, length in zip(documents, lengths.tolist(), strict=True) if length > TINY.max_tokens]
        assert long == []

    def test_its_keys_are_those_that_the_data_set_names(self, dataset: Dataset, documents: list[Document]) -> None:
        def keys(truth: Any) -> set[str]:
            if isinstance(truth, dict):
                return set(truth).union(*map(keys, truth.values()))
            return set().union(*map(keys, truth)) if isinstance(truth, list) else set()

        assert set().union(*(keys(document.ground_truth) for document in documents)) == set(dataset.keys)

    def test_no_value_is_blank(self, documents: list[Document]) -> None:
        assert all(leaf and leaf == leaf.strip() for d in documents for leaf in leaves(d.ground_truth))

    def test_the_amounts_of_a_receipt_add_up(self, corpora: dict[tuple[str, Split], Corpus]) -> None:
        paid_in_cash = 0
        for document in corpora["receipts-mini", "train"].documents:
            truth = document.ground_truth
            menu = truth["menu"] if isinstance(truth["menu"], list) else [truth["menu"]]
            subtotal, tax = (Decimal(truth["sub_total"][key]) for key in ("subtotal_price", "tax_price"))
            total = {key: Decimal(value) for key, value in truth["total"].items()}
            assert sum(Decimal(item["price"]) for item in menu) == subtotal > 0
            assert all(Decimal(item["price"]) * 100 % int(item["cnt"]) == 0 for item in menu)
            assert subtotal + tax == total["total_price"]
            assert 0 <= tax <= subtotal / 4
            if "cashprice" in total:
                assert total["cashprice"] - total["total_price"] == total["changeprice"] >= 0
                paid_in_cash += 1
        assert 50 < paid_in_cash < 450


class TestGlyphs:
    def test_they_follow_the_ground_truth(self, documents: list[Document]) -> None:
        for document in documents:
            printed = re.sub(r"\s", "", "".join(leaves(document.ground_truth)))
            assert "".join(glyph.character for glyph in document.glyphs) == printed

    def test_each_token_gets_the_place_of_its_character(self, dataset: Dataset, processor: DonutProcessor) -> None:
        documents = dataset.open(TINY, "validation", 0, 5)
        pages = encode_documents(documents, processor, TINY.max_tokens, points=True)
        for document, labels, points in zip(documents, pages.labels, pages.points, strict=True):
            tokens = processor.tokenizer.convert_ids_to_tokens(labels[points[:, 0] >= 0].tolist())
            assert tokens == [glyph.character for glyph in document.glyphs]
            xs = points[points[:, 0] >= 0][:, 0].tolist()
            assert xs == pytest.approx([glyph.x for glyph in document.glyphs], abs=1e-3)

    def test_they_lie_on_ink(self, documents: list[Document]) -> None:
        for document in documents[::10]:
            page = flat(document.page)
            on_ink = np.zeros(page.shape, bool)
            for glyph in document.glyphs:
                box = around(glyph.x, glyph.y)
                on_ink[box] = True
                if glyph.character.isalnum():
                    assert page[box].mean() < -12, (document.id, glyph)
            assert page[on_ink].mean() < page[~on_ink].mean() - 15

    @pytest.mark.parametrize("seed", range(12))
    @pytest.mark.parametrize(("x", "baseline"), [(8, 20), (140, 20), (75, 50), (8, 88), (140, 88)])
    def test_a_glyph_is_where_its_ink_is(self, seed: int, x: int, baseline: int) -> None:
        sheet = Sheet(TINY, np.random.default_rng(seed))
        page, (glyph,) = sheet.finish(sheet.write("H", x, baseline))
        darkness = np.clip(-flat(page), 0, None)
        darkness[darkness < darkness.max() / 2] = 0
        rows, columns = np.indices(page.shape)
        assert glyph.x == pytest.approx((darkness * columns).sum() / darkness.sum() + 0.5, abs=1.3)
        assert glyph.y == pytest.approx((darkness * rows).sum() / darkness.sum() + 0.5, abs=1.3)


def flat(page: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The page minus its paper, which is an incline of light: ink is far below 0."""
    rows, columns = np.indices(page.shape)
    terms = np.stack([np.ones(page.size), rows.ravel(), columns.ravel()], axis=1)
    values = page.ravel().astype(np.float64)
    paper = np.ones(page.size, bool)
    for _ in range(4):
        light = terms @ np.linalg.lstsq(terms[paper], values[paper], rcond=None)[0]
        paper = values > light - 10
    flattened: NDArray[np.float64] = (values - light).reshape(page.shape)
    return flattened


def around(x: float, y: float) -> tuple[slice, slice]:
    """The pixels that a character of 10 to 12 pixels covers."""
    return slice(max(round(y) - 5, 0), round(y) + 5), slice(max(round(x) - 3, 0), round(x) + 3)


class TestPages:
    def test_they_have_the_size_of_the_scale(self, documents: list[Document]) -> None:
        assert {(d.page.shape, d.page.dtype) for d in documents} == {((TINY.height, TINY.width), np.dtype(np.uint8))}

    def test_every_face_is_used(self) -> None:
        faces = {Sheet(TINY, np.random.default_rng(seed)).face for seed in range(150)}
        assert faces == set(FACES)

    def test_a_larger_scale_gives_larger_pages_and_fills_them(self, dataset: Dataset) -> None:
        documents = list(dataset.open(LARGE, "validation", 0, 6))
        heights, widths = [], []
        for document in documents:
            assert document.page.shape == (960, 1280)
            rows, columns = np.nonzero(flat(document.page[::2, ::2]) < -60)
            heights.append(np.ptp(rows) / 480)
            widths.append(np.ptp(columns) / 640)
            assert all(-20 < glyph.x < 1300 and -20 < glyph.y < 980 for glyph in document.glyphs)
        assert min(widths) > 0.85
        assert max(heights) > 0.5
        if dataset.task == "reading":
            assert min(heights) > 0.5

    def test_a_larger_scale_has_larger_letters(self, dataset: Dataset) -> None:
        def height(scale: Scale) -> float:
            """The mean distance from a line to the next."""
            steps = []
            for document in dataset.open(scale, "validation", 0, 4):
                ys = np.sort([glyph.y for glyph in document.glyphs])
                steps += [step for step in np.diff(ys) if step > scale.font_pixels[0] / 2]
            return float(np.median(steps))

        assert height(TINY) * 2 < height(LARGE) < height(TINY) * 5
