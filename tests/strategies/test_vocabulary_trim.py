"""Vocabulary trimming: the same tokens and the same logits as before, from a smaller table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import kl_div, softmax
from transformers import DonutProcessor

from benchmark import CrossEntropy, LogitDistillation, Outputs, UserError, keep_tokens
from benchmark.models.arithmetic import donut_macs
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, beyond_transformers, build, fit_vocabulary
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import greedy, supports
from benchmark.models.macs import count_macs
from benchmark.models.packed import packed_bytes
from benchmark.models.processor import prompt_of
from benchmark.models.vocabulary import KeptHead, tokens_of
from benchmark.scales import TINY
from benchmark.scoring.predict import decode, transformers_greedy
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import cut
from benchmark.training.alike import written_alike
from benchmark.types import Dataset
from donutbench_strategies import vocabulary_trim
from tests.strategies.conftest import OfReceipts

PROMPT = "<s_receipts-mini>"
PADDING = 1
FEW = 4
TABLE = "decoder.model.decoder.embed_tokens.weight"


@pytest.fixture(scope="module")
def trimmed(references: OfReceipts) -> Donut:
    model = vocabulary_trim.Trimmed(documents=24)(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


def logits(model: Donut, references: OfReceipts) -> torch.Tensor:
    """Of the first documents."""
    pixels, inputs = references.documents.pixel_values[:FEW], references.documents.decoder_input_ids[:FEW]
    with torch.no_grad():
        output = model(pixel_values=pixels, decoder_input_ids=inputs, use_cache=False)
    found: torch.Tensor = output.logits
    return found


class TestTrimmed:
    def test_it_holds_what_the_training_texts_and_the_data_set_need(
        self, trimmed: Donut, receipts: EncodedDocuments, processor: DonutProcessor, datasets: dict[str, Dataset]
    ) -> None:
        tokens = processor.tokenizer
        written = {token for row in receipts.labels.tolist() for token in row if token != -100}
        tags = [f"<{slash}s_{key}>" for key in datasets["receipts-mini"].keys for slash in ("", "/")]
        named = tokens.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>", "<sep/>", PROMPT, *tags])
        assert set(tokens_of(trimmed)) == {*written, *named}
        assert len(tokens_of(trimmed)) < len(tokens)

    def test_logits_of_the_kept_are_the_teachers_and_the_others_cannot_be_written(
        self, trimmed: Donut, references: OfReceipts
    ) -> None:
        before, after = logits(references.teacher, references), logits(trimmed, references)
        kept = list(tokens_of(trimmed))
        others = [token for token in range(before.shape[-1]) if token not in kept]
        assert after.shape == before.shape
        torch.testing.assert_close(after[..., kept], before[..., kept], rtol=1e-5, atol=1e-5)
        assert bool((after[..., others] == -torch.inf).all())

    def test_it_writes_what_the_teacher_writes(
        self, trimmed: Donut, references: OfReceipts, receipts: EncodedDocuments, processor: DonutProcessor
    ) -> None:
        args = processor, receipts.pages, PROMPT, TINY.max_tokens
        assert decode(trimmed, *args) == decode(references.teacher, *args)

    def test_greedy_writes_what_generate_writes(self, trimmed: Donut, references: OfReceipts) -> None:
        assert supports(trimmed)
        pixels, start = references.documents.pixel_values[:3], int(references.documents.decoder_input_ids[0, 0])
        ours = greedy(trimmed, pixels, start, 2**31 - 1, 40)
        assert torch.equal(ours, transformers_greedy(trimmed, pixels, start, 2**31 - 1, 40))

    def test_it_costs_a_row_less_for_each_token_that_goes(self, trimmed: Donut, references: OfReceipts) -> None:
        teacher, gone = references.teacher, len(tokens_of(references.teacher)) - len(tokens_of(trimmed))
        width = TINY.teacher.decoder_width
        sizes = [sum(weight.numel() for weight in model.parameters()) for model in (teacher, trimmed)]
        assert gone > 50
        assert sizes[0] - sizes[1] == gone * width
        saved = packed_bytes(teacher) - packed_bytes(trimmed)
        assert saved == pytest.approx(4 * gone * width, abs=64)  # a header has numbers of fewer digits
        page = torch.zeros(1, 3, TINY.height, TINY.width)
        before, after = (count_macs(model, page, prompt=5, tokens=7) for model in (teacher, trimmed))
        assert before.encoder == after.encoder
        assert before.decoder - after.decoder == 7 * gone * width
        assert donut_macs(trimmed, (TINY.height, TINY.width), 7) == after

    def test_references_and_teacher_stay_as_they_are(self, references: OfReceipts) -> None:
        before = fingerprint(references.teacher)
        one, other = (vocabulary_trim.Trimmed(documents=2)(references, TINY, seed) for seed in (0, 1))
        assert isinstance(one, Donut)
        assert isinstance(other, Donut)
        assert fingerprint(one) == fingerprint(other)
        assert fingerprint(references.teacher) == before
        assert getattr(references.teacher.config, "kept_tokens", None) is None

    def test_no_documents_are_refused(self) -> None:
        with pytest.raises(UserError, match="at least 1 document, not 0"):
            vocabulary_trim.Trimmed(documents=0)


class TestCheckpoint:
    @pytest.mark.parametrize("packed", [False, True])
    def test_it_comes_back(self, packed: bool, trimmed: Donut, references: OfReceipts, tmp_path: Path) -> None:
        save_model(trimmed, tmp_path / "a", packed=packed)
        again = load_model(tmp_path / "a")
        assert list(tokens_of(again)) == list(tokens_of(trimmed))
        assert again.decoder.lm_head.weight is again.decoder.get_input_embeddings().weight
        assert fingerprint(again) == fingerprint(trimmed)
        assert torch.equal(logits(again, references), logits(trimmed, references))
        again.encoder.bridge = None
        assert beyond_transformers(again) == "its table of tokens has rows for some of them alone"

    @pytest.mark.parametrize("first", ["trimmed", "sliced"])
    def test_with_channels_cut_out_it_comes_back(self, first: str, references: OfReceipts, tmp_path: Path) -> None:
        model, kept = references.load("teacher"), references.tokens(24)
        if first == "trimmed":
            keep_tokens(model, kept)
        cut(model, {group: list(range(0, group.count, 2)) for group in units_of(model, "width")})
        if first == "sliced":
            keep_tokens(model, kept)
        save_model(model, tmp_path / "a")
        again = load_model(tmp_path / "a")
        assert again.get_parameter(TABLE).shape == (len(kept), TINY.teacher.decoder_width // 2)
        assert torch.equal(logits(again, references), logits(model, references))

    @pytest.mark.parametrize(
        ("kept", "error"),
        [
            ([PADDING, 0], "not in order"),
            ([0, PADDING, PADDING], "not in order"),
            ([0, 2], "lack 1, the padding"),
            ([PADDING, 10_000], "no list of some of its"),
            ([-1, PADDING], "no list of some of its"),
            (["1"], "no list of some of its"),
            ([], "lack 1"),
            (7, "no list"),
        ],
    )
    def test_what_no_table_can_hold_is_refused_in_one_line(
        self, kept: object, error: str, trimmed: Donut, tmp_path: Path
    ) -> None:
        save_model(trimmed, tmp_path / "a")
        path = tmp_path / "a" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kept_tokens": kept}))
        with pytest.raises(UserError, match=error) as caught:
            load_model(tmp_path / "a")
        assert "\n" not in str(caught.value)

    def test_fewer_rows_than_the_file_has_are_refused(self, trimmed: Donut, tmp_path: Path) -> None:
        save_model(trimmed, tmp_path / "a")
        path = tmp_path / "a" / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"kept_tokens": [0, PADDING]}))
        with pytest.raises(UserError, match="of another shape"):
            load_model(tmp_path / "a")


class TestKeepTokens:
    def test_a_head_of_its_own_is_cut_too(self) -> None:
        model = build(TINY, TINY.teacher, vocabulary=20, seed=0)
        model.decoder.config.tie_word_embeddings = False
        model.decoder.lm_head.weight = torch.nn.Parameter(torch.randn(20, TINY.teacher.decoder_width))
        before = model.decoder.lm_head.weight.detach().clone()
        keep_tokens(model, [9, 0, 1, 9])
        assert torch.equal(model.decoder.lm_head.weight, before[[0, 1, 9]])
        assert model.decoder.get_input_embeddings().weight is not model.decoder.lm_head.weight

    def test_a_token_without_a_row_is_read_as_padding(self, trimmed: Donut) -> None:
        table = trimmed.decoder.get_input_embeddings()
        gone = next(token for token in range(1000) if token not in tokens_of(trimmed))
        assert torch.equal(table(torch.tensor([gone])), table(torch.tensor([PADDING])))

    def test_it_may_be_done_again(self, trimmed: Donut, references: OfReceipts) -> None:
        model = references.load("teacher")
        keep_tokens(model, tokens_of(trimmed))
        fewer = tokens_of(trimmed)[::2]
        keep_tokens(model, fewer)
        once = references.load("teacher")
        keep_tokens(once, fewer)
        assert fingerprint(model) == fingerprint(once)
        assert set(tokens_of(model)) == {*fewer, PADDING}
        assert isinstance(model.decoder.lm_head, KeptHead)
        with pytest.raises(ValueError, match="no list of some of its"):
            keep_tokens(model, tokens_of(trimmed))

    def test_it_takes_no_new_tokens(self, trimmed: Donut) -> None:
        size = trimmed.decoder.config.vocab_size
        assert fit_vocabulary(trimmed, size) is trimmed
        with pytest.raises(UserError, match=f"trimmed to {len(tokens_of(trimmed))} tokens"):
            fit_vocabulary(trimmed, size + 1)

    def test_the_prompt_of_another_data_set_is_refused(
        self, trimmed: Donut, processor: DonutProcessor, datasets: dict[str, Dataset], receipts: EncodedDocuments
    ) -> None:
        prompt = prompt_of(datasets["parcels-mini"])
        with pytest.raises(UserError, match=f"it does not know {prompt}"):
            decode(trimmed, processor, receipts.pages, prompt, TINY.max_tokens)


class TestLearning:
    """Objectives see the kept tokens alone."""

    def test_the_teacher_adds_up_to_one_over_what_is_kept(self, trimmed: Donut, references: OfReceipts) -> None:
        labels, temperature = references.documents.labels[:FEW], 2.0
        full = logits(references.teacher, references)
        student = Outputs(logits(trimmed, references) * 0.9)
        loss = LogitDistillation(temperature, alpha=0.0)(*written_alike(trimmed, student, Outputs(full), labels))
        kept = list(tokens_of(trimmed))
        rows = labels != -100
        probabilities = softmax(full / temperature, -1)[..., kept][rows]
        probabilities /= probabilities.sum(-1, keepdim=True)
        ours = torch.log_softmax(full[..., kept][rows] * 0.9 / temperature, -1)
        expected = kl_div(ours, probabilities, reduction="batchmean") * temperature**2
        torch.testing.assert_close(loss, expected, rtol=1e-3, atol=1e-6)

    def test_a_label_that_cannot_be_written_is_not_asked_for(self, trimmed: Donut, references: OfReceipts) -> None:
        labels = references.documents.labels[:FEW].clone()
        gone = next(token for token in range(1000) if token not in tokens_of(trimmed))
        labels[0, 0] = gone
        student = Outputs(logits(trimmed, references).requires_grad_())
        outputs, none, found = written_alike(trimmed, student, None, labels)
        assert none is None
        assert found[0, 0] == -100
        loss = CrossEntropy()(outputs, None, found)
        loss.backward()
        gradient = student.logits.grad
        assert gradient is not None
        assert bool(gradient.isfinite().all())
        assert not gradient[0, 0].any()
        assert gradient[0, 1].any()

    def test_a_model_with_all_tokens_is_left_alone(self, references: OfReceipts) -> None:
        outputs, labels = Outputs(logits(references.teacher, references)), references.documents.labels[:FEW]
        assert written_alike(references.teacher, outputs, outputs, labels) == (outputs, outputs, labels)


def test_both_strategies_are_for_the_task_alone() -> None:
    alone, distilled = vocabulary_trim.donutbench_register_strategies()
    assert (alone.name, distilled.name) == ("vocabulary-trim", "vocabulary-trim-distill")
    assert alone.protocols == distilled.protocols == ("task",)
    assert alone.objective is None
    assert distilled.start == alone.start
    assert distilled.objective is not None
