"""Metrics again, from stored predictions, and the agreement of rows with their teacher's. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records.files import predictions_path, read_predictions, read_records, write_predictions, write_record
from benchmark.records.record import Agreement, Metrics, Prediction, Record
from benchmark.scoring.answers import agreement, answered, summary

_SHARED = ("dataset", "scale", "protocol", "budget", "limit", "device", "seed")


def rescore(directory: Path) -> tuple[list[str], list[str]]:
    """The cells of ``DIR/results`` that were scored again, and those of them whose scores have changed.

    What was read, its ground truth, what it costs and how alike layers are stay as they are stored. On what this
    version has written nothing changes. Raises `UserError` if there are no records, or predictions are missing or
    broken; then nothing is written.
    """
    records = [record for record in read_records(directory) if record.status == "ok"]
    if not records:
        raise UserError(f"no scored records in {directory}")
    stored = {record.cell: _answers(directory, record) for record in records}
    scored = {cell: [_again(answer) for answer in answers] for cell, answers in stored.items()}
    changed = []
    for record in records:
        assert record.metrics is not None
        answers = scored[record.cell]
        teacher = teacher_of(record, records)
        found = agreement(answers, scored[teacher.cell]) if teacher else record.metrics.agreement
        renewed = _renewed(record, answers, found)
        if (renewed, answers) != (record, stored[record.cell]):
            changed.append(record.cell)
            write_predictions(predictions_path(directory, record.cell), answers)
            write_record(directory, renewed)
    return [record.cell for record in records], changed


def agree(directory: Path, records: Iterable[Record]) -> list[Record]:
    """These records with their agreement with the teacher's rows in ``DIR/results``; those that change are written."""
    known = [record for record in read_records(directory) if record.status == "ok"]
    answers: dict[str, Sequence[Prediction]] = {}
    renewed = []
    for record in records:
        teacher = teacher_of(record, known)
        if record.metrics is not None and record.metrics.agreement is None and teacher is not None:
            pair = [answers.setdefault(one.cell, _answers(directory, one)) for one in (teacher, record)]
            metrics = record.metrics.model_copy(update={"agreement": agreement(pair[1], pair[0])})
            record = record.model_copy(update={"metrics": metrics})
            write_record(directory, record)
        renewed.append(record)
    return renewed


def teacher_of(record: Record, records: Iterable[Record]) -> Record | None:
    """The reference that a row is read against: that of the same data set, protocol and seed; None without one."""
    place = [getattr(record, name) for name in _SHARED]
    found = (other for other in records if other.reference and not other.options)
    return next((other for other in found if [getattr(other, name) for name in _SHARED] == place), None)


def _answers(directory: Path, record: Record) -> list[Prediction]:
    path = predictions_path(directory, record.cell)
    answers = read_predictions(path)
    if len(answers) != record.test_documents:
        raise UserError(f"{path} has {len(answers)} predictions, its record {record.test_documents} test documents")
    return answers


def _again(answer: Prediction) -> Prediction:
    return answered(answer.id, answer.text, answer.ended, answer.prediction, answer.ground_truth)


def _renewed(record: Record, answers: Sequence[Prediction], found: Agreement | None) -> Record:
    assert record.metrics is not None
    values = record.metrics.model_dump() | summary(answers) | {"agreement": found}
    return record.model_copy(update={"metrics": Metrics.model_validate(values)})
