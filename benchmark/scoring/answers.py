"""What is told of a model's answers: the scores of each, and those of all of them. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmark.metrics import ted_accuracy
from benchmark.metrics.f1 import FieldCounts, counts_by_path, f1_from_counts, field_counts, fields_of
from benchmark.metrics.failures import FAILURES, failures
from benchmark.records.record import Agreement, Prediction
from benchmark.types import Json


def answered(name: str, text: str, ended: bool | None, prediction: Json, truth: Json) -> Prediction:
    """One line of the predictions file: the document `name`, what was written and read, and its scores."""
    counts = field_counts(prediction, truth)
    return Prediction(
        id=name,
        prediction=prediction,
        ground_truth=truth,
        ted=ted_accuracy(prediction, truth),
        tp=counts.tp,
        fn=counts.fn,
        fp=counts.fp,
        text=text,
        ended=ended,
        failures=failures(text, ended, prediction, truth),
    )


def summary(answers: Sequence[Prediction]) -> dict[str, Any]:
    """The fields of `Metrics` that follow from the answers alone; there is at least one."""
    counted = Counter(failure for answer in answers for failure in answer.failures)
    return {
        "ted": sum(answer.ted for answer in answers) / len(answers),
        "f1": f1_from_counts(FieldCounts(answer.tp, answer.fn, answer.fp) for answer in answers),
        "fields": _by_path(answers),
        "failures": {failure: counted[failure] for failure in FAILURES},
    }


def agreement(student: Sequence[Prediction], teacher: Sequence[Prediction]) -> Agreement | None:
    """What changed against the teacher; None if the two did not read the same documents.

    Flips in both directions hide in an accuracy that stays the same (Dutta et al., NeurIPS 2024).
    """
    by_name = {answer.id: answer for answer in teacher}
    if {answer.id for answer in student} != by_name.keys():
        return None
    pairs = [(answer, by_name[answer.id]) for answer in student]
    flips = [_flips(*pair) for pair in pairs]
    return Agreement(
        ted=sum(ted_accuracy(ours.prediction, theirs.prediction) for ours, theirs in pairs) / len(pairs),
        fields=sum(answer.tp + answer.fn for answer in student),
        right_to_wrong=sum(lost for lost, _ in flips),
        wrong_to_right=sum(won for _, won in flips),
    )


def _flips(student: Prediction, teacher: Prediction) -> tuple[int, int]:
    """How many fields of a document only the teacher has right, and only the student."""
    truth = fields_of(student.ground_truth)
    ours, theirs = (fields_of(answer.prediction) & truth for answer in (student, teacher))
    return (theirs - ours).total(), (ours - theirs).total()


def _by_path(answers: Sequence[Prediction]) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for answer in answers:
        for path, counts in counts_by_path(answer.prediction, answer.ground_truth).items():
            found.setdefault(path, Counter()).update(tp=counts.tp, fn=counts.fn, fp=counts.fp)
    return {path: dict(found[path]) for path in sorted(found)}
