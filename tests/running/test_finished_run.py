"""A finished run: its records, its models, and running it again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark import UserError
from benchmark.measure.parameters import count_parameters
from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.parameters import prunable
from benchmark.parts.starts import magnitude_pruned, sparsity_of
from benchmark.records.files import (
    predictions_path,
    read_predictions,
    read_records,
    shifted_predictions_path,
    write_record,
)
from benchmark.running.config import RunConfig
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.types import Dataset
from benchmark.zoo.references import DatasetReferences
from benchmark.zoo.store import open_zoo
from tests.running.runs import (
    DATASETS,
    STRATEGIES,
    Records,
    Watch,
    checkpoint_of,
    config,
    files,
    gone,
    no_data,
    no_text,
    own_metrics,
)

_WITHOUT_TORCH = """
import sys
from benchmark.cli import main

code = main([{command!r}, sys.argv[1]])
assert "torch" not in sys.modules
sys.exit(code)
"""
RESCORED, REPORTED = (_WITHOUT_TORCH.format(command=command) for command in ("rescore", "report"))


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in files(folder).items()}


class TestFinished:
    def test_every_cell_is_ok(self, finished: Records) -> None:
        assert set(finished) == {(strategy, dataset) for strategy in STRATEGIES for dataset in DATASETS}
        for record in finished.values():
            assert (record.status, record.error) == ("ok", None)
            assert record.metrics is not None
            assert record.efficiency is not None
            assert record.test_documents == 24
            assert record.metrics.f1 is not None
            assert record.efficiency.latency_ms_p50 is not None
            assert 0 < record.efficiency.latency_ms_p50 <= (record.efficiency.latency_ms_p95 or 0)
            assert record.environment["device"]

    def test_the_records_lie_in_the_output(self, whole: RunConfig, finished: Records) -> None:
        assert sorted(read_records(whole.output), key=repr) == sorted(finished.values(), key=repr)
        leftovers = [name for name in files(whole.output) if ".tmp" in name or ".part" in name]
        assert leftovers == []

    def test_the_scores_are_those_of_the_predictions(self, whole: RunConfig, finished: Records) -> None:
        for record in finished.values():
            lines = read_predictions(predictions_path(whole.output, record.cell))
            assert len({line.id for line in lines}) == 24
            assert record.metrics is not None
            assert record.metrics.ted == pytest.approx(sum(line.ted for line in lines) / 24)
            assert {line.id.split("-")[0] for line in lines} == {"test"}

    def test_the_shifted_split_is_read_too(self, whole: RunConfig, finished: Records) -> None:
        for record in finished.values():
            lines = read_predictions(shifted_predictions_path(whole.output, record.cell))
            assert [line.id for line in lines] == [f"shifted-0-{index:06d}" for index in range(24)]
            assert record.shifted is not None
            assert record.shifted.ted == pytest.approx(sum(line.ted for line in lines) / 24)
            assert (record.shifted_documents, record.shifted.cka) == (24, None)

    def test_scored_again_and_reported_again_it_is_the_same(
        self, whole: RunConfig, finished: Records, tmp_path: Path
    ) -> None:
        """Both in a process that loads no torch."""
        again = tmp_path / "again"
        shutil.copytree(whole.output / "results", again / "results")
        ran = subprocess.run([sys.executable, "-c", RESCORED, str(again)], capture_output=True, text=True, check=True)
        assert f"{len(finished)} cells scored again, 0 with other scores" in ran.stdout
        assert contents(again / "results") == contents(whole.output / "results")
        before = contents(again)
        subprocess.run([sys.executable, "-c", REPORTED, str(again)], capture_output=True, check=True)
        assert contents(again) == before

    def test_each_row_is_read_against_the_teachers(self, finished: Records) -> None:
        for (strategy, dataset), record in finished.items():
            assert record.metrics is not None
            agreement, counts = record.metrics.agreement, record.metrics.fields.values()
            assert agreement is not None
            assert agreement.fields == sum(count.tp + count.fn for count in counts)
            teacher = finished["teacher", dataset].metrics
            assert teacher is not None
            gained = sum(count.tp for count in counts) - sum(count.tp for count in teacher.fields.values())
            assert agreement.wrong_to_right - agreement.right_to_wrong == gained
            if strategy == "teacher":
                assert (agreement.ted, agreement.right_to_wrong, agreement.wrong_to_right) == (1.0, 0, 0)
            else:
                assert agreement.ted < 1

    def test_the_teacher_is_the_zoos_and_like_itself(self, finished: Records, datasets: dict[str, Dataset]) -> None:
        zoo = open_zoo(TINY)
        for dataset in DATASETS:
            record = finished["teacher", dataset]
            place = zoo.task_teacher(datasets[dataset])
            assert place is not None
            assert record.start_hash == fingerprint(load_model(place))
            assert (record.steps, record.documents, record.curve, record.reference) == (0, 0, [], True)
            assert record.metrics is not None
            assert record.metrics.cka == pytest.approx(1.0)
            assert record.metrics.cka_debiased == pytest.approx(1.0)

    def test_every_pruned_row_keeps_the_papers_share(self, finished: Records) -> None:
        for (strategy, _), record in finished.items():
            assert record.efficiency is not None
            if strategy != "teacher":
                assert record.efficiency.density == pytest.approx(37 / 141, abs=1e-3)
                assert record.efficiency.size_packed_bytes < 0.6 * record.efficiency.size_dense_bytes
            else:
                assert record.efficiency.density > 0.99

    def test_upstream_comes_before_the_task(self, finished: Records) -> None:
        upstream, task = (finished["prune-distill", dataset] for dataset in DATASETS)
        assert (upstream.steps, upstream.documents) == (3, 24)
        assert (task.steps, task.documents) == (6, 48)
        assert task.start_hash == upstream.start_hash == finished["prune", "synthdog-mini"].start_hash
        assert task.upstream_curve == upstream.curve
        assert [step for step, _ in task.curve] == [2, 3]
        assert upstream.upstream_curve == []
        assert finished["prune", "receipts-mini"].start_hash != upstream.start_hash

    def test_the_nonzeros_are_those_of_the_saved_model(self, whole: RunConfig, finished: Records) -> None:
        for record in finished.values():
            counts = count_parameters(load_model(checkpoint_of(whole, record)))
            assert record.efficiency is not None
            assert counts.nonzero == record.efficiency.params_nonzero
            assert counts.nonembedding == record.efficiency.params_nonembedding

    def test_training_kept_the_mask_and_changed_the_rest(self, whole: RunConfig, finished: Records) -> None:
        zoo = open_zoo(TINY)
        references = DatasetReferences(zoo, zoo.folder / "teacher", 0, 0, no_data, no_text)
        start = magnitude_pruned()(references, TINY, 0)
        removed = sum(int(zeros.sum()) for zeros in gone(start).values())
        assert removed == round(sparsity_of("paper-table") * count_parameters(start).nonembedding)
        for dataset in DATASETS:
            trained = load_model(checkpoint_of(whole, finished["prune-distill", dataset]))
            for name, zeros in gone(start).items():
                assert torch.equal(gone(trained)[name] | zeros, gone(trained)[name])
            # A layer of which next to nothing is left may get no gradient.
            same = [name for name, weight in prunable(start).items() if torch.equal(prunable(trained)[name], weight)]
            assert len(same) < 0.2 * len(prunable(start))

    def test_a_second_run_runs_nothing(
        self, whole: RunConfig, finished: Records, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch, before = Watch(monkeypatch), files(whole.output)
        assert {(r.strategy, r.dataset): r for r in run(whole)} == finished
        assert watch.made == []
        assert files(whole.output) == before

    def test_a_second_run_loads_no_library_for_models(self, tmp_path: Path) -> None:
        cheap = config(tmp_path)
        run(cheap)
        code = (
            "import sys; from benchmark import RunConfig, run; from pathlib import Path;"
            f"run(RunConfig(('teacher',), ('receipts-mini',), output=Path({str(tmp_path)!r}), device='cpu', limit=4));"
            "sys.exit('transformers' in sys.modules)"
        )
        again = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (again.returncode, again.stderr) == (0, "1 cell: already finished\n")

    @pytest.mark.long
    def test_an_interrupted_run_goes_on_and_gets_the_same_numbers(
        self,
        whole: RunConfig,
        finished: Records,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Ctrl-C passes; what was trained before it is kept, not trained again."""
        again = replace(
            whole, output=tmp_path / "out", strategies=("teacher", "prune-distill"), datasets=("receipts-mini",)
        )
        unfinished = shutil.ignore_patterns("prune-distill__*")
        shutil.copytree(whole.output, again.output, ignore=unfinished)

        def interrupted(*_: object) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("benchmark.scoring.evaluator.decode", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(again)
        assert not any("prune-distill" in record.cell for record in read_records(again.output))
        watch = Watch(monkeypatch)
        monkeypatch.setattr("benchmark.running.stages.train_strategy", lambda *_: pytest.fail("trained again"))
        _, record = run(again)
        assert watch.made == ["prune-distill"]
        one = finished["prune-distill", "receipts-mini"]
        assert (record.status, record.key, record.curve) == ("ok", one.key, one.curve)
        assert (record.metrics, record.steps, record.start_hash) == (one.metrics, one.steps, one.start_hash)
        lines = [read_predictions(predictions_path(r.output, one.cell)) for r in (whole, again)]
        assert lines[0] == lines[1]


class TestMeasuring:
    """The last stage: after all cells, in one process."""

    def test_identical_computations_share_one_timing(self, finished: Records) -> None:
        costs = [record.efficiency for record in finished.values()]
        assert len({cost.computation for cost in costs if cost}) == 1, "zeros save no time"
        assert len({cost.latency_ratio for cost in costs if cost}) == 1
        assert all(cost is not None and cost.latency_ratio == cost.latency_control for cost in costs)

    @pytest.mark.long
    def test_a_run_that_was_killed_before_it_only_measures(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cheap = config(tmp_path, strategies=("teacher", "small"))

        def interrupted(*_: object) -> Any:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("benchmark.running.costs.measure", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(cheap)
        unmeasured = read_records(tmp_path)
        assert [(record.status, record.efficiency) for record in unmeasured] == [("ok", None)] * 2
        watch = Watch(monkeypatch)
        measured = {record.strategy: record for record in run(cheap)}
        assert watch.made == []
        for record in unmeasured:
            now = measured[record.strategy]
            assert now.efficiency is not None
            assert now.model_copy(update={"efficiency": None, "metrics": own_metrics(now)}) == record
        teacher, small = (measured[name].efficiency for name in ("teacher", "small"))
        assert teacher is not None
        assert small is not None
        assert teacher.computation != small.computation
        assert read_records(tmp_path) == sorted(measured.values(), key=lambda record: record.cell)

    @pytest.mark.long
    def test_what_is_measured_stays_as_it_was_measured(self, tmp_path: Path) -> None:
        (before,) = run(config(tmp_path))
        again, small = run(config(tmp_path, strategies=("teacher", "small")))
        assert again == before
        assert small.efficiency is not None

    @pytest.mark.long
    def test_without_record_of_costs_and_checkpoint_it_is_run_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (record,) = run(config(tmp_path))
        write_record(tmp_path, record.model_copy(update={"efficiency": None}))
        shutil.rmtree(tmp_path / "checkpoints")
        watch = Watch(monkeypatch)
        (again,) = run(config(tmp_path))
        assert watch.made == ["teacher"]
        assert again.efficiency is not None

    def test_what_cannot_be_measured_keeps_its_scores_and_is_tried_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def broken(model: Any) -> Any:
            if count_parameters(model).density < 0.5:
                raise RuntimeError("no counting\nof zeros")
            return count_parameters(model)

        both = config(tmp_path, strategies=("teacher", "prune"))
        with monkeypatch.context() as patch:
            patch.setattr("benchmark.measure.count_parameters", broken)
            teacher, prune = run(both)
        assert (teacher.status, prune.status, prune.efficiency) == ("ok", "ok", None)
        assert teacher.efficiency is not None
        line = f"{prune.cell}: not measured, the next run tries again: RuntimeError: no counting of zeros"
        assert line in capfd.readouterr().err
        again = run(both)
        assert again[0] == teacher
        assert again[1].efficiency is not None


class TestSideBySide:
    """What differs in more than its seed has files of its own: nothing finished is overwritten by something else."""

    @pytest.mark.long
    def test_limits_options_and_seeds(self, tmp_path: Path) -> None:
        one = config(tmp_path, strategies=("prune",), limit=2)
        others = [
            replace(one, limit=3),
            replace(one, options={"target": "0.1"}),
            replace(one, seeds=(1,)),
            one,
        ]
        (first,) = run(one)
        kept = files(tmp_path / "results")
        for other in others:
            run(other)
        assert len(read_records(tmp_path)) == 4
        assert {name: files(tmp_path / "results")[name] for name in kept} == kept
        (changed,) = [record for record in read_records(tmp_path) if record.options]
        assert (changed.options, changed.limit) == ({"target": "0.1"}, 2)
        assert changed.model_hash != first.model_hash

    def test_an_option_that_a_strategy_lacks_changes_nothing_of_it(self, tmp_path: Path) -> None:
        both = config(tmp_path, strategies=("teacher", "prune"), limit=2, options={"target": "0.1"})
        teacher, prune = run(both)
        assert (teacher.options, prune.options) == ({}, {"target": "0.1"})
        assert "target" not in teacher.cell

    def test_seeds_of_what_is_not_trained_are_one_checkpoint(self, tmp_path: Path) -> None:
        first, second = run(config(tmp_path, strategies=("prune",), limit=2, seeds=(0, 1)))
        assert first.model_hash == second.model_hash is not None


class TestRecord:
    def test_it_says_how_it_was_made(self, finished: Records) -> None:
        record = finished["prune-distill", "receipts-mini"]
        assert (record.rate, record.learning_rate) == (1.0, TINY.quick.learning_rate)
        assert record.optimizer == "Muon (weight decay 0.1) and Adam"
        assert record.options == {"weight": "1.5"}
        assert finished["prune-distill", "synthdog-mini"].rate is None, "upstream all learn at the budget's own"
        assert (record.package or "").startswith("donutbench ")
        assert "donutbench_strategies.prune_distill" in (record.source or "")
        assert "donutbench_datasets.receipts_mini" in (record.dataset_source or "")
        assert (record.limit, record.device) == (24, "cpu")
        teacher = finished["teacher", "receipts-mini"]
        assert (teacher.rate, teacher.learning_rate, teacher.optimizer) == (None, None, None)
        assert (teacher.documents, teacher.start_documents) == (0, 54_400)

    def test_its_rate_is_that_of_a_task(self, tmp_path: Path) -> None:
        (reading,) = run(
            config(tmp_path, strategies=("prune-finetune",), datasets=("synthdog-mini",), options={}, limit=2)
        )
        assert (reading.status, reading.rate) == ("ok", None)


class TestOptions:
    def test_they_change_the_model_and_two_documents_are_enough(self, finished: Records, tmp_path: Path) -> None:
        (record,) = run(config(tmp_path, strategies=("prune",), options={"target": "half"}, limit=2))
        assert (record.status, record.error) == ("ok", None)
        assert record.test_documents == 2
        assert record.metrics is not None
        assert record.metrics.cka is None
        assert record.efficiency is not None
        assert record.efficiency.density == pytest.approx(0.5, abs=1e-3)
        assert "50" in record.start

    def test_an_unknown_option_is_told_before_anything_runs(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="unknown option 'targt': did you mean target"):
            run(config(tmp_path / "out", strategies=("prune",), options={"targt": "half"}))
        assert not (tmp_path / "out").exists()
