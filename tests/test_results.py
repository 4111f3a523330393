"""Records and predictions: what is written is what is read, or one line says why not."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmark.errors import UserError
from benchmark.records.files import (
    migrate_records,
    predictions_path,
    read_predictions,
    read_record,
    read_records,
    record_path,
    write_atomically,
    write_predictions,
    write_record,
)
from benchmark.records.record import Efficiency, Metrics, Prediction, Record, cell_name
from benchmark.types import PROTOCOLS

NAN = float("nan")
DATA = Path(__file__).parent / "data"
PUBLISHED = DATA / "record-v1.json"
"""As version 1 of the benchmark published it."""


def make_record(**changes: Any) -> Record:
    values: dict[str, Any] = {
        "strategy": "prune-distill",
        "dataset": "receipts-mini",
        "task": "extraction",
        "scale": "tiny",
        "protocol": "paper",
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
    assert path == record_path(tmp_path, cell_name("prune-distill", "receipts-mini", "tiny", "paper", "quick", 0))
    assert read_record(path) == record
    assert read_record(path).curve == [(50, 0.4), (100, 0.8)]
    assert type(read_record(path).environment["threads"]) is int


class Cell(NamedTuple):
    strategy: str = "a"
    dataset: str = "b"
    scale: str = "tiny"
    protocol: str = "paper"
    budget: str = "quick"
    seed: int = 0
    options: tuple[tuple[str, str], ...] = ()
    limit: int | None = None
    device: str = "cpu"

    @property
    def name(self) -> str:
        return cell_name(
            self.strategy, self.dataset, self.scale, self.protocol, self.budget, self.seed,
            options=dict(self.options), limit=self.limit, device=self.device,
        )  # fmt: skip


names = st.from_regex(r"[ab0]{1,2}(-[ab0]{1,2})?", fullmatch=True)
# Few letters, and those that names are joined with: what can be confused is met often.
values = st.text("_=%/é.", max_size=4) | st.sampled_from(["limit3", "cuda", "seed0", "x" * 200, "y" * 200])
cells = st.builds(
    Cell,
    strategy=names,
    dataset=names,
    scale=st.sampled_from(["tiny", "mini"]),
    protocol=st.sampled_from(PROTOCOLS),
    budget=st.sampled_from(["quick", "full"]),
    seed=st.integers(0, 2),
    options=st.dictionaries(values.filter(bool), values, max_size=2).map(lambda found: tuple(sorted(found.items()))),
    limit=st.none() | st.integers(1, 3),
    device=st.sampled_from(["cpu", "cuda"]),
)


@given(cells, cells)
@example(Cell(options=(("k", "v"),), limit=3), Cell(options=(("k", "v__limit3"),)))
@example(Cell(options=(("k", "v"), ("l", "w"))), Cell(options=(("k", "v__l=w"),)))
@example(Cell(options=(("k", "v_"), ("l", "w"))), Cell(options=(("k", "v"), ("_l", "w"))))
@example(Cell(options=(("k", "x" * 200),)), Cell(options=(("k", "x" * 201),)))
def test_two_cells_have_two_names(one: Cell, other: Cell) -> None:
    assert (one.name == other.name) == (one == other)
    assert len(one.name.encode()) <= 200
    assert "/" not in one.name


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        (Cell(), "a__b__tiny__paper__quick__seed0"),
        (Cell(scale="mini", budget="full", seed=1), "a__b__mini__paper__full__seed1"),
        (Cell(protocol="task"), "a__b__tiny__task__quick__seed0"),
        (Cell(limit=3, device="cuda"), "a__b__tiny__paper__quick__limit3__cuda__seed0"),
        (Cell(options=(("z", "a/b"), ("init_std", "0.1"))), "a__b__tiny__paper__quick__init_std=0.1__z=a%2Fb__seed0"),
    ],
)
def test_a_name_says_what_the_cell_is(cell: Cell, name: str) -> None:
    assert cell.name == name


def test_a_smoke_test_a_variant_and_a_full_run_lie_side_by_side(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"protocol": "task"}, {"limit": 3},
        {"device": "cuda"}, {"options": {"target": "half"}}, {"options": {"target": "x" * 300}},
    ]  # fmt: skip
    records = [make_record(**change) for change in changes]
    for record in records:
        write_record(tmp_path, record)
    assert len(list((tmp_path / "results").iterdir())) == 6
    assert sorted(records, key=lambda record: record.cell) == read_records(tmp_path)


def test_a_published_record_of_version_1_is_read(tmp_path: Path) -> None:
    old = json.loads(PUBLISHED.read_text())
    assert old["schema_version"] == 1
    path = record_path(tmp_path, "prune-distill__receipts-mini__tiny__quick__seed0")
    write_atomically(path, PUBLISHED.read_bytes())
    new = json.loads(read_record(path).model_dump_json())
    assert old["metrics"].pop("cka_null_floor") == pytest.approx(0.491, abs=0.001)
    assert new["metrics"].pop("cka_null_floor") is None, "it was that of isotropic noise"
    assert new["start_documents"] is None, "version 1 does not say"
    assert (new["options"], new["limit"], new["device"], new["model_hash"]) == ({}, None, "cpu", None)
    later = ("ted_ceiling", "truncated_documents", "unknown_characters", "several_truths")
    assert [new["metrics"].pop(name) for name in later] == [None] * 4
    assert [new["metrics"].pop(name) for name in ("cka_index_matched", "cka_blocks", "cka_self_ceiling")] == [None] * 3
    assert new["metrics"].pop("layerwise_debiased") == []
    assert [old["efficiency"].pop(f"latency_natural_ms_{quantile}") > 0 for quantile in ("p50", "p95")] == [True] * 2
    assert {name: new["efficiency"].pop(name) for name in old["efficiency"]} == old.pop("efficiency")
    assert new["efficiency"].pop("timings") == {}
    assert set(new.pop("efficiency").values()) == {None}, "nothing was timed against the teacher"
    assert (new["metrics"].pop("fields"), new["metrics"].pop("failures")) == ({}, {})
    assert new["metrics"].pop("agreement") is None
    assert new["protocol"] == "paper", "there was no other"
    assert {name: new[name] for name in old} == {**old, "schema_version": 3}


def test_a_renamed_record_of_version_1_is_refused(tmp_path: Path) -> None:
    path = record_path(tmp_path, "prune-distill__receipts-mini__tiny__quick__limit3__seed0")
    write_atomically(path, PUBLISHED.read_bytes())
    with pytest.raises(
        UserError, match="holds the record of the cell prune-distill__receipts-mini__tiny__paper__quick__seed0"
    ):
        read_record(path)


class TestVersion2:
    OLD = "prune__parcels-mini__tiny__quick__seed0"
    NEW = "prune__parcels-mini__tiny__paper__quick__seed0"

    @pytest.fixture
    def old(self, tmp_path: Path) -> Path:
        """A folder as version 2 left it: one record and its predictions."""
        write_atomically(record_path(tmp_path, self.OLD), (DATA / "record-v2.json").read_bytes())
        predictions_path(tmp_path, self.OLD).write_text("predictions\n")
        return tmp_path

    def test_it_is_read_under_its_old_name(self, old: Path) -> None:
        (record,) = read_records(old)
        assert (record.cell, record.protocol, record.schema_version) == (self.NEW, "paper", 3)
        assert record.efficiency is not None
        assert record.efficiency.latency_ms_p50 is not None
        assert record.efficiency.latency_ratio is None

    def test_it_is_migrated_with_its_predictions(self, old: Path) -> None:
        before = read_records(old)
        migrate_records(old)
        assert read_records(old) == before
        assert {path.name for path in (old / "results").iterdir()} == {
            f"{self.NEW}.json",
            f"{self.NEW}.predictions.jsonl",
        }
        assert predictions_path(old, self.NEW).read_text() == "predictions\n"
        assert json.loads(record_path(old, self.NEW).read_text())["schema_version"] == 3

    def test_one_that_was_made_again_supersedes_it(self, old: Path) -> None:
        again = read_records(old)[0].model_copy(update={"key": "new"})
        write_record(old, again)
        assert read_records(old) == [again]
        migrate_records(old)
        assert [path.name for path in (old / "results").iterdir()] == [f"{self.NEW}.json"]
        assert read_records(old) == [again]

    def test_the_name_of_another_cell_is_refused(self, old: Path) -> None:
        record_path(old, self.OLD).rename(record_path(old, self.NEW.replace("paper", "task")))
        with pytest.raises(UserError, match=f"holds the record of the cell {self.NEW}"):
            read_records(old)


def test_a_failure_of_version_1_is_read(tmp_path: Path) -> None:
    failed = {**json.loads(PUBLISHED.read_text()), "status": "failed", "error": "boom", "metrics": None}
    path = record_path(tmp_path, "prune-distill__receipts-mini__tiny__quick__seed0")
    write_atomically(path, json.dumps(failed).encode())
    assert read_record(path).error == "boom"


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
    with pytest.raises(ValidationError, match="cka"):
        Metrics(ted=0.0, cka=10**400)  # which no float holds


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
        ({"metrics": {"ted": 0.5, "layerwise_debiased": [[1.0]]}}, "layerwise_debiased is not 0 x 0"),
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
        (b"[" * 100_000 + b"]" * 100_000, "not a record: it is nested too deep"),
        (b'{"a": ' * 100_000, "not a record: it is nested too deep"),
        (b'{"schema_version": 1}', "strategy: Field required"),
        (b'{"schema_version": 1, "metrics": [2]}', "strategy: Field required"),
        (b'{"schema_version": 4, "new": 0}', "schema version 4, but this benchmark reads 1 to 3"),
        (b'{"schema_version": 0}', "schema version 0, but this benchmark reads 1 to 3"),
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
    code = "import sys, benchmark.records.record, benchmark.report; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
