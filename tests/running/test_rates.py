"""Rates: a grid on the validation split, kept as it comes, and what it chooses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benchmark import UserError
from benchmark.cli import main
from benchmark.plugin.manager import load_plugins
from benchmark.records.files import write_record
from benchmark.records.record import Record
from benchmark.records.trials import Trial, best_rates, read_trials, trials_path, write_trials
from benchmark.report import write_report
from benchmark.report.rates import rates_frame
from benchmark.running.config import RunConfig
from benchmark.running.rates import try_rates
from benchmark.running.trained import keep
from benchmark.training.compress import TrainingData
from benchmark.types import PROTOCOLS, Dataset, ProtocolName, Strategy

ROOT = Path(__file__).parents[2]


def trial(strategy: str, dataset: str, rate: float, ted: float | None, seed: int = 0) -> Trial:
    return Trial(
        strategy=strategy,
        dataset=dataset,
        scale="tiny",
        budget="quick",
        seed=seed,
        rate=rate,
        learning_rate=rate / 50,
        steps=160,
        validation_documents=40,
        validation_ted=ted,
        key="k",
    )


GRID = [
    trial("a", "receipts", 0.5, 0.6),
    trial("a", "parcels", 0.5, 0.9),
    trial("a", "receipts", 1.0, 0.8),
    trial("a", "parcels", 1.0, 0.8),
    trial("b", "receipts", 0.5, 0.7),
    trial("b", "receipts", 1.0, None),
]


RECORD = Record(
    strategy="prune",
    dataset="receipts-mini",
    task="extraction",
    scale="tiny",
    protocol="paper",
    seed=0,
    budget="quick",
    status="failed",
    error="RuntimeError: no luck",
    start="teacher",
    steps=0,
    documents=0,
    test_documents=0,
    seconds_train=0,
    seconds_total=0,
    key="k",
)


class TestBest:
    def test_it_is_the_best_mean_over_data_sets(self) -> None:
        assert best_rates(GRID) == {"a": 1.0, "b": 0.5}

    def test_a_rate_that_was_tried_on_fewer_is_not_compared(self) -> None:
        assert best_rates([*GRID, trial("a", "receipts", 2.0, 0.99)])["a"] == 1.0

    def test_rates_that_were_tried_on_as_many_other_data_sets_are_not_compared(self) -> None:
        trials = [trial("a", "easy", 0.5, 0.9), trial("a", "hard", 1.0, 0.1)]
        assert best_rates(trials) == {}

    def test_the_lower_of_two_equals_is_taken(self) -> None:
        assert best_rates([trial("a", "x", rate, 0.5) for rate in (2.0, 0.5, 1.0)]) == {"a": 0.5}

    def test_a_strategy_that_came_to_no_end_has_none(self) -> None:
        assert best_rates([trial("a", "x", 1.0, None)]) == {}

    def test_the_table_shows_every_score_the_mean_and_the_choice(self) -> None:
        rows = [list(row) for row in rates_frame(GRID).itertuples(index=False)]
        assert rows == [
            ["a", "parcels", "0.900", "0.800", ""],
            ["a", "receipts", "0.600", "0.800", ""],
            ["a", "mean", "0.750", "0.800", "1"],
            ["b", "receipts", "0.700", "failed", ""],
            ["b", "mean", "0.700", "failed", "0.5"],
        ]


class TestFile:
    def test_it_is_read_as_it_was_written(self, tmp_path: Path) -> None:
        assert read_trials(tmp_path) == []
        write_trials(tmp_path, GRID)
        assert read_trials(tmp_path) == GRID

    @pytest.mark.parametrize("content", ["{", "{}", '[{"strategy": 1}]'])
    def test_a_broken_one_is_named(self, content: str, tmp_path: Path) -> None:
        trials_path(tmp_path).write_text(content)
        with pytest.raises(UserError, match=r"rates\.json: no list of trials") as caught:
            read_trials(tmp_path)
        assert "\n" not in str(caught.value)


class TestTrying:
    """With a trainer whose score is best at a rate of 0.5."""

    @pytest.fixture
    def trained(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
        done: list[tuple[str, float]] = []

        def train(model: Any, strategy: Strategy, data: TrainingData, learning_rate: float, *_: Any) -> Any:
            assert {name.split("-")[0] for name in data.validation.ids} == {"validation"}
            done.append((strategy.name, round(learning_rate / data.budget.learning_rate, 6)))
            if strategy.rate > 1:
                raise FloatingPointError("the loss of step 2 of 3 is nan")
            return model, [(data.steps, 1 - abs(strategy.rate - 0.5))]

        monkeypatch.setattr("benchmark.running.stages.train_strategy", train)
        return done

    def config(self, output: Path, **changes: Any) -> RunConfig:
        names = ("prune", "none", "small")
        config = RunConfig(names, ("receipts-mini", "synthdog-mini"), output=output, device="cpu", limit=3)
        return replace(config, **changes)

    def test_each_strategy_that_trains_is_tried_at_each_rate_on_tasks(
        self, trained: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("benchmark.running.shared.Evaluator", lambda *_: pytest.fail("test documents were opened"))
        trials = try_rates(self.config(tmp_path), (0.25, 0.5, 4.0))
        assert sorted(trained) == [(name, rate) for name in ("none", "small") for rate in (0.25, 0.5, 4.0)]
        assert [(t.strategy, t.rate, t.validation_ted) for t in trials if t.strategy == "small"] == [
            ("small", 0.25, 0.75),
            ("small", 0.5, 1.0),
            ("small", 4.0, None),
        ]
        assert best_rates(trials) == {"none": 0.5, "small": 0.5}
        assert {t.dataset for t in trials} == {"receipts-mini"}

    def test_what_is_finished_is_not_trained_again_and_stays_recorded(
        self, trained: list[tuple[str, float]], tmp_path: Path
    ) -> None:
        try_rates(self.config(tmp_path), (0.25, 0.5))
        before = len(trained)
        try_rates(self.config(tmp_path), (0.5, 1.0))
        assert [rate for _, rate in trained[before:]] == [1.0, 1.0]
        assert sorted({t.rate for t in read_trials(tmp_path)}) == [0.25, 0.5, 1.0]

    def test_a_smoke_test_stands_beside_the_grid(self, trained: list[tuple[str, float]], tmp_path: Path) -> None:
        try_rates(self.config(tmp_path, strategies=("none",)), (0.5,))
        try_rates(self.config(tmp_path, strategies=("none",), limit=2), (0.5,))
        trials = read_trials(tmp_path)
        assert [(t.limit, t.validation_documents) for t in trials] == [(2, 2), (3, 3)]
        write_record(tmp_path, RECORD)
        write_report(tmp_path)
        text = (tmp_path / "tables" / "rates.md").read_text()
        assert text.count("| none       | receipts-mini |") == text.count(", limit ") == 2

    def test_trials_are_kept_as_they_come(
        self, trained: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def killed(*made: Any) -> None:
            if len(trained) == 2:
                raise KeyboardInterrupt
            keep(*made)

        monkeypatch.setattr("benchmark.running.stages.keep", killed)
        with pytest.raises(KeyboardInterrupt):
            try_rates(self.config(tmp_path, strategies=("none",)), (0.5, 1.0))
        assert [t.rate for t in read_trials(tmp_path)] == [0.5]

    def test_what_has_changed_since_is_dropped(self, trained: list[tuple[str, float]], tmp_path: Path) -> None:
        stale, other = trial("small", "receipts-mini", 2.0, 0.9), trial("stranger", "receipts-mini", 1.0, 0.9)
        stale, other = (t.model_copy(update={"limit": 3}) for t in (stale, other))
        write_trials(tmp_path, [stale, other])
        try_rates(self.config(tmp_path), (0.5,))
        assert [(t.strategy, t.rate) for t in read_trials(tmp_path)] == [
            ("none", 0.5),
            ("small", 0.5),
            ("stranger", 1.0),
        ]

    def test_a_strategy_that_fails_is_named_and_the_rest_is_kept(
        self, trained: list[tuple[str, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        try_rates(self.config(tmp_path, strategies=("none",)), (0.5,))
        monkeypatch.setattr("benchmark.running.stages.train_strategy", lambda *_: 1 / 0)
        with pytest.raises(UserError, match=r"small rate=0\.5 on receipts-mini, seed 0: ZeroDivisionError"):
            try_rates(self.config(tmp_path, strategies=("none", "small")), (0.5,))
        assert [t.strategy for t in read_trials(tmp_path)] == ["none"]

    def test_nothing_to_choose_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no rate to choose"):
            try_rates(self.config(tmp_path, datasets=("synthdog-mini",)), (0.5,))


@pytest.mark.parametrize("grid", ["", "a", "0", "-1", "0.5,,1", "inf", "nan"])
def test_a_grid_that_is_none_is_refused_in_one_line(grid: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rates", "--rates", grid]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "is not a list of numbers above 0" in err


def test_the_report_has_the_grid_where_there_is_one(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    assert "rates.md" not in {path.name for path in write_report(tmp_path)}
    write_trials(tmp_path, GRID)
    write_report(tmp_path)
    text = (tmp_path / "tables" / "rates.md").read_text()
    assert "| a          | mean       | 0.750      | 0.800    | 1        |" in text
    assert "40 validation documents" in text


def test_each_protocol_has_its_own_grid_and_choice(tmp_path: Path) -> None:
    write_record(tmp_path, RECORD)
    other = [trial("a", "receipts", rate, ted) for rate, ted in ((0.5, 0.9), (1.0, 0.3))]
    write_trials(tmp_path, [*(t.model_copy(update={"protocol": "task"}) for t in other), *GRID])
    write_report(tmp_path)
    text = (tmp_path / "tables" / "rates.md").read_text()
    assert text.index("protocol paper, budget quick") < text.index("protocol task, budget quick")
    paper, task = text.split("protocol task")
    assert "| a          | mean       | 0.750      | 0.800    | 1        |" in paper
    assert "| a          | mean       | 0.900      | 0.300    | 0.5      |" in task
    assert "| b " not in task


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_rates_of_the_built_in_strategies_are_those_that_validation_chose(protocol: ProtocolName) -> None:
    trials = [trial for trial in read_trials(ROOT / "reports" / "tiny") if trial.protocol == protocol]
    strategies: Sequence[Strategy] = [entry.item for entry in load_plugins().strategies.values()]
    trained = (s for s in strategies if s.objective is not None and protocol in s.protocols)
    by_name = {strategy.name: strategy for strategy in trained}
    built_in = {name: strategy.under(protocol).rate for name, strategy in by_name.items()}
    chosen = best_rates(trials)
    assert {name: rate for name, rate in built_in.items() if name in chosen} == chosen
    # The grid has none of these yet.
    older = {name for name in built_in if "paper" in by_name[name].protocols}
    assert {built_in[name] for name in older - chosen.keys()} <= {1.0}
    assert all(name.startswith("structured-") for name in older - chosen.keys())


def test_no_embedded_task_is_left_out_of_the_grid(datasets: dict[str, Dataset]) -> None:
    tasks = {name for name, dataset in datasets.items() if dataset.task == "extraction"}
    grid = read_trials(ROOT / "reports" / "tiny")
    assert {(trial.dataset, trial.protocol) for trial in grid} == set(product(tasks, PROTOCOLS))
