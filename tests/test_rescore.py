"""Scores again from stored predictions, and what changed against the teacher."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import UserError
from benchmark.cli import main
from benchmark.records.files import (
    predictions_path,
    read_predictions,
    read_record,
    record_path,
    shifted_predictions_path,
    write_predictions,
    write_record,
)
from benchmark.records.record import Metrics, Prediction, Record
from benchmark.scoring.answers import agreement, answered, summary
from benchmark.scoring.rescore import agree, rescore
from benchmark.types import Json

TRUTH = {"nm": "TEA", "cnt": "1", "price": "2.00"}
RIGHT: Json = dict(TRUTH)
WRONG: Json = {**TRUTH, "nm": "SEA"}


def answer(name: str, prediction: Json) -> Prediction:
    text = "".join(f"<s_{key}>{value}</s_{key}>" for key, value in prediction.items())
    return answered(name, text, True, prediction, TRUTH)


def record(strategy: str, answers: list[Prediction], **changes: object) -> Record:
    values: dict[str, object] = {
        "strategy": strategy, "reference": strategy == "teacher", "dataset": "receipts", "task": "extraction",
        "scale": "tiny", "protocol": "task", "seed": 0, "budget": "quick", "status": "ok", "start": strategy,
        "steps": 0, "documents": 0, "test_documents": len(answers), "seconds_train": 0.0, "seconds_total": 1.0,
        "metrics": Metrics.model_validate({**summary(answers), "cka": 0.5}), "key": "k",
    }  # fmt: skip
    return Record.model_validate({**values, **changes})


def write(folder: Path, strategy: str, answers: list[Prediction], **changes: object) -> Record:
    made = record(strategy, answers, **changes)
    write_record(folder, made)
    write_predictions(predictions_path(folder, made.cell), answers)
    return made


TEACHER = [answer("a", RIGHT), answer("b", WRONG), answer("c", RIGHT)]
STUDENT = [answer("a", WRONG), answer("b", RIGHT), answer("c", {})]


class TestAgreement:
    def test_flips_are_counted_in_both_directions(self) -> None:
        found = agreement(STUDENT, TEACHER)
        assert found is not None
        assert (found.fields, found.right_to_wrong, found.wrong_to_right) == (9, 4, 1)
        assert found.ted == pytest.approx((2 - 1 / 11 * 1 - 1 / 11 * 1 + 0) / 3)

    def test_the_order_of_the_documents_does_not_matter(self) -> None:
        assert agreement(STUDENT[::-1], TEACHER) == agreement(STUDENT, TEACHER)

    def test_other_documents_cannot_be_compared(self) -> None:
        assert agreement(STUDENT[:2], TEACHER) is None


def test_of_all_answers_it_tells_the_fields_and_the_failures() -> None:
    found = summary(STUDENT)
    assert found["fields"]["nm"] == {"tp": 1, "fn": 2, "fp": 1}
    assert found["fields"]["price"] == {"tp": 2, "fn": 1, "fp": 0}
    assert {name: count for name, count in found["failures"].items() if count} == {"missing field": 1, "wrong value": 1}


class TestRescore:
    def test_what_is_as_it_was_stays(self, tmp_path: Path) -> None:
        for name, answers in (("teacher", TEACHER), ("student", STUDENT)):
            write(tmp_path, name, answers, metrics={**summary(answers), "agreement": agreement(answers, TEACHER)})
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()}
        assert rescore(tmp_path) == ([c.cell for c in (record("student", STUDENT), record("teacher", TEACHER))], [])
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").iterdir()} == before

    def test_scores_follow_what_was_read(self, tmp_path: Path) -> None:
        write(tmp_path, "teacher", TEACHER)
        wrong = [line.model_copy(update={"ted": 0.1, "tp": 0, "failures": []}) for line in STUDENT]
        made = write(tmp_path, "student", wrong, metrics={"ted": 0.1, "cka": 0.5})
        _, changed = rescore(tmp_path)
        assert made.cell in changed
        assert read_predictions(predictions_path(tmp_path, made.cell)) == STUDENT
        found = read_record(record_path(tmp_path, made.cell)).metrics
        assert found is not None
        assert found == Metrics.model_validate(
            {**summary(STUDENT), "cka": 0.5, "agreement": agreement(STUDENT, TEACHER)}
        )

    def test_the_shifted_split_is_scored_again_too(self, tmp_path: Path) -> None:
        made = write(tmp_path, "student", STUDENT, shifted={"ted": 0.9}, shifted_documents=3)
        write_predictions(shifted_predictions_path(tmp_path, made.cell), TEACHER)
        rescore(tmp_path)
        found = read_record(record_path(tmp_path, made.cell)).shifted
        assert found == Metrics.model_validate(summary(TEACHER))

    def test_without_a_teacher_the_agreement_stays(self, tmp_path: Path) -> None:
        kept = agreement(STUDENT, TEACHER)
        made = write(tmp_path, "student", STUDENT, metrics={**summary(STUDENT), "agreement": kept})
        write(tmp_path, "teacher", TEACHER, seed=1)
        rescore(tmp_path)
        found = read_record(record_path(tmp_path, made.cell)).metrics
        assert found is not None
        assert found.agreement == kept

    @pytest.mark.parametrize("harm", ["missing", "broken", "fewer"])
    def test_predictions_that_are_not_whole_end_it_before_anything_is_written(self, harm: str, tmp_path: Path) -> None:
        write(tmp_path, "a", [line.model_copy(update={"ted": 0.1}) for line in STUDENT])
        made = write(tmp_path, "student", STUDENT)
        path = predictions_path(tmp_path, made.cell)
        if harm == "missing":
            path.unlink()
        else:
            write_predictions(path, STUDENT[:2]) if harm == "fewer" else path.write_text("{")
        before = {path: path.read_bytes() for path in (tmp_path / "results").iterdir()}
        with pytest.raises(UserError, match=made.cell):
            rescore(tmp_path)
        assert {path: path.read_bytes() for path in (tmp_path / "results").iterdir()} == before

    def test_the_command_says_what_changed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        made = write(tmp_path, "student", STUDENT, metrics={"ted": 0.1})
        assert main(["rescore", str(tmp_path)]) == 0
        assert f"{made.cell}: other scores\n1 cells scored again, 1 with other scores" in capsys.readouterr().out
        assert (tmp_path / "tables" / "changes.md").is_file()
        assert main(["rescore", str(tmp_path)]) == 0
        assert "1 cells scored again, 0 with other scores" in capsys.readouterr().out

    def test_an_empty_folder_is_an_error(self, tmp_path: Path) -> None:
        assert main(["rescore", str(tmp_path)]) == 2


def test_rows_agree_with_a_teacher_that_was_run_before(tmp_path: Path) -> None:
    write(tmp_path, "teacher", TEACHER)
    made = write(tmp_path, "student", STUDENT)
    (found,) = agree(tmp_path, [made])
    assert found.metrics is not None
    assert found.metrics.agreement == agreement(STUDENT, TEACHER)
    assert read_record(record_path(tmp_path, made.cell)) == found
    alone = write(tmp_path, "student", STUDENT, seed=1)
    assert agree(tmp_path, [alone]) == [alone]
