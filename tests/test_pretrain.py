"""The zoo is made by a command that goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import benchmark.pretraining.pretrain as module
from benchmark.errors import UserError
from benchmark.measure.parameters import count_parameters
from benchmark.models.checkpoint import WEIGHTS, fingerprint, load_checkpoint
from benchmark.models.donut import Donut, configuration
from benchmark.models.parameters import non_embeddings
from benchmark.plugin.manager import load_plugins
from benchmark.pretraining.pretrain import Recipe, pretrain, recipes
from benchmark.scales import MINI, PAPER, TINY, Scale
from benchmark.training.journal import Journal
from benchmark.types import Dataset, Document, Split
from benchmark.zoo.store import Zoo

QUICK = replace(TINY, validation_documents=2, test_documents=2, max_tokens=192)


@pytest.fixture
def datasets() -> list[Dataset]:
    return [entry.item for entry in load_plugins().datasets.values() if entry.item.embedded]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(scale: Scale, tasks: Sequence[str]) -> tuple[Recipe, ...]:
        return tuple(replace(recipe, documents=16, batch=4, steps=10) for recipe in recipes(scale, tasks))

    monkeypatch.setattr(module, "recipes", few)


def test_it_goes_on_after_a_kill(
    datasets: list[Dataset], short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add: Callable[[Journal, int, float], None] = Journal.add

    def killed(journal: Journal, step: int, ted: float) -> None:
        add(journal, step, ted)
        if step == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(QUICK, datasets, [], tmp_path / "zoo", tmp_path / "work", ["teacher"])
    assert not (tmp_path / "zoo" / "teacher").exists()
    seen: list[int] = []

    def noted(journal: Journal, step: int, ted: float) -> None:
        seen.append(step)
        add(journal, step, ted)

    monkeypatch.setattr(Journal, "add", noted)
    made = pretrain(QUICK, datasets, [], tmp_path / "zoo", tmp_path / "work", ["teacher"])
    assert made == [tmp_path / "zoo" / "teacher"]
    assert seen[0] > 5
    record = json.loads((made[0] / "recipe.json").read_text())
    assert [step for step, _ in record["curve"]] == list(range(1, 11))
    assert record["recipe"]["documents"] == 16
    assert record["hours"] > 0
    checkpoint = load_checkpoint(made[0])
    assert not hasattr(checkpoint.model, "cell_reader")
    assert checkpoint.processor.tokenizer.convert_tokens_to_ids("<s_receipts-mini>") > 0
    assert pretrain(QUICK, datasets, [], tmp_path / "zoo", tmp_path / "work", ["teacher"]) == []


@pytest.mark.long
def test_a_strategy_reads_on_after_a_kill_and_is_stored_without_its_zeros(
    datasets: list[Dataset], short: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = [entry.item for entry in load_plugins().strategies.values()]
    scale = replace(QUICK, full=replace(TINY.full, reading_documents=24, batch=4, save_steps=2, evaluations=6))
    places = scale, datasets, strategies, tmp_path / "zoo", tmp_path / "work"
    pretrain(*places, ["teacher"])
    add: Callable[[Journal, int, float], None] = Journal.add
    seen: list[int] = []

    def killed(journal: Journal, step: int, ted: float) -> None:
        add(journal, step, ted)
        seen.append(step)
        if seen == [1, 2, 3]:
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        pretrain(*places, ["upstream/prune-distill"])
    (made,) = pretrain(*places, ["upstream/prune-distill"])
    assert seen == [1, 2, 3, 3, 4, 5, 6]
    recipe = json.loads((made / "recipe.json").read_text())
    assert (recipe["steps"], recipe["documents"], recipe["hours"] > 0) == (6, 24, True)
    assert [step for step, _ in recipe["curve"]] == list(range(1, 7))
    counts = count_parameters(load_checkpoint(made).model)
    assert counts.density == pytest.approx(37 / 141, abs=1e-3)
    assert not (made / WEIGHTS).exists()
    assert recipe["start_documents"] == 40
    zoo = Zoo(tmp_path / "zoo", scale)
    assert zoo.upstream_recipe("prune-distill", recipe["parts"]) == recipe
    assert zoo.upstream_recipe("prune-distill", {**recipe["parts"], "constraint": None}) is None
    assert fingerprint(zoo.load_upstream("prune-distill")) == fingerprint(load_checkpoint(made).model)


@pytest.mark.long
def test_test_documents_are_never_read(datasets: list[Dataset], short: None, tmp_path: Path) -> None:
    """What is chosen while a zoo is made would otherwise be chosen on what its rows are compared by."""
    splits: set[str] = set()

    def watched(dataset: Dataset) -> Dataset:
        def opened(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
            splits.add(split)
            return dataset.open(scale, split, seed, count)

        return replace(dataset, open=opened)

    strategies = [entry.item for entry in load_plugins().strategies.values()]
    scale = replace(QUICK, full=replace(TINY.full, reading_documents=8, batch=4, evaluations=1))
    places = scale, [watched(dataset) for dataset in datasets], strategies, tmp_path / "zoo", tmp_path / "work"
    pretrain(*places, ["teacher"])
    pretrain(*places, ["receipts-mini/teacher", "upstream/prune-finetune"])
    assert splits == {"train", "validation"}


def test_what_learns_nothing_upstream_is_no_checkpoint(datasets: list[Dataset], tmp_path: Path) -> None:
    strategies = [entry.item for entry in load_plugins().strategies.values()]
    for name in ("upstream/prune", "upstream/dense-finetune", "upstream/structured-ffn"):
        with pytest.raises(UserError, match=f"'{name}'"):
            pretrain(QUICK, datasets, strategies, tmp_path / "zoo", tmp_path / "work", [name])


def test_an_unknown_checkpoint_is_named(datasets: list[Dataset], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'techer'"):
        pretrain(QUICK, datasets, [], tmp_path / "zoo", tmp_path / "work", ["techer"])


def test_the_baseline_sees_a_22nd_of_the_documents() -> None:
    by_name = {recipe.name: recipe for recipe in recipes(TINY, ["receipts-mini"])}
    assert by_name["none"].documents == by_name["teacher"].documents // 22
    assert by_name["none"].architecture == by_name["teacher"].architecture
    assert by_name["receipts-mini/teacher"].start == "teacher"


@pytest.mark.long
def test_the_scale_for_one_gpu_takes_its_steps_on_a_cpu_too(
    datasets: list[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(scale: Scale, tasks: Sequence[str]) -> tuple[Recipe, ...]:
        return tuple(
            replace(recipe, documents=2, batch=1, steps=2, encoder_share=0.5) for recipe in recipes(scale, tasks)
        )

    monkeypatch.setattr(module, "recipes", few)
    scale = replace(MINI, validation_documents=1, max_tokens=192)
    (teacher,) = pretrain(scale, datasets, [], tmp_path / "zoo", tmp_path / "work", ["teacher"])
    assert [step for step, _ in json.loads((teacher / "recipe.json").read_text())["curve"]] == [1, 2]
    with torch.device("meta"):
        small = Donut(configuration(MINI, MINI.small, 100))
    models = load_checkpoint(teacher).model, small
    whole, quarter = (sum(weight.numel() for weight in non_embeddings(model).values()) for model in models)
    assert 16e6 < whole < 17e6
    assert quarter / whole == pytest.approx(37 / 141, abs=0.01)


def test_the_paper_s_teacher_comes_from_the_hub(datasets: list[Dataset], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--scale paper: its teacher is not made here; tiny and mini are"):
        pretrain(PAPER, datasets, [], tmp_path / "zoo", tmp_path / "work")
