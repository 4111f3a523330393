"""Pages to pixels: what Donut's own processor makes of them, for any processor and any shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DonutImageProcessorPil, DonutProcessor

from benchmark.measure.latency import read_fixed
from benchmark.models.checkpoint import load_checkpoint, save_model
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.processor import build_processor, categories_of, encode, fit_page, to_json, to_pixels
from benchmark.scales import TINY
from benchmark.scoring.evaluator import evaluate_checkpoint
from benchmark.scoring.predict import decode
from benchmark.scoring.representations import represent
from benchmark.training.compress import TrainingData
from benchmark.truth import to_text
from benchmark.types import Dataset, Page
from benchmark.zoo.store import open_zoo

TEACHER = open_zoo(TINY).folder / "receipts-mini" / "teacher"
PROMPT = "<s_receipts-mini>"
HALF: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
IMAGENET: dict[str, Any] = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
PROCESSORS: dict[str, dict[str, Any]] = {
    "half": HALF,
    "ImageNet": IMAGENET,
    "the default of transformers": {},
    "one number": {"image_mean": 0.3, "image_std": 0.7},
    "not normalised": {"do_normalize": False},
    "neither rescaled nor normalised": {"do_rescale": False, "do_normalize": False},
    "not rescaled": {"do_rescale": False, **IMAGENET},
    "another factor": {"rescale_factor": 1 / 127.5, **HALF},
    "turned": {"do_align_long_axis": True, **IMAGENET},
    "upright": {"size": {"height": 50, "width": 30}, **IMAGENET},
    "turned and upright": {"size": {"height": 50, "width": 30}, "do_align_long_axis": True, **HALF},
    "square": {"size": {"height": 32, "width": 32}, **HALF},
    "cropped": {"do_center_crop": True, "crop_size": {"height": 20, "width": 24}, **HALF},
}
SHAPES = ((96, 160), (160, 96), (50, 30), (32, 32), (97, 161), (33, 400), (400, 33), (5, 7), (3, 9), (9, 1))


def processor_of(**options: Any) -> DonutProcessor:
    options = {"size": {"height": TINY.height, "width": TINY.width}, **options}
    return DonutProcessor(DonutImageProcessorPil(**options), open_zoo(TINY).processor().tokenizer)


def noise(*shape: int) -> Page:
    return np.random.default_rng(0).integers(1, 256, shape, np.uint8)


def colour(page: Page) -> Page:
    return page if page.ndim == 3 else np.repeat(page[:, :, None], 3, axis=2)


def donut(processor: DonutProcessor, page: Page, **options: Any) -> torch.Tensor:
    # Without their place, 1 or 3 rows pass for channels.
    made: Any = processor(images=colour(page), input_data_format="channels_last", return_tensors="pt", **options)
    return torch.as_tensor(made["pixel_values"])


def covered(page: Page) -> tuple[int, int]:
    """Rows and columns between the first and the last that are not padding."""
    rows, columns = np.nonzero(page.max(axis=2))
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


class TestToPixels:
    @pytest.mark.parametrize("kind", PROCESSORS)
    @pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colour"])
    def test_they_are_those_of_donut(self, kind: str, channels: tuple[int, ...]) -> None:
        processor = processor_of(**PROCESSORS[kind])
        for shape in SHAPES:
            page = noise(*shape, *channels)
            pixels = to_pixels(processor, torch.from_numpy(fit_page(processor, page))[None])
            expected = donut(processor, page)
            assert pixels.shape == expected.shape
            assert torch.allclose(pixels, expected.float(), atol=1e-6), (shape, (pixels - expected).abs().max())

    def test_many_pages_are_as_one(self, processor: DonutProcessor) -> None:
        pages = torch.from_numpy(noise(3, TINY.height, TINY.width))
        before = pages.clone()
        one_by_one = [to_pixels(processor, page[None]) for page in pages]
        assert torch.equal(to_pixels(processor, pages), torch.cat(one_by_one))
        assert torch.equal(pages, before)

    def test_the_shipped_processor_gives_minus_one_to_one(self) -> None:
        levels = torch.arange(256, dtype=torch.uint8).expand(1, 2, 256)
        pixels = to_pixels(open_zoo(TINY).processor(), levels)
        assert torch.allclose(pixels, (torch.arange(256) / 127.5 - 1).expand(1, 3, 2, 256), rtol=0, atol=2e-7)


class TestFitPage:
    @pytest.mark.parametrize("kind", ["half", "turned", "upright", "turned and upright", "square"])
    def test_however_long_a_page_is_it_is_read(self, kind: str) -> None:
        processor = processor_of(**PROCESSORS[kind])
        size = processor.image_processor.size
        for shape in ((291, 3), (40, 9000), (9000, 40), (4000, 3), (3, 4000), (1, 3000), (3000, 1), (1, 60000)):
            fitted = fit_page(processor, noise(*shape))
            assert fitted.shape == (size["height"], size["width"], 3)
            across = (size["width"] < size["height"]) == (shape[1] < shape[0]) or "turned" not in kind
            along_rows = (shape[0] > shape[1]) == across
            assert covered(fitted) == ((size["height"], 1) if along_rows else (1, size["width"])), shape

    @pytest.mark.parametrize("ratio", [95, 96])
    def test_the_longest_page_that_donut_can_read_is_read_as_donut_does(self, ratio: int) -> None:
        processor = processor_of(**HALF)
        page = noise(3 * ratio, 3, 3)
        expected = donut(processor, page, do_rescale=False, do_normalize=False)[0].permute(1, 2, 0).numpy()
        assert np.array_equal(fit_page(processor, page), expected)

    def test_a_till_roll_is_read_by_a_large_model(self) -> None:
        """Donut would first enlarge it to 1920 x 1,280,000 pixels."""
        fitted = fit_page(processor_of(size={"height": 1920, "width": 2560}), noise(6, 4000))
        assert covered(fitted) == (3, 2560)

    def test_a_long_page_keeps_its_levels_in_their_order(self) -> None:
        roll = np.repeat(np.linspace(10, 250, 4000).astype(np.uint8)[:, None], 3, axis=1)
        column = fit_page(processor_of(**HALF), roll).max(axis=(1, 2)).astype(int)
        assert (np.diff(column) > 0).all()
        assert column == pytest.approx(np.linspace(10, 250, 96), abs=3)


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The receipts teacher with its first layer folded: it wants pixels of ImageNet's mean and standard deviation."""
    folder = tmp_path_factory.mktemp("folded") / "donut"
    loaded = load_checkpoint(TEACHER)
    convolution: Any = loaded.model.encoder.embeddings.patch_embeddings.projection
    assert convolution.padding == (0, 0)
    mean, std = (torch.tensor(IMAGENET[name])[None, :, None, None] for name in ("image_mean", "image_std"))
    with torch.no_grad():  # 2 p - 1 = 2 std x + 2 mean - 1, where x = (p - mean) / std
        convolution.bias += (convolution.weight * (2 * mean - 1)).sum((1, 2, 3))
        convolution.weight *= 2 * std
    save_model(loaded.model, folder)
    processor_of(**IMAGENET).save_pretrained(str(folder))
    return folder


