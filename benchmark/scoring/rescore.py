"""Metrics again, from stored predictions, and the agreement of rows with their teacher's. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmark.errors import UserError
from benchmark.records.files import (
    predictions_path,
    read_predictions,
    read_records,
    shifted_predictions_path,
    write_predictions,
    write_record,
)
from benchmark.records.lock import held
from benchmark.records.record import Metrics, Prediction, Record
from benchmark.scoring.answers import agreement, answered, summary

_SHARED = ("dataset", "scale", "protocol", "budget", "limit", "device", "seed")


def rescore(directory: Path) -> tuple[list[str], list[str]]:
    """The cells of ``DIR/results`` that were scored again, and those of them whose scores have changed.

    What was read, its ground truth, what it costs and how alike layers are stay as they are stored. On what this
    version has written nothing changes. Raises `UserError` if there are no records, or predictions are missing or
    broken, or something else writes into `directory`; then nothing is written.
    """
    with held(directory):
        return _rescore(directory)


def _rescore(directory: Path) -> tuple[list[str], list[str]]:
    records = [record for record in read_records(directory) if record.status == "ok"]
    if not records:
        raise UserError(f"no scored records in {directory}")
    stored = {path: read_predictions(path) for record in records for path in _files(directory, record)}
    scored = {path: [_again(answer) for answer in answers] for path, answers in stored.items()}
    changed: dict[Path, list[Prediction]] = {}
    renewed: list[Record] = []
    for record in records:
        files = _files(directory, record)
        teacher = teacher_of(record, records)
        against = scored[predictions_path(directory, teacher.cell)] if teacher else None
        again = _renewed(record, [scored[path] for path in files], against)
        if again != record or any(scored[path] != stored[path] for path in files):
            renewed.append(again)
            changed |= {path: scored[path] for path in files}
    for path, answers in changed.items():
        write_predictions(path, answers)
    for record in renewed:
        write_record(directory, record)
    return [record.cell for record in records], [record.cell for record in renewed]


def agree(directory: Path, records: Iterable[Record]) -> list[Record]:
    """These records with their agreement with the teacher's rows in ``DIR/results``; those that change are written."""
    known = [record for record in read_records(directory) if record.status == "ok"]
    answers: dict[str, Sequence[Prediction]] = {}
    renewed = []
    for record in records:
        teacher = teacher_of(record, known)
        if record.metrics is not None and record.metrics.agreement is None and teacher is not None:
            for one in (teacher, record):
                answers.setdefault(one.cell, _stored(directory, one))
            found = agreement(answers[record.cell], answers[teacher.cell])
            if found is not None:
                metrics = record.metrics.model_copy(update={"agreement": found})
                record = record.model_copy(update={"metrics": metrics})
                write_record(directory, record)
        renewed.append(record)
    return renewed


def teacher_of(record: Record, records: Iterable[Record]) -> Record | None:
    """The reference that a row is read against: that of the same data set, protocol and seed; None without one."""
    place = [getattr(record, name) for name in _SHARED]
    found = (other for other in records if other.reference and not other.options)
    return next((other for other in found if [getattr(other, name) for name in _SHARED] == place), None)


def _stored(directory: Path, record: Record) -> list[Prediction]:
    """Nothing if it cannot be read: a run that has come to its end does not fail for that."""
    try:
        return read_predictions(predictions_path(directory, record.cell))
    except UserError:
        return []


def _files(directory: Path, record: Record) -> list[Path]:
    """Of the test split and, if the record has it, of the shifted one."""
    files = [predictions_path(directory, record.cell)]
    return [*files, shifted_predictions_path(directory, record.cell)] if record.shifted else files


def _again(answer: Prediction) -> Prediction:
    return answered(answer.id, answer.text, answer.ended, answer.prediction, answer.ground_truth)


def _renewed(record: Record, splits: Sequence[Sequence[Prediction]], teacher: Sequence[Prediction] | None) -> Record:
    counts = record.test_documents, record.shifted_documents
    for answers, count in zip(splits, counts, strict=False):
        if len(answers) != count:
            raise UserError(f"{record.cell}: {len(answers)} predictions, but its record has {count} documents")
    assert record.metrics is not None
    test, *shifted = splits
    found = record.metrics.agreement if teacher is None else agreement(test, teacher)
    update = {"metrics": _rescored(record.metrics, test).model_copy(update={"agreement": found})}
    if record.shifted and shifted:
        update["shifted"] = _rescored(record.shifted, shifted[0])
    return record.model_copy(update=update)


def _rescored(metrics: Metrics, answers: Sequence[Prediction]) -> Metrics:
    return Metrics.model_validate(metrics.model_dump() | summary(answers))
