"""`compare`: two strategies on the same documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark import UserError
from benchmark.cli import main
from benchmark.metrics.f1 import FieldCounts, f1_from_counts
from benchmark.metrics.paired import micro_f1, paired_difference
from benchmark.records.files import predictions_path, write_predictions, write_record
from benchmark.records.record import Prediction, Record
from benchmark.report.compare import compare

Make = Callable[..., Record]
COUNT = 40


def prediction(number: int, ted: float, tp: int) -> Prediction:
    return Prediction(id=f"doc{number:02d}", prediction={}, ground_truth={}, ted=ted, tp=tp, fn=4 - tp, fp=1, text="")


def write(folder: Path, record: Record, teds: list[float], tps: list[int]) -> Record:
    assert record.metrics is not None
    metrics = record.metrics.model_copy(update={"ted": float(np.mean(teds))})
    record = record.model_copy(update={"metrics": metrics, "test_documents": len(teds)})
    write_record(folder, record)
    rows = [prediction(number, ted, tp) for number, (ted, tp) in enumerate(zip(teds, tps, strict=True))]
    write_predictions(predictions_path(folder, record.cell), rows)
    return record


@pytest.fixture
def folder(tmp_path: Path, make_record: Make) -> Path:
    """Of 40 documents `small` reads the first three better by 0.3, 0.2 and 0.1 and the last worse by 0.05."""
    teds, tps = [0.6] * COUNT, [2] * COUNT
    for seed in (0, 1):
        write(tmp_path, make_record("prune-distill", "receipts-mini", seed), teds, tps)
    ours = [0.9, 0.8, 0.7, *teds[3:-1], 0.55]
    write(tmp_path, make_record("small", "receipts-mini"), ours, [4, 3, *tps[2:]])
    return tmp_path


class TestCompare:
    def test_the_differences_are_those_of_the_means(self, folder: Path) -> None:
        (found,) = compare(folder, "small", "prune-distill")
        assert found.setting.startswith("receipts-mini, ")
        assert found.ted.value == pytest.approx(0.55 / COUNT)
        before = f1_from_counts([FieldCounts(2, 2, 1)] * COUNT)
        after = f1_from_counts([FieldCounts(4, 0, 1), FieldCounts(3, 1, 1), *[FieldCounts(2, 2, 1)] * (COUNT - 2)])
        assert found.f1.value == pytest.approx(after - before)
        for difference in (found.ted, found.f1):
            assert difference.low < difference.value < difference.high

    def test_documents_are_counted_and_the_furthest_apart_named(self, folder: Path) -> None:
        (found,) = compare(folder, "small", "prune-distill")
        assert (found.documents, found.better, found.worse) == (COUNT, 3, 1)
        assert [apart.document for apart in found.most] == ["doc00", "doc01", "doc02", "doc39"]
        assert (found.most[0].first, found.most[0].second) == (0.9, 0.6)

    def test_the_other_way_round_it_is_the_opposite(self, folder: Path) -> None:
        (one,), (other,) = compare(folder, "small", "prune-distill"), compare(folder, "prune-distill", "small")
        assert other.ted.value == -one.ted.value
        assert (other.better, other.worse) == (one.worse, one.better)

    def test_a_strategy_without_a_record_is_named_with_the_nearest(self, folder: Path) -> None:
        with pytest.raises(UserError, match="unknown strategy 'smal': did you mean small"):
            compare(folder, "smal", "prune-distill")

    def test_what_has_no_documents_in_common_is_refused(self, folder: Path, make_record: Make) -> None:
        write(folder, make_record("distill", "parcels-mini"), [0.5] * COUNT, [2] * COUNT)
        for other in ("distill", "small"):
            with pytest.raises(UserError, match=f"small and {other} have read no documents in common"):
                compare(folder, "small", other)

    def test_predictions_that_are_gone_are_told(self, folder: Path) -> None:
        next(folder.glob("results/small*.jsonl")).unlink()
        with pytest.raises(UserError, match=r"cannot read .*small.*predictions\.jsonl"):
            compare(folder, "small", "prune-distill")

    def test_predictions_of_other_documents_are_told(self, folder: Path) -> None:
        (path,) = folder.glob("results/small*.jsonl")
        path.write_text(path.read_text().replace("doc00", "other"))
        with pytest.raises(UserError, match="the predictions are not of the same documents"):
            compare(folder, "small", "prune-distill")


def test_f1_is_computed_again_in_each_resample() -> None:
    counts = np.array([[[3.0, 1, 0], [0, 2, 5]], [[1, 0, 0], [0, 0, 0]]])
    shares = np.array([[0.5, 0.5], [1, 0], [0, 1]])
    expected = [[f1_from_counts([FieldCounts(3, 1, 0), FieldCounts(0, 2, 5)]), 1.0], [6 / 7, 1.0], [0.0, 1.0]]
    assert micro_f1(shares, counts) == pytest.approx(np.array(expected))


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Two rows that read equally well, many times over: about one interval in twenty leaves 0 out."""
    draws = np.random.default_rng(3)
    decisive = [paired_difference(draws.random((1, 60)), draws.random((1, 60))).decisive for _ in range(120)]
    assert 0 < sum(decisive) < 15


def test_the_command_prints_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(folder), "small", "prune-distill"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("  small - prune-distill: N-TED +0.014 [")
    assert "  3 documents are read better by small, 1 by prune-distill, 36 alike" in lines
    assert "    doc00: 0.900 and 0.600" in lines
    assert main(["compare", str(folder), "small", "nothing"]) == 2
    assert "unknown strategy 'nothing'" in capsys.readouterr().err