class TestAnotherNormalisation:
    """It is the checkpoint's own everywhere: the folded teacher is the teacher."""

    @pytest.fixture
    def pages(self, datasets: dict[str, Dataset], processor: DonutProcessor) -> EncodedDocuments:
        return encode_documents(datasets["receipts-mini"].open(TINY, "test", 0, 12), processor, TINY.max_tokens)

    def test_it_scores_the_same(self, folded: Path, datasets: dict[str, Dataset]) -> None:
        scores, expected = (
            evaluate_checkpoint(str(path), datasets["receipts-mini"], TINY, "cpu", limit=12)
            for path in (folded, TEACHER)
        )
        assert scores == expected
        assert scores["ted"] > 0.9

    def test_it_writes_the_same(self, folded: Path, pages: EncodedDocuments) -> None:
        assert written(folded, pages) == written(TEACHER, pages)

    def test_its_layers_say_the_same(self, folded: Path, pages: EncodedDocuments) -> None:
        for ours, expected in zip(said(folded, pages), said(TEACHER, pages), strict=True):
            assert ours == pytest.approx(expected, abs=1e-3)

    def test_it_is_taught_the_same(self, folded: Path, pages: EncodedDocuments, datasets: dict[str, Dataset]) -> None:
        ours, expected = (logits(path, pages, datasets["receipts-mini"]) for path in (folded, TEACHER))
        assert torch.allclose(ours, expected, atol=1e-3)

    def test_what_is_timed_reads_the_same(self, folded: Path, pages: EncodedDocuments) -> None:
        rows = []
        for path in (folded, TEACHER):
            loaded = load_checkpoint(path)
            rows.append(read_fixed(loaded.model, loaded.processor, pages.pages[:1], PROMPT, 30).tolist())
        assert rows[0] == rows[1]


def written(path: Path, pages: EncodedDocuments) -> list[str]:
    loaded = load_checkpoint(path)
    return [text for text, _ in decode(loaded.model, loaded.processor, pages.pages, PROMPT, TINY.max_tokens)]


def said(path: Path, pages: EncodedDocuments) -> tuple[Any, ...]:
    loaded = load_checkpoint(path)
    prompt = loaded.processor.tokenizer.convert_tokens_to_ids(PROMPT)
    return represent(loaded.model, loaded.processor, pages, prompt).layers


def logits(path: Path, pages: EncodedDocuments, dataset: Dataset) -> torch.Tensor:
    loaded = load_checkpoint(path)
    course = TrainingData(dataset, loaded.processor, pages, pages, loaded.model, TINY.quick, len(pages))
    with torch.no_grad():
        return course.outputs_of(loaded.model, {"pages": pages.pages[:2], "labels": pages.labels[:2]}).logits


def test_a_value_with_a_token_of_its_own_is_written_as_it_and_read_back() -> None:
    """Donut's classes of documents: ``<invoice/>``."""
    processor = build_processor(TINY, [])
    processor.tokenizer.add_tokens(["<s_class>", "</s_class>", "<invoice/>"], special_tokens=True)
    assert categories_of(processor) == {"invoice"}
    text = to_text({"class": ["invoice", "letter"]}, categories_of(processor))
    assert text == "<s_class><invoice/><sep/>letter</s_class>"
    (row,) = encode(processor, [text], 20)
    assert processor.tokenizer.convert_tokens_to_ids("<invoice/>") in row.tolist()
    assert to_json(processor, text) == {"class": ["invoice", "letter"]}
