"""Labels that the teacher writes: its very tokens, of pages on which it can be believed, as many as for every row."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from transformers import DonutProcessor

from benchmark import CrossEntropy, Outputs, Strategy, Teaching, UserError, reference
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import to_json, to_pixels
from benchmark.scales import TINY, Budget
from benchmark.scoring.accepted import best_ted
from benchmark.training import answers, compress
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.trainer import Documents
from benchmark.types import Dataset
from donutbench_strategies.prune_sequence import SequenceDistillation
from tests.strategies.conftest import OfReceipts

BUDGET = Budget(reading_documents=16, task_documents=16, batch=4, learning_rate=0.01, evaluations=1)
COUNT = 8


@pytest.fixture
def pages(receipts: EncodedDocuments) -> EncodedDocuments:
    return receipts.head(COUNT)


@pytest.fixture
def data(
    datasets: dict[str, Dataset], processor: DonutProcessor, pages: EncodedDocuments, references: OfReceipts
) -> TrainingData:
    teacher = references.load("teacher")
    return TrainingData(datasets["receipts-mini"], processor, pages, pages.head(1), teacher, BUDGET, 16)


@pytest.fixture(scope="session")
def said(processor: DonutProcessor, receipts: EncodedDocuments, references: OfReceipts) -> list[list[int]]:
    """What transformers has the teacher write on each page, until its end."""
    end = processor.tokenizer.eos_token_id
    written = references.load("teacher").generate(
        pixel_values=to_pixels(processor, receipts.pages[:COUNT]),
        decoder_input_ids=torch.full((COUNT, 1), processor.tokenizer.convert_tokens_to_ids("<s_receipts-mini>")),
        max_length=TINY.max_tokens,
        do_sample=False,
        eos_token_id=end,
        forced_eos_token_id=None,
    )
    return [row[: row.index(end) + 1] for row in written[:, 1:].tolist()]


def rows_of(documents: Documents) -> list[int]:
    return [documents[i]["index"] for i in range(len(documents))]


def test_the_labels_are_what_the_teacher_writes(
    data: TrainingData, pages: EncodedDocuments, said: list[list[int]]
) -> None:
    documents = data.answered(0.0)
    assert rows_of(documents) == list(range(COUNT))
    batch = documents.collate([documents[i] for i in range(COUNT)])
    assert torch.equal(batch["pages"], pages.pages[:])
    for labels, tokens in zip(batch["labels"], said, strict=True):
        assert labels[labels != -100].tolist() == tokens
    truths = [row[row != -100].tolist() for row in pages.labels]
    assert said != truths  # else this would show nothing


def test_a_page_whose_truth_was_altered_is_replaced_by_others(data: TrainingData, pages: EncodedDocuments) -> None:
    believed = rows_of(data.answered(0.9))
    assert 3 in believed
    truths = [*pages.ground_truths]
    truths[3] = {"company": "Somebody else", "total": "0.00"}
    altered = replace(data, pages=replace(pages, ground_truths=tuple(truths)))
    rows = rows_of(altered.answered(0.9))
    assert set(rows) == {*believed} - {3}
    assert len(rows) == COUNT
    counts = [rows.count(row) for row in set(rows)]
    assert max(counts) - min(counts) <= 1
    assert 3 in rows_of(altered.answered(0.0))


def test_the_filter_is_that_of_n_ted(
    data: TrainingData, pages: EncodedDocuments, processor: DonutProcessor, said: list[list[int]]
) -> None:
    read = [to_json(processor, processor.tokenizer.decode(tokens[:-1])) for tokens in said]
    scores = [best_ted(answer, [truth]) for answer, truth in zip(read, pages.ground_truths, strict=True)]
    assert len({*scores}) > 1
    for least in (*scores, 1.0):
        passing = [row for row, score in enumerate(scores) if score >= least]
        if passing:
            assert set(rows_of(data.answered(least))) == {*passing}


def test_any_of_several_truths_may_agree(data: TrainingData, pages: EncodedDocuments) -> None:
    others = ({"company": "Somebody else"},) * COUNT
    swapped = replace(pages, ground_truths=others, alternatives=tuple((truth,) for truth in pages.ground_truths))
    assert rows_of(replace(data, pages=swapped).answered(0.9)) == rows_of(data.answered(0.9))


def test_an_answer_that_was_cut_is_none(
    datasets: dict[str, Dataset], data: TrainingData, said: list[list[int]]
) -> None:
    lengths = sorted(map(len, said))
    longest = lengths[COUNT // 2] + 1  # with the prompt
    believed = {row for row, tokens in enumerate(said) if len(tokens) < longest}
    assert 0 < len(believed) < COUNT
    assert set(rows_of(replace(data, longest=longest).answered(0.0))) == believed
    with pytest.raises(UserError, match=r"^receipts-mini: 8 of 8 training pages \(100\.0%\) are left out: "):
        replace(data, longest=lengths[0]).answered(0.0)
    data.teacher.decoder.config.max_position_embeddings = longest  # what it can write, where nothing else is said
    assert set(rows_of(data.answered(0.0))) == believed


def test_an_answer_that_nobody_can_parse_is_none(
    data: TrainingData, processor: DonutProcessor, said: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    closing = processor.tokenizer.convert_tokens_to_ids("</s_total>")
    broken = [tokens if row else [closing, *tokens] for row, tokens in enumerate(said)]
    monkeypatch.setattr(answers, "written_tokens", lambda *_: broken)
    assert set(rows_of(data.answered(0.0))) == set(range(1, COUNT))


def test_they_are_written_once_for_every_row_and_what_is_left_out_is_said_once(
    data: TrainingData, said: list[list[int]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[int] = []

    def written(*_: object) -> list[list[int]]:
        calls.append(1)
        return said

    monkeypatch.setattr(answers, "written_tokens", written)
    gone = COUNT - len({*rows_of(data.answered(0.9))})
    data.answered(0.9)
    assert len(calls) == 1
    assert capsys.readouterr().err == (
        f"receipts-mini: {gone} of 8 training pages ({gone / COUNT:.1%}) are left out: the teacher's answer is cut, "
        "unparseable or less than 0.9 like the ground truth (N-TED)\n"
    )
    data.answered(0.0)
    assert " less than 0 like " in capsys.readouterr().err
    data.forget()
    data.answered(0.9)
    assert len(calls) == 2
    assert capsys.readouterr().err == ""


@dataclass(frozen=True)
class Listening:
    """An objective that keeps its labels."""

    teaching: Teaching = "answers"
    agreement: float = 0.9
    heard: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        assert teacher is None
        self.heard.append(labels)
        return CrossEntropy()(student, teacher, labels)


def test_a_training_sees_as_many_documents_as_any_and_only_those(
    data: TrainingData, pages: EncodedDocuments, references: OfReceipts, said: list[list[int]], tmp_path: Path
) -> None:
    truths = [*pages.ground_truths]
    for row in (1, 2, 6):
        truths[row] = {"total": "0.00"}
    data = replace(data, pages=replace(pages, ground_truths=tuple(truths)))
    believed = {*rows_of(data.answered(0.9))}
    assert 0 < len(believed) <= COUNT - 3
    objective = Listening()
    mine = Strategy("mine", "", reference("teacher"), objective)
    train_strategy(references.load("teacher"), mine, data, 0.01, lambda model: 0.0, 0, "", tmp_path)
    seen = [labels[labels != -100].tolist() for batch in objective.heard for labels in batch]
    assert [len(batch) for batch in objective.heard] == [4, 4, 4, 4]  # 16 documents, as the budget has it
    assert all(tokens in [said[row] for row in believed] for tokens in seen)


def test_it_is_cross_entropy_with_a_name() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, labels = Outputs(torch.randn(2, 3, 5, generator=generator)), torch.tensor([[1, 2, -100], [3, 1, 0]])
    assert torch.equal(SequenceDistillation()(outputs, None, labels), CrossEntropy()(outputs, None, labels))
    assert str(SequenceDistillation(0.75)) == "cross-entropy with the teacher's answers, N-TED at least 0.75"
    assert SequenceDistillation().teaching == "answers"


@pytest.mark.parametrize("agreement", [-0.1, 1.1, float("nan")])
def test_an_agreement_that_is_no_accuracy_is_refused(agreement: float) -> None:
    with pytest.raises(UserError, match="agreement is an N-TED accuracy between 0 and 1"):
        SequenceDistillation(agreement)


def test_other_objectives_learn_from_the_ground_truth(data: TrainingData, pages: EncodedDocuments) -> None:
    documents = compress._documents(CrossEntropy(), data)
    batch = documents.collate([documents[i] for i in range(COUNT)])
    assert torch.equal(batch["labels"], pages.labels[:, : batch["labels"].shape[1]])
    assert data._answers is None
