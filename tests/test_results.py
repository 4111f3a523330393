"""Records and predictions: what is written is what is read, or one line says why not."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.results import (
    Efficiency,
    Metrics,
    Prediction,
    Record,
    cell_name,
    predictions_path,
    read_predictions,
    read_record,
    read_records,
    record_path,
    write_atomically,
    write_predictions,
    write_record,
)

NAN = float("nan")


def make_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "strategy": "prune-distill",
        "dataset": "receipts-mini",
        "task": "extraction",
        "scale": "tiny",
        "seed": 0,
        "budget": "quick",
        "status": "ok",
        "start": "teacher, 73.8 % pruned",
        "steps": 150,
        "documents": 2400,
        "test_documents": 100,
        "seconds_train": 60.0,
        "seconds_total": 70.0,
        "metrics": {
            "ted": 0.9, "layerwise": [[1.0, NAN]], "layers_student": ["a"], "layers_teacher": ["b", "c"],
        },
        "efficiency": {
            "params_total": 12, "params_embedding": 2, "params_nonembedding": 10, "params_nonzero": 3,
            "density": 0.3, "size_dense_bytes": 48, "size_packed_bytes": 22,
        },
        "curve": [(50, 0.4), (100, 0.8)],
        "environment": {"torch": "2.13.0", "threads": 1, "memory_gb": 7.5},
        "key": "k",
    }  # fmt: skip
    return Record.model_validate({**values, **changes})


def make_prediction(**changes: Any) -> Prediction:
    values = {"id": "7", "prediction": {"menu": [{"nm": "x"}]}, "ground_truth": {"total": "1\u2028é"}}
    return Prediction.model_validate({**values, "ted": 0.5, "tp": 1, "fn": 2, "fp": 3, "text": "<s>\n", **changes})


@contextmanager
def full_disk(at: int) -> Iterator[None]:
    """No file may grow beyond `at` bytes: the system refuses as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = make_record()
    path = write_record(tmp_path, record)
    assert path == record_path(tmp_path, cell_name("prune-distill", "receipts-mini", "tiny", 0, "quick"))
    assert read_record(path) == record
    assert read_record(path).curve == [(50, 0.4), (100, 0.8)]
    assert type(read_record(path).environment["threads"]) is int


def test_every_part_of_a_cell_is_in_its_name() -> None:
    cells = {
        cell_name(*parts)
        for parts in [
            ("a", "b", "tiny", 0, "quick"), ("a-b", "b", "tiny", 0, "quick"),
            ("a", "b-b", "tiny", 0, "quick"),
            ("a", "b", "mini", 0, "quick"), ("a", "b", "tiny", 1, "quick"), ("a", "b", "tiny", 0, "full"),
        ]
    }  # fmt: skip
    assert len(cells) == 6


def test_records_are_sorted_and_nothing_else_is_read(tmp_path: Path) -> None:
    for strategy in ("small", "distill", "none"):
        write_record(tmp_path, make_record(strategy=strategy))
    write_predictions(predictions_path(tmp_path, make_record().cell), [make_prediction()])
    assert [record.strategy for record in read_records(tmp_path)] == ["distill", "none", "small"]
    assert read_records(tmp_path / "nowhere") == []


def test_nan_becomes_none_where_a_number_may_be_missing_and_is_refused_elsewhere(tmp_path: Path) -> None:
    metrics = Metrics(ted=0.0, cka=NAN, cka_debiased=float("inf"))
    assert metrics.cka is None
    assert metrics.cka_debiased is None
    path = write_record(tmp_path, make_record())
    assert read_record(path).metrics == make_record().metrics
    json.loads(path.read_text(), parse_constant=pytest.fail)
    with pytest.raises(ValidationError, match="ted"):
        Metrics(ted=NAN)
    with pytest.raises(ValidationError, match="curve"):
        make_record(curve=[(1, NAN)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"status": "ok", "metrics": None}, "has metrics"),
        ({"status": "ok", "error": "x"}, "no error"),
        ({"status": "failed", "error": None}, "has an error"),
        ({"status": "started"}, "status"),
        ({"hours": 3.0}, "hours"),
        ({"metrics": {"ted": 1.5}}, "ted"),
        ({"metrics": {"ted": 0.5, "layerwise": [[1.0]], "layers_student": ["a"]}}, "1 x 0"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_record(**changes)


def test_records_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_record().steps = 3


def test_efficiency_is_kept_with_a_failure() -> None:
    efficiency = make_record().efficiency
    assert isinstance(efficiency, Efficiency)
    failed = make_record(status="failed", error="out of memory", metrics=None, efficiency=efficiency)
    assert failed.efficiency == efficiency


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a record"),
        (b'{"strategy": ', "not a record"),
        (b"\xff\xfe", "not a record"),
        (b"[1]", "not a record"),
        (b'{"schema_version": 1}', "strategy: Field required"),
        (b'{"schema_version": 2, "new": 0}', "schema version 2, but this benchmark reads 1"),
    ],
)
def test_a_broken_or_foreign_record_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    write_record(tmp_path, make_record())
    path = tmp_path / "results" / "z.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_records(tmp_path)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_renamed_record_is_refused(tmp_path: Path) -> None:
    path = write_record(tmp_path, make_record())
    path.with_name("copy.json").write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"copy\.json: holds the record of the cell prune-distill__"):
        read_records(tmp_path)


def test_predictions_come_back_as_they_were(tmp_path: Path) -> None:
    path = predictions_path(tmp_path, "cell")
    predictions = [
        make_prediction(),
        make_prediction(id="8", prediction=None, ground_truth={"text_sequence": ""}),
    ]
    write_predictions(path, iter(predictions))
    assert read_predictions(path) == predictions
    assert path.read_bytes().count(b"\n") == 2
    assert path.name == "cell.predictions.jsonl"


def test_a_broken_prediction_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, [make_prediction(), make_prediction()])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"p\.jsonl, line 2: not a prediction"):
        read_predictions(path)
    with pytest.raises(UserError, match=r"cannot read .*nowhere\.jsonl: No such file"):
        read_predictions(tmp_path / "nowhere.jsonl")


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    write_atomically(path, b"old")
    with full_disk(at=1000), pytest.raises(UserError, match=r"cannot write .*kept: File too large"):
        write_atomically(path, b"n" * 2000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write .*results"):
        write_record(tmp_path, make_record())


def test_an_interrupt_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "new", b"x")
    assert list(tmp_path.iterdir()) == []


def test_records_and_report_import_no_torch_and_draw_lazily() -> None:
    code = "import sys, benchmark.results, benchmark.report; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
