"""What a cell is trained on, how fast, from where and for how long: the stages with a trainer that only takes notes."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from benchmark import CrossEntropy, Strategy, UserError, reference
from benchmark.models.balance import balance
from benchmark.models.checkpoint import fingerprint, load_checkpoint, load_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.plugin.manager import load_plugins
from benchmark.running.cells import Cell
from benchmark.running.stages import make_model
from benchmark.scales import TINY, Scale
from benchmark.training.compress import TrainingData
from benchmark.training.journal import Curve
from benchmark.types import Dataset, Document, References, Split
from benchmark.zoo.references import DatasetReferences
from benchmark.zoo.store import Zoo, open_zoo
from tests.running.bench import Bench
from tests.running.runs import no_data, no_text

SMALL = replace(
    TINY,
    quick=replace(TINY.quick, task_documents=24, reading_documents=40),
    task_teacher=replace(TINY.task_teacher, task_documents=48, reading_documents=32),
    validation_documents=5,
    test_documents=4,
)


@dataclass
class Notes:
    """A trainer that changes one weight and writes down what it was asked for."""

    trainings: list[tuple[str, TrainingData, float, int]] = field(default_factory=list)
    strategies: list[Strategy] = field(default_factory=list)

    def train(
        self,
        model: Donut,
        strategy: Strategy,
        data: TrainingData,
        learning_rate: float,
        validate: Any,
        seed: int,
        title: str,
        folder: Path,
    ) -> tuple[Donut, Curve]:
        self.trainings.append((strategy.name, data, learning_rate, seed))
        self.strategies.append(strategy)
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.bias[0] += 1 + torch.rand(())
        return model, [(data.steps, 0.5)]


@dataclass(frozen=True)
class Watched:
    """Opens a data set and writes down what was opened."""

    dataset: Dataset
    opened: ClassVar[list[tuple[Split, int, int | None]]] = []

    def __call__(self, scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
        self.opened.append((split, seed, count))
        return self.dataset.open(scale, split, seed, count)


@dataclass
class Remembering:
    """Opens a data set and keeps what it has opened."""

    dataset: Dataset
    seen: list[tuple[Split, int]] = field(default_factory=list)

    def __call__(self, scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
        self.seen.append((split, seed))
        return self.dataset.open(scale, split, seed, count)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> Notes:
    notes = Notes()
    Watched.opened.clear()
    monkeypatch.setattr("benchmark.running.stages.train_strategy", notes.train)
    return notes


@pytest.fixture
def bench(datasets: dict[str, Dataset], notes: Notes, tmp_path: Path) -> Bench:
    return Bench(open_zoo(TINY), datasets["synthdog-mini"], SMALL, tmp_path)


@pytest.fixture
def receipts(datasets: dict[str, Dataset]) -> Dataset:
    return replace(datasets["receipts-mini"], open=Watched(datasets["receipts-mini"]))


@pytest.fixture
def bills(datasets: dict[str, Dataset]) -> Dataset:
    """Receipts under a name that the zoo has no teacher for."""
    return replace(datasets["receipts-mini"], name="bills")


def built_in(name: str, **changes: Any) -> Strategy:
    return replace(load_plugins().strategies[name].item, **changes)


@dataclass
class Counting:
    """A start that does something else each time it is called."""

    calls: int = 0

    def __call__(self, references: References, scale: Scale, seed: int) -> Any:
        self.calls += 1
        model = references.load("teacher")
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.bias[0] = self.calls
        return model


DENSE = Strategy("dense", "the teacher, trained on", reference("teacher"), CrossEntropy())


class TestTraining:
    def test_it_reads_training_pages_of_its_seed_and_validation_of_seed_0(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        bench.trained(Cell(built_in("prune-finetune"), receipts, SMALL, "paper", "quick", seed=3))
        ((_, data, _, seed),) = notes.trainings
        assert seed == 3
        assert [name.rsplit("-", 1)[0] for name in data.pages.ids] == ["train-3"] * 24
        assert [name.rsplit("-", 1)[0] for name in data.validation.ids] == ["validation-0"] * 5
        task_teacher = load_model(bench.zoo.folder / "receipts-mini" / "teacher")
        assert fingerprint(data.teacher) == fingerprint(task_teacher)
        splits = {split for split, *_ in Watched.opened}
        assert splits == {"train", "validation"}, "test is read for scores alone"

    def test_the_rate_multiplies_on_the_task_and_not_upstream(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        slow = replace(DENSE, rate=0.25)
        trained = bench.trained(Cell(slow, receipts, SMALL, "paper", "quick", seed=0))
        (upstream, task) = notes.trainings
        assert (upstream[1].dataset.name, task[1].dataset.name) == ("synthdog-mini", "receipts-mini")
        assert (upstream[2], task[2]) == (TINY.quick.learning_rate, TINY.quick.learning_rate / 4)
        assert trained.training.learning_rate == task[2]
        assert trained.training.optimizer == "Muon (weight decay 0.1) and Adam"

    def test_another_rate_does_not_read_again(self, bench: Bench, receipts: Dataset, notes: Notes) -> None:
        for rate in (0.25, 0.5):
            cell = Cell(replace(DENSE, rate=rate), receipts, SMALL, "paper", "quick", 0, (("rate", str(rate)),))
            bench.trained(cell)
        bench.trained(Cell(DENSE, bench.reading, SMALL, "paper", "quick", seed=0))
        assert [data.dataset.name for _, data, _, _ in notes.trainings].count("synthdog-mini") == 1

    def test_all_that_was_read_is_counted(self, bench: Bench, receipts: Dataset, notes: Notes) -> None:
        training = bench.trained(Cell(DENSE, receipts, SMALL, "paper", "quick", seed=0)).training
        assert (training.steps, training.documents) == (5 + 3, 40 + 24)
        curves = [[tuple(point) for point in curve] for curve in (training.curve, training.upstream_curve)]
        assert curves == [[(3, 0.5)], [(5, 0.5)]]
        assert training.start_documents == 48_000
        known = bench.trained(Cell(built_in("small"), receipts, SMALL, "paper", "quick", seed=0)).training
        assert (known.steps, known.documents, known.start_documents) == (3_003, 24_024, 25_600)

    def test_the_controls_of_the_dense_teacher_begin_with_the_tasks_own(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        for name in ("dense-finetune", "dense-distill"):
            training = bench.trained(Cell(built_in(name), receipts, SMALL, "paper", "quick", seed=0)).training
            assert (training.documents, training.start_documents, training.upstream_curve) == (24, 48_000, [])
        none = bench.trained(Cell(built_in("none"), receipts, SMALL, "paper", "quick", seed=0)).training
        assert none.start_documents == 14_400

    def test_a_small_split_is_seen_again_until_the_budget_is_spent(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        few = replace(receipts, open=lambda scale, split, seed, count: receipts.open(scale, split, seed, 10))
        training = bench.trained(Cell(built_in("none"), few, SMALL, "paper", "quick", seed=0)).training
        assert (training.steps, training.documents) == (3, 24)
        ((_, data, _, _),) = notes.trainings
        assert (len(data.pages), data.batch, data.steps) == (10, 8, 3)

    def test_what_training_labels_lose_is_told_once(
        self, bench: Bench, receipts: Dataset, notes: Notes, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def strange(scale: Scale, split: Split, seed: int, count: int | None) -> list[Document]:
            documents = receipts.open(scale, split, seed, 8)
            return [replace(document, ground_truth={"total": "\u0439"}, glyphs=()) for document in documents]

        for seed in (0, 1):
            bench.trained(Cell(built_in("none"), replace(receipts, open=strange), SMALL, "paper", "quick", seed))
        assert capsys.readouterr().err.count("receipts-mini: in training 8 characters are unknown to the model") == 1

    def test_a_limit_cuts_every_split(self, bench: Bench, receipts: Dataset, notes: Notes) -> None:
        cell = Cell(built_in("none"), receipts, SMALL, "paper", "quick", seed=0, limit=3)
        training = bench.trained(cell).training
        ((_, data, _, _),) = notes.trainings
        assert (len(data.pages), len(data.validation), training.steps) == (3, 3, 1)
        assert len(bench.evaluator(cell).test) == 3

    def test_a_data_set_that_gives_more_than_was_asked_for_is_cut(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        more = replace(receipts, open=lambda scale, split, seed, count: receipts.open(scale, split, seed, 40))
        cell = Cell(built_in("none"), more, SMALL, "paper", "quick", seed=0)
        bench.trained(cell)
        ((_, data, _, _),) = notes.trainings
        assert (len(data.pages), len(data.validation), len(bench.evaluator(cell).test)) == (24, 5, 4)

    def test_what_a_part_remembers_of_a_cell_is_forgotten(self, bench: Bench, receipts: Dataset) -> None:
        counting = replace(DENSE, start=Counting(), trains_upstream=False)
        seen = [
            bench.begin(Cell(counting, receipts, SMALL, "paper", "quick", seed)).training.start_hash for seed in (0, 1)
        ]
        assert seen[0] == seen[1]

    def test_scores_are_those_of_test_pages_and_of_the_tasks_teacher(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        evaluator = bench.evaluator(Cell(built_in("none"), receipts, SMALL, "paper", "quick", seed=3))
        assert [name.rsplit("-", 1)[0] for name in evaluator.test.ids] == ["test-0"] * 4
        teacher = load_model(bench.zoo.folder / "receipts-mini" / "teacher")
        assert evaluator.score(teacher, evaluator.predict(teacher))[0].cka == pytest.approx(1.0)
        assert ("train", 0, 50) in Watched.opened, "the blind reader knows training documents"

    def test_the_seeds_of_a_full_run_differ_upstream_too(self, bench: Bench, receipts: Dataset, notes: Notes) -> None:
        small = replace(SMALL, full=replace(TINY.full, reading_documents=16, task_documents=8))
        shop = replace(bench, scale=small)

        def steps(budget: str, seed: int) -> int:
            return shop.trained(Cell(built_in("small"), receipts, small, "paper", budget, seed)).training.steps

        assert [steps(budget, seed) for budget in ("quick", "full") for seed in (0, 1)] == [3_003, 3_003, 3_001, 3]

    def test_what_is_kept_is_the_model_with_its_processor_and_how_it_was_made(
        self, bench: Bench, receipts: Dataset, notes: Notes
    ) -> None:
        cell = Cell(built_in("none"), receipts, SMALL, "paper", "quick", seed=0)
        made = bench.trained(cell)
        kept = load_checkpoint(bench.output / "checkpoints" / cell.name)
        assert fingerprint(kept.model) == fingerprint(made.model)
        assert "<s_receipts-mini>" in kept.processor.tokenizer.get_vocab()
        assert made.training == bench.trained(cell).training
        assert 0 < made.training.seconds < 100
        assert len(notes.trainings) == 1


class TestTaskTeacher:
    """Data that the zoo does not know get a teacher with a budget of its own, whatever that of the rows."""

    @pytest.mark.parametrize("budget", ["quick", "full"])
    def test_it_is_one_for_all_rows_seeds_and_budgets(
        self, budget: str, bench: Bench, bills: Dataset, notes: Notes
    ) -> None:
        hashes = {
            bench.begin(Cell(built_in(name), bills, SMALL, "paper", budget, seed)).training.start_hash
            for name in ("teacher", "dense-finetune")
            for seed in (0, 1)
        }
        ((name, data, learning_rate, seed),) = notes.trainings
        assert len(hashes) == 1
        assert (name, seed, learning_rate) == ("task-teacher", 0, SMALL.task_teacher.learning_rate)
        assert (len(data.pages), data.steps) == (48, 6)
        (strategy,) = notes.strategies
        assert (strategy.objective, strategy.constraint) == (CrossEntropy(), None)
        assert data.teacher is not None

    def test_a_limit_has_its_own(self, bench: Bench, bills: Dataset) -> None:
        for limit in (3, None):
            bench.begin(Cell(built_in("teacher"), bills, SMALL, "paper", "quick", 0, limit=limit))
        made = {path.name for path in (bench.output / "checkpoints").iterdir()}
        name = "task-teacher__bills__tiny__paper__teaching"
        assert made == {f"{name}__seed0", f"{name}__limit3__seed0"}

    def test_strangers_may_read_too(self, bench: Bench, datasets: dict[str, Dataset], notes: Notes) -> None:
        letters = replace(datasets["synthdog-mini"], name="letters")
        small = replace(SMALL, task_teacher=replace(TINY.task_teacher, reading_documents=16))
        shop = replace(bench, scale=small)
        assert (
            shop.trained(Cell(built_in("teacher"), letters, small, "paper", "quick", 0)).training.start_documents
            == 48_016
        )
        assert TINY.task_teacher.reading_documents == TINY.task_teacher.task_documents

    def test_one_that_is_gone_is_told(self, bench: Bench, bills: Dataset) -> None:
        row = Cell(built_in("teacher"), bills, SMALL, "paper", "quick", 0)
        with pytest.raises(UserError, match=r"task-teacher__bills.* is not there any more"):
            bench.shared.references(bench.job(row))

    def test_what_it_was_trained_on_is_counted(self, bench: Bench, bills: Dataset) -> None:
        training = bench.trained(Cell(built_in("teacher"), bills, SMALL, "paper", "quick", 0)).training
        assert (training.documents, training.start_documents) == (0, 48_048)

    def test_other_reading_has_one_too(self, bench: Bench, datasets: dict[str, Dataset], notes: Notes) -> None:
        letters = replace(datasets["synthdog-mini"], name="letters")
        bench.begin(Cell(built_in("teacher"), letters, SMALL, "paper", "quick", 0))
        ((name, data, _, _),) = notes.trainings
        assert (name, len(data.pages)) == ("task-teacher", 32)
        assert TINY.task_teacher.documents("reading") == TINY.task_teacher.documents("extraction") == 6400

    def test_it_is_the_same_after_its_data_have_been_opened(self, bench: Bench, bills: Dataset, notes: Notes) -> None:
        for _ in range(2):
            opened = replace(bills, open=Remembering(bills))
            jobs = bench.jobs(Cell(built_in("teacher"), opened, SMALL, "paper", "quick", 0))
            opened.open(SMALL, "validation", len(notes.trainings), 1)
            for job in jobs:
                make_model(job, bench.shared)
        assert len(notes.trainings) == 1

    def test_it_is_balanced_as_the_zoos_are(self, bench: Bench, bills: Dataset) -> None:
        """Pruning by magnitude reads as importance what is only the freedom of scales."""
        model = bench.begin(Cell(built_in("teacher"), bills, SMALL, "paper", "quick", 0)).model
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        balance(model)
        for name, weight in model.named_parameters():
            assert torch.allclose(weight, before[name], atol=1e-5), name


class TestSeeds:
    def test_a_teacher_loaded_twice_is_one_teacher(self, bench: Bench) -> None:
        """The tokens of new data begin at the mean of all, with the same numbers each time."""
        teacher = bench.zoo.folder / "teacher"
        references = DatasetReferences(bench.zoo, teacher, 0, vocabulary=200, calibrate=no_data, written=no_text)
        state = torch.get_rng_state()
        one, two = references.load("teacher"), references.load("teacher")
        assert fingerprint(one) == fingerprint(two)
        assert torch.equal(torch.get_rng_state(), state)
        other = fit_vocabulary(load_model(teacher), 200, seed=1)
        assert fingerprint(other) != fingerprint(one)
        known = len(load_model(teacher).decoder.get_input_embeddings().weight)
        table = one.decoder.get_input_embeddings().weight
        assert torch.allclose(table[known:], table[:known].mean(0).expand(200 - known, -1), atol=1e-3)

    def test_a_start_that_draws_draws_the_same_for_a_seed(self, bench: Bench, receipts: Dataset) -> None:
        def noisy(references: Any, scale: Scale, seed: int) -> Any:
            model = references.load("teacher")
            noise = torch.rand(()) + random.random() + float(np.random.rand())
            with torch.no_grad():
                model.decoder.model.decoder.layers[0].fc1.weight.add_(noise)
            return model

        def hash_of(seed: int) -> str:
            torch.rand(7)  # what went before must not matter
            return bench.begin(
                Cell(replace(DENSE, start=noisy), receipts, SMALL, "paper", "quick", seed)
            ).training.start_hash

        assert hash_of(0) == hash_of(0) != hash_of(1)

    def test_a_training_that_draws_draws_the_same_for_a_seed(
        self, datasets: dict[str, Dataset], receipts: Dataset, notes: Notes, tmp_path: Path
    ) -> None:
        def hash_of(seed: int, name: str) -> str:
            shop = Bench(open_zoo(TINY), datasets["synthdog-mini"], SMALL, tmp_path / name)
            torch.rand(len(name))
            return fingerprint(shop.trained(Cell(built_in("none"), receipts, SMALL, "paper", "quick", seed)).model)

        assert hash_of(0, "a") == hash_of(0, "bb") != hash_of(1, "ccc")


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    """A copy of the zoo that may be changed."""
    shutil.copytree(open_zoo(TINY).folder, tmp_path / "zoo")
    return Zoo(tmp_path / "zoo", TINY)


class TestZooInTheKey:
    @pytest.mark.parametrize(
        "name",
        [
            "teacher/model.safetensors",
            "none/model.safetensors",
            "none/config.json",
            "tokenizer.json",
            "receipts-mini/teacher/model.safetensors",
            "upstream/prune-distill/packed.safetensors",
        ],
    )
    def test_what_a_cell_can_begin_with_counts(self, name: str, zoo: Zoo) -> None:
        before = zoo.fingerprint("prune-distill", "receipts-mini")
        with (zoo.folder / name).open("ab") as file:
            file.write(b" ")
        assert zoo.fingerprint("prune-distill", "receipts-mini") != before

    def test_what_belongs_to_others_does_not(self, zoo: Zoo) -> None:
        before = zoo.fingerprint("prune-distill", "receipts-mini")
        shutil.copytree(zoo.folder / "receipts-mini", zoo.folder / "bills")
        shutil.rmtree(zoo.folder / "parcels-mini")
        shutil.rmtree(zoo.folder / "upstream" / "small")
        assert zoo.fingerprint("prune-distill", "receipts-mini") == before

    def test_documents_are_counted_through_all_that_a_checkpoint_began_with(self, zoo: Zoo) -> None:
        folders = ("teacher", "none", "small", "receipts-mini/teacher")
        assert [zoo.documents(zoo.folder / name) for name in folders] == [48_000, 14_400, 25_600, 54_400]


class TestKeys:
    def key(self, bench: Bench, strategy: Strategy, dataset: Dataset, **changes: Any) -> str:
        changed = replace(bench, **changes)
        return changed.key(Cell(strategy, dataset, SMALL, "paper", "quick", 0))

    def test_the_plugins_of_strategy_and_data_set_count_and_no_others(
        self, bench: Bench, datasets: dict[str, Dataset]
    ) -> None:
        prune, data = built_in("prune"), datasets["receipts-mini"]
        before = self.key(bench, prune, data)
        for place in (("strategy", "prune"), ("dataset", "receipts-mini")):
            assert self.key(bench, prune, data, contents={place: "edited"}) != before
        for place in (("strategy", "distill"), ("dataset", "parcels-mini"), ("dataset", "synthdog-mini")):
            assert self.key(bench, prune, data, contents={place: "edited"}) == before

    def test_the_reading_set_counts_where_a_row_learns_to_read_in_the_run(
        self, bench: Bench, datasets: dict[str, Dataset]
    ) -> None:
        data, edited = datasets["receipts-mini"], {("dataset", "synthdog-mini"): "edited"}
        known, unknown = built_in("prune-distill"), replace(built_in("prune-distill"), name="mine")
        assert self.key(bench, known, data) == self.key(bench, known, data, contents=edited)
        assert self.key(bench, unknown, data) != self.key(bench, unknown, data, contents=edited)
