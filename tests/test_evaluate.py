"""Scoring and reading: any image or a line that names it, the blind score, and what CKA looks at."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DonutProcessor

from benchmark.cli import main
from benchmark.errors import UserError
from benchmark.metrics import field_f1, linear_cka, ted_accuracy
from benchmark.metrics.cka import cka_matrix
from benchmark.metrics.networks import block_cka, global_cka, self_ceiling
from benchmark.models.checkpoint import load_checkpoint, save_model
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments, encode_documents
from benchmark.models.processor import build_processor, to_json
from benchmark.records.record import Metrics, Prediction
from benchmark.scales import TINY, Scale
from benchmark.scoring.evaluator import Evaluator, evaluate_checkpoint, predict_images
from benchmark.scoring.predict import Reading, Written, decode
from benchmark.scoring.representations import Representations, represent
from benchmark.truth import to_text
from benchmark.types import Dataset, Document, Split

PROMPT = "<s_receipts-mini>"

Draw = Callable[[Path], object]


def noise(path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)).save(path, "PNG")
    return path


def cut(path: Path) -> None:
    content = noise(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    content = bytearray(noise(path).read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def worded(path: Path) -> None:
    """A TIFF that says in text where its pixels are."""
    tags = [
        (256, 3, 1, 1),
        (257, 3, 1, 1),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 2, 2, 50),
        (279, 3, 1, 1),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + b"\0")


CORRUPT: dict[str, Draw] = {
    "cut short": cut,
    "a byte is wrong": flipped,
    "text for a number": worded,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("this is no image"),
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
}
BLANK: dict[str, Draw] = {
    "white": lambda path: Image.new("RGB", (160, 96), "white").save(path),
    "black and small": lambda path: Image.new("L", (3, 2), 0).save(path),
    "long and transparent": lambda path: Image.new("RGBA", (900, 40), (0, 0, 0, 0)).save(path),
    "two colours": lambda path: Image.new("1", (40, 900), 1).save(path),
}


def student_of(dataset: Dataset, folder: Path) -> Path:
    """An untrained student that knows one data set, in a folder."""
    processor = build_processor(TINY, [dataset])
    save_model(build(replace(TINY, max_tokens=48), TINY.small, len(processor.tokenizer), seed=0), folder)
    processor.save_pretrained(str(folder))
    return folder


class TestPredictImages:
    @pytest.mark.parametrize("how", CORRUPT)
    def test_an_image_that_cannot_be_read_is_named(self, how: str, checkpoint: Path, tmp_path: Path) -> None:
        good, bad = noise(tmp_path / "good.png"), tmp_path / "bad.png"
        CORRUPT[how](bad)
        with pytest.raises(UserError) as caught:
            predict_images(str(checkpoint), [good, bad], dataset="receipts-mini")
        assert f"cannot read the image {bad}" in str(caught.value)
        assert str(good) not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_pages_without_text_give_a_result(self, checkpoint: Path, tmp_path: Path) -> None:
        paths = [tmp_path / f"{number}.png" for number in range(len(BLANK))]
        for path, draw in zip(paths, BLANK.values(), strict=True):
            draw(path)
        results = predict_images(str(checkpoint), paths, dataset="receipts-mini")
        assert [result["image"] for result in results] == [str(path) for path in paths]
        for result in results:
            assert set(result) == {"image", "prediction"}
            assert isinstance(result["prediction"], (dict, list))
            assert json.loads(json.dumps(result)) == result

    def test_a_page_is_read_as_in_the_benchmark(
        self, checkpoint: Path, datasets: dict[str, Dataset], pages: EncodedDocuments, tmp_path: Path
    ) -> None:
        document = datasets["receipts-mini"].open(TINY, "test", 0, 1)[0]
        Image.fromarray(document.page).save(tmp_path / "receipt.png")
        loaded = load_checkpoint(checkpoint)
        ((text, _),) = decode(loaded.model, loaded.processor, pages.pages[:1], PROMPT, longest=48)
        (result,) = predict_images(str(checkpoint), [tmp_path / "receipt.png"], dataset="receipts-mini")
        assert result["prediction"] == to_json(loaded.processor, text)

    @pytest.mark.parametrize("dataset", ["cord-v3", None])
    def test_what_can_be_read_is_told(self, dataset: str | None, checkpoint: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="parcels-mini, receipts-mini, synthdog-mini"):
            predict_images(str(checkpoint), [noise(tmp_path / "page.png")], dataset=dataset)

    def test_a_data_set_of_one_word_can_be_read(self, datasets: dict[str, Dataset], tmp_path: Path) -> None:
        invoices = replace(datasets["receipts-mini"], name="invoices")
        folder = student_of(invoices, tmp_path / "donut")
        (result,) = predict_images(str(folder), [noise(tmp_path / "page.png")], dataset="invoices")
        assert "prediction" in result

    def test_the_command_prints_what_it_reads(
        self, datasets: dict[str, Dataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The command line names no task: a checkpoint of one task needs none."""
        folder = student_of(datasets["receipts-mini"], tmp_path / "donut")
        image = str(noise(tmp_path / "page.png"))
        assert main(["predict", str(folder), image]) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["image"] == image
        assert "Traceback" not in err

    def test_the_command_names_a_corrupt_image(
        self, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cut(tmp_path / "bad.png")
        assert main(["predict", str(checkpoint), str(tmp_path / "bad.png")]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert "bad.png" in err


def scored(evaluator: Evaluator, model: Donut) -> tuple[Metrics, list[Prediction]]:
    return evaluator.score(model, evaluator.predict(model))


@pytest.fixture
def evaluator(datasets: dict[str, Dataset], processor: DonutProcessor, pages: EncodedDocuments) -> Evaluator:
    train = [document.ground_truth for document in datasets["receipts-mini"].open(TINY, "train", 0, 5)]
    return Evaluator(datasets["receipts-mini"], processor, pages, train, longest=60)


class TestJudge:
    def test_the_blind_score_is_that_of_the_best_fixed_answer(
        self, evaluator: Evaluator, datasets: dict[str, Dataset], pages: EncodedDocuments
    ) -> None:
        answers = [document.ground_truth for document in datasets["receipts-mini"].open(TINY, "train", 0, 5)]
        scores = [sum(ted_accuracy(answer, truth) for truth in pages.ground_truths) / len(pages) for answer in answers]
        assert len(set(scores)) == len(scores)
        whole = Evaluator(evaluator.dataset, evaluator.processor, pages, answers, TINY.max_tokens)
        assert whole.blind_ted == pytest.approx(max(scores))
        short = Evaluator(evaluator.dataset, evaluator.processor, pages, answers, longest=8)
        assert short.blind_ted < whole.blind_ted < 0.9, "no answer is longer than what a model writes"

    def test_who_knows_the_only_answer_needs_not_read(
        self, datasets: dict[str, Dataset], processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        truth = pages.ground_truths[0]
        same = replace(pages, ground_truths=(truth,) * len(pages))
        evaluator = Evaluator(datasets["receipts-mini"], processor, same, [pages.ground_truths[1], truth], longest=60)
        assert evaluator.blind_ted == 1.0

    def test_the_scores_are_those_of_the_predictions(
        self, evaluator: Evaluator, model: Donut, pages: EncodedDocuments
    ) -> None:
        metrics, lines = scored(evaluator, model)
        assert [line.id for line in lines] == list(pages.ids)
        assert [line.ground_truth for line in lines] == list(pages.ground_truths)
        for line in lines:
            assert line.prediction == to_json(evaluator.processor, line.text)
            assert line.ted == ted_accuracy(line.prediction, line.ground_truth)
        assert metrics.ted == pytest.approx(np.mean([line.ted for line in lines]))
        f1 = field_f1([line.prediction for line in lines], [line.ground_truth for line in lines])
        assert metrics.f1 == pytest.approx(f1)
        micro = sum(line.tp for line in lines) / sum(line.tp + (line.fp + line.fn) / 2 for line in lines)
        assert metrics.f1 == pytest.approx(micro)
        assert metrics.ted_cannot_read == evaluator.blind_ted
        assert (metrics.cka, metrics.layerwise) == (None, [])

    def test_a_perfect_reader_gets_1(
        self, evaluator: Evaluator, model: Donut, pages: EncodedDocuments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = [Written(to_text(truth), True) for truth in pages.ground_truths]
        monkeypatch.setattr("benchmark.scoring.evaluator.decode", lambda *_: texts)
        metrics, lines = scored(evaluator, model)
        assert (metrics.ted, metrics.f1) == (1.0, 1.0)
        assert sum(line.fn + line.fp for line in lines) == 0
        assert set(metrics.failures.values()) == {0}
        assert all(line.ended and not line.failures for line in lines)

    def test_the_teacher_is_like_itself(self, evaluator: Evaluator, model: Donut, pages: EncodedDocuments) -> None:
        evaluator.compare_with(model)
        metrics, _ = scored(evaluator, model)
        assert metrics.cka == pytest.approx(1.0)
        assert metrics.cka_debiased == pytest.approx(1.0)
        assert (metrics.cka_index_matched, metrics.cka_blocks, metrics.cka_self_ceiling) == pytest.approx((1, 1, 1))
        assert metrics.cka_documents == len(pages)
        assert [row[index] for index, row in enumerate(metrics.layerwise)] == pytest.approx([1.0] * 6)
        assert metrics.layers_student == metrics.layers_teacher

    def test_the_floor_is_that_of_these_features_with_the_documents_permuted(
        self, evaluator: Evaluator, model: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        evaluator.compare_with(model)
        student = build(TINY, TINY.small, len(processor.tokenizer), seed=9)
        ours, teachers = look(student, processor, pages).layers, look(model, processor, pages).layers
        every = [
            global_cka(cka_matrix([layer[list(order)] for layer in ours], teachers), 2, 2, 4)
            for order in permutations(range(len(pages)))
        ]
        metrics, _ = scored(evaluator, student)
        assert metrics.cka_null_floor == pytest.approx(np.mean(every), abs=1e-4)

    def test_features_that_are_not_finite_have_no_cka_and_cost_nothing_else(
        self, evaluator: Evaluator, model: Donut
    ) -> None:
        evaluator.compare_with(model)
        whole, _ = scored(evaluator, model)
        broken = deepcopy(model)
        with torch.no_grad():  # seen by the last decoder layer alone
            broken.decoder.model.decoder.layers[3].fc2.bias[0] = float("inf")
        metrics, lines = scored(evaluator, broken)
        assert (metrics.cka, metrics.cka_debiased, metrics.cka_null_floor) == (None, None, None)
        assert (metrics.cka_index_matched, metrics.cka_blocks) == (None, None)
        assert metrics.cka_self_ceiling == pytest.approx(1.0), "it is the teacher's"
        assert metrics.layerwise[3:] == [*whole.layerwise[3:5], [None] * 6]
        assert metrics.cka_documents == len(lines) == 6
        assert metrics.ted == pytest.approx(np.mean([line.ted for line in lines]))
        evaluator.compare_with(broken)
        by_the_broken, _ = scored(evaluator, model)
        assert (by_the_broken.cka, by_the_broken.cka_self_ceiling) == (None, None)
        assert [row[5] for row in by_the_broken.layerwise] == [None] * 6
        assert [row[:5] for row in by_the_broken.layerwise] == [row[:5] for row in whole.layerwise]

    def test_another_model_is_less_like_it(self, evaluator: Evaluator, model: Donut) -> None:
        evaluator.compare_with(model)
        student = build(TINY, TINY.small, len(evaluator.processor.tokenizer), seed=9)
        metrics, _ = scored(evaluator, student)
        assert metrics.cka is not None
        assert 0 < metrics.cka < 0.999
        assert np.asarray(metrics.layerwise).shape == (4, 6)

    def test_a_student_of_another_depth_is_read_in_every_way(
        self, evaluator: Evaluator, model: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        evaluator.compare_with(model)
        student = build(TINY, TINY.small, len(processor.tokenizer), seed=9)
        metrics, _ = scored(evaluator, student)
        ours, teachers = look(student, processor, pages).layers, look(model, processor, pages).layers
        matrix, own = cka_matrix(ours, teachers), cka_matrix(teachers, teachers)
        np.testing.assert_allclose(np.array(metrics.layerwise, dtype=float), matrix, atol=1e-4)
        debiased = cka_matrix(ours, teachers, debiased=True)
        np.testing.assert_allclose(np.array(metrics.layerwise_debiased, dtype=float), debiased, atol=1e-4)
        assert metrics.cka == pytest.approx(global_cka(matrix, 2, 2, 4), abs=1e-4)
        assert metrics.cka_index_matched == pytest.approx(np.diag(matrix).mean(), abs=1e-4)
        blocks = block_cka(matrix, cka_matrix(ours, ours), own, 2, 2, 4)
        assert metrics.cka_blocks == pytest.approx(blocks, abs=1e-4)
        assert metrics.cka_self_ceiling == pytest.approx(self_ceiling(own, 2, 2, 4), abs=1e-4)
        assert global_cka(matrix, 2, 2, 4) < self_ceiling(own, 2, 2, 4) < 1
        assert len({round(value, 3) for value in (global_cka(matrix, 2, 2, 4), np.diag(matrix).mean(), blocks)}) == 3

    def test_too_few_documents_have_no_cka(
        self, datasets: dict[str, Dataset], processor: DonutProcessor, model: Donut, pages: EncodedDocuments
    ) -> None:
        evaluator = Evaluator(datasets["receipts-mini"], processor, pages.head(3), pages.ground_truths[:1], longest=20)
        evaluator.compare_with(model)
        metrics, lines = scored(evaluator, model)
        assert len(lines) == 3
        assert (metrics.cka, metrics.cka_debiased, metrics.layerwise) == (None, None, [])


PERFECT: dict[str, tuple[Any, float]] = {
    "every letter is unknown": ({"company": "Привет", "total": "Рубль"}, 0.0),
    "no end within the limit": ({"company": "a " * 500}, 0.189),
    "a line that is broken": ({"company": "12 Main St\nSpringfield"}, 0.783),
    "a tag in a value": ({"company": "</s_company> more", "total": "9"}, 0.1),
    "a separator in a value": ({"company": "1<sep/>2"}, 0.111),
    "nothing as a value": ({"company": "Ltd", "total": None}, 0.0),
    "keys and values as they should be": ({"company": ["Ltd", "Inc"], "total": {"Unit Price": 9.5}}, 1.0),
    "what numpy holds": ({"company": np.array(["Ltd", "Inc"]), "total": (np.float32(9.1), np.int64(2))}, 1.0),
}


class TestCeiling:
    """What a reader gets that makes no mistake."""

    def evaluator(self, *truths: Any, longest: int = TINY.max_tokens) -> Evaluator:
        keys = ("company", "total", "Unit Price")
        bills = Dataset("bills", "bills", "extraction", keys, lambda scale, split, seed, count: [])
        processor = build_processor(TINY, [bills])
        page = np.zeros((TINY.height, TINY.width), np.uint8)
        documents = [Document(str(number), page, truth) for number, truth in enumerate(truths)]
        pages = encode_documents(documents, processor, longest)
        return Evaluator(bills, processor, pages, pages.ground_truths, longest)

    @pytest.mark.parametrize("kind", PERFECT)
    def test_it_is_known_before_anything_is_read(self, kind: str) -> None:
        truth, score = PERFECT[kind]
        assert self.evaluator(truth).ceiling == pytest.approx(score, abs=5e-4)

    def test_no_reader_is_better(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A model that writes the very labels gets the ceiling."""
        evaluator = self.evaluator(*(truth for truth, _ in PERFECT.values()))
        labels = evaluator.test.labels

        def learned_by_heart(pixels: torch.Tensor, start: int, end: int, longest: int) -> torch.Tensor:
            return labels[:, : longest - 1].masked_fill(labels[:, : longest - 1] == -100, end)

        monkeypatch.setattr(
            "benchmark.scoring.predict.reading_of",
            lambda model: Reading(learned_by_heart, model.encoder, model.decoder),
        )
        metrics, _ = scored(evaluator, build(TINY, TINY.small, len(evaluator.processor.tokenizer), seed=0))
        assert metrics.ted == metrics.ted_ceiling == evaluator.ceiling
        assert (metrics.truncated_documents, metrics.unknown_characters) == (1, 12)

    def test_the_terminal_is_told_why(self) -> None:
        evaluator = self.evaluator({"company": "Привет"}, {"company": "a" * 30}, {"company": "Ltd"}, longest=20)
        assert evaluator.warnings == [
            f"bills: a perfect reader scores {evaluator.ceiling:.3f} here: 1 of 3 documents is longer than 20 tokens, "
            "6 characters are unknown to the model"
        ]
        assert self.evaluator({"company": "Ltd"}).warnings == []

    def test_answers_in_tuples_are_as_good(self) -> None:
        evaluator = self.evaluator({"company": ("Ltd", "Inc")}, {"company": ("Ltd", "Inc")})
        assert evaluator.blind_ted == 1.0

    @pytest.mark.parametrize("split", ["test", "train"])
    @pytest.mark.parametrize("name", ["synthdog-mini", "receipts-mini", "parcels-mini"])
    def test_embedded_data_can_be_read_without_fault(
        self, name: str, split: Split, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        pages = encode_documents(datasets[name].open(TINY, split, 0, 100), processor, TINY.max_tokens)
        evaluator = Evaluator(datasets[name], processor, pages, [], TINY.max_tokens)
        assert evaluator.ceiling == 1.0
        assert evaluator.warnings == []


class TestSeveralTruths:
    """Any of several ground truths is right: a prediction is scored by the one that it agrees with best."""

    def evaluator(self, *alternatives: tuple[Any, ...]) -> Evaluator:
        answers = Dataset("answers", "answers", "extraction", ("a", "b"), lambda scale, split, seed, count: [])
        processor = build_processor(TINY, [answers])
        page = np.zeros((TINY.height, TINY.width), np.uint8)
        documents = [Document(str(truths), page, truths[0], alternatives=truths[1:]) for truths in alternatives]
        pages = encode_documents(documents, processor, TINY.max_tokens)
        return Evaluator(answers, processor, pages, [truths[-1] for truths in alternatives], TINY.max_tokens)

    def test_the_best_counts(self, model: Donut) -> None:
        letters = {"a": "xyz"}, {"a": "xy"}, {"a": "x"}
        evaluator = self.evaluator(({"a": "four"}, {"a": "4"}), ({"a": "yes"},), letters)
        metrics, lines = evaluator.score(model, [Written(f"<s_a>{text}</s_a>", True) for text in ("4", "yep", "xy")])
        assert [line.ground_truth for line in lines] == [{"a": "4"}, {"a": "yes"}, {"a": "xy"}]
        assert [line.ted for line in lines] == pytest.approx([1, 1 - 1 / 4, 1])
        assert [(line.tp, line.fn, line.fp) for line in lines] == [(1, 0, 0), (0, 1, 1), (1, 0, 0)]
        assert metrics.ted == pytest.approx((1 + 0.75 + 1) / 3)
        assert metrics.f1 == pytest.approx(2 / 3)
        assert metrics.several_truths == 2
        assert metrics.ted_ceiling == 1.0

    def test_of_those_that_are_as_near_it_is_the_first_with_the_better_fields(self, model: Donut) -> None:
        evaluator = self.evaluator(({"a": "12", "b": "pz"}, {"a": "11", "b": "zz"}, {"a": "xx", "b": "pq"}))
        _, (line,) = evaluator.score(model, [Written("<s_a>11</s_a><s_b>pq</s_b>", True)])
        assert line.ground_truth == {"a": "11", "b": "zz"}, "of each two letters are wrong, of two one field is right"

    def test_who_cannot_read_may_guess_any(self) -> None:
        evaluator = self.evaluator(({"a": "four"}, {"a": "4"}), ({"a": "five"}, {"a": "4"}))
        assert evaluator.blind_ted == 1.0

    def test_it_is_told_on_the_terminal(self) -> None:
        (line,) = self.evaluator(({"a": "four"}, {"a": "4"}), ({"a": "5"},)).warnings
        assert line == "answers: 1 of 2 documents has several ground truths: the best counts"


class TestEvaluateCheckpoint:
    def test_it_scores_the_test_split(self, checkpoint: Path, datasets: dict[str, Dataset]) -> None:
        scores = evaluate_checkpoint(str(checkpoint), datasets["receipts-mini"], TINY, limit=3)
        assert scores["dataset"] == "receipts-mini"
        assert scores["test_documents"] == 3
        assert 0 <= scores["ted"] <= 1
        assert 0 <= scores["f1"] <= 1
        assert scores["shifted_documents"] == 3
        assert 0 <= scores["shifted_ted"] <= 1
        assert 0 <= scores["shifted_f1"] <= 1

    def test_a_data_set_without_a_shifted_split_has_no_score_there(
        self, checkpoint: Path, datasets: dict[str, Dataset]
    ) -> None:
        one = replace(datasets["receipts-mini"], shifted=False)
        assert not any("shifted" in name for name in evaluate_checkpoint(str(checkpoint), one, TINY, limit=1))

    def test_it_says_what_a_perfect_reader_would_get(
        self, checkpoint: Path, datasets: dict[str, Dataset], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The checkpoint writes 48 tokens; receipts are longer."""
        scores = evaluate_checkpoint(str(checkpoint), datasets["receipts-mini"], TINY, limit=3)
        assert 0 < scores["ted_ceiling"] < 1
        assert (scores["truncated_documents"], scores["unknown_characters"]) == (2, 0)
        ceiling = f"{scores['ted_ceiling']:.3f}"
        line = f"receipts-mini: a perfect reader scores {ceiling} here: 2 of 3 documents are longer than 48 tokens\n"
        assert capsys.readouterr().err.endswith(line)

    def test_a_truth_that_is_no_json_is_refused_by_document(
        self, checkpoint: Path, datasets: dict[str, Dataset]
    ) -> None:
        receipts = datasets["receipts-mini"]

        def lazy(scale: Scale, split: Split, seed: int, count: int | None) -> list[Document]:
            truth = {"total": {"total_price": {1.5}}}
            return [replace(document, ground_truth=truth) for document in receipts.open(scale, split, seed, count)]

        with pytest.raises(UserError, match=r"test, document test-0-000000: total\.total_price is of type set"):
            evaluate_checkpoint(str(checkpoint), replace(receipts, open=lazy), TINY, limit=1)

    def test_a_data_set_that_it_does_not_know_is_told(self, checkpoint: Path, datasets: dict[str, Dataset]) -> None:
        other = replace(datasets["receipts-mini"], name="invoices")
        with pytest.raises(UserError, match="receipts-mini"):
            evaluate_checkpoint(str(checkpoint), other, TINY, limit=1)

    def test_a_checkpoint_without_processor_is_told(
        self, checkpoint: Path, datasets: dict[str, Dataset], tmp_path: Path
    ) -> None:
        shutil.copytree(checkpoint, tmp_path / "a" / "b" / "c")
        (tmp_path / "a" / "b" / "c" / "tokenizer.json").unlink()
        with pytest.raises(UserError, match=r"no tokenizer\.json"):
            evaluate_checkpoint(str(tmp_path / "a" / "b" / "c"), datasets["receipts-mini"], TINY, limit=1)


class TestRepresentations:
    @pytest.fixture
    def ours(self, model: Donut, processor: DonutProcessor, pages: EncodedDocuments) -> Representations:
        return look(model, processor, pages)

    def test_every_stage_and_layer_says_one_row_a_document(
        self, ours: Representations, pages: EncodedDocuments
    ) -> None:
        assert ours.names == ("enc.0", "enc.1", "dec.0", "dec.1", "dec.2", "dec.3")
        widths = [TINY.teacher.embed_dim, TINY.teacher.encoder_width] + [TINY.teacher.decoder_width] * 4
        assert [layer.shape for layer in ours.layers] == [(len(pages), width) for width in widths]
        assert (ours.encoder_layers, ours.decoder_layers) == (2, 4)
        assert all(layer.dtype == np.float64 and np.isfinite(layer).all() for layer in ours.layers)
        assert all(np.ptp(layer, axis=0).max() > 0 for layer in ours.layers)

    def test_a_layer_is_like_itself(self, ours: Representations) -> None:
        for debiased in (False, True):
            assert [linear_cka(layer, layer, debiased) for layer in ours.layers] == pytest.approx([1.0] * 6)
        matrix = cka_matrix(ours.layers, ours.layers)
        assert matrix == pytest.approx(matrix.T)
        assert matrix[0, 5] < 0.999

    def test_the_student_has_fewer_and_narrower_layers(
        self, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        student = look(build(TINY, TINY.small, len(processor.tokenizer), seed=0), processor, pages)
        assert student.names == ("enc.0", "enc.1", "dec.0", "dec.1")
        assert [layer.shape[1] for layer in student.layers] == [32, 64, 64, 64]

    def test_it_depends_neither_on_the_batch_nor_on_padding(
        self, ours: Representations, model: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        padded = replace(pages, labels=torch.nn.functional.pad(pages.labels, (0, 20), value=-100))
        for other in (look(model, processor, pages, batch=4), look(model, processor, padded)):
            for mine, theirs in zip(ours.layers, other.layers, strict=True):
                assert theirs == pytest.approx(mine, abs=1e-4)

    def test_the_decoder_is_seen_on_the_ground_truth(
        self, ours: Representations, model: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        other = look(model, processor, replace(pages, labels=pages.labels.roll(1, 0)))
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(ours.layers[:2], other.layers[:2], strict=True))
        assert not any(np.allclose(a, b, atol=1e-3) for a, b in zip(ours.layers[2:], other.layers[2:], strict=True))

    def test_it_leaves_the_model_as_it_was(
        self, model: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        model.train(True)
        before = deepcopy(model.state_dict())
        look(model, processor, pages)
        assert model.training
        assert not any(module._forward_hooks for module in model.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def look(model: Donut, processor: DonutProcessor, pages: EncodedDocuments, batch: int = 25) -> Representations:
    return represent(model, processor, pages, processor.tokenizer.convert_tokens_to_ids(PROMPT), batch)
