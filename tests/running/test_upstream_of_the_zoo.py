"""The upstream models of the zoo in a run."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.models.checkpoint import fingerprint, load_model
from benchmark.models.donut import Donut
from benchmark.plugin.manager import load_plugins
from benchmark.running.cells import identity_of
from benchmark.running.protocols.paper import learns_upstream
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.zoo.references import DatasetReferences
from benchmark.zoo.store import open_zoo
from tests.running.runs import DATASETS, checkpoint_of, config, no_data, no_text, zeros_of


class TestUpstreamOfTheZoo:
    """The zoo's upstream models are where a task begins, for the very strategy that they were made with."""

    def test_a_task_begins_there(self, tmp_path: Path) -> None:
        read, task = run(config(tmp_path, strategies=("distill",), datasets=DATASETS, limit=8))
        recipe = json.loads((open_zoo(TINY).folder / "upstream" / "distill" / "recipe.json").read_text())
        assert (read.steps, read.documents) == (recipe["steps"], recipe["documents"])
        assert (task.steps, task.documents) == (recipe["steps"] + 1, recipe["documents"] + 8)
        assert read.start_hash == task.start_hash == recipe["start_hash"]
        assert read.curve == task.upstream_curve == [tuple(point) for point in recipe["curve"]]
        model = load_model(open_zoo(TINY).folder / "upstream" / "distill")
        assert fingerprint(load_model(checkpoint_of(config(tmp_path), read))) == fingerprint(model)

    def test_there_is_one_for_each_that_learns_upstream(self) -> None:
        strategies = [entry.item for entry in load_plugins().strategies.values()]
        known = {folder.name for folder in (open_zoo(TINY).folder / "upstream").iterdir()}
        assert known == {strategy.name for strategy in strategies if learns_upstream(strategy)}

    def test_it_was_made_from_what_the_zoo_holds(self) -> None:
        zoo = open_zoo(TINY)
        for name, entry in load_plugins().strategies.items():
            if (zoo.folder / "upstream" / name).is_dir():
                recipe = zoo.upstream_recipe(name, identity_of(entry.item))
                assert recipe is not None, f"{name} has changed since its upstream model was made"
                teacher = zoo.folder / "teacher"
                references = DatasetReferences(zoo, teacher, zoo.documents(teacher), 0, no_data, no_text)
                start = entry.item.start(references, TINY, 0)
                assert isinstance(start, Donut)
                assert recipe["start_hash"] == fingerprint(start)
                assert recipe["start_documents"] == references.documents
                assert zeros_of(zoo.load_upstream(name)) >= zeros_of(start)

    def test_the_corpus_of_none_is_the_smaller_one(self, tmp_path: Path) -> None:
        (record,) = run(config(tmp_path, strategies=("none",), datasets=("synthdog-mini",)))
        assert (record.status, record.steps) == ("ok", 0)
        assert record.start_hash == fingerprint(open_zoo(TINY).load("none"))
