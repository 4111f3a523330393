"""Plugins that yield anything: listed, or refused in one line; and what their data sets give for documents."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmark import Dataset, Document, Glyph, Strategy, hookimpl
from benchmark.cli.listing import _describe
from benchmark.plugin import manager
from benchmark.plugin.documents import open_documents
from benchmark.plugin.manager import load_plugins
from benchmark.scales import TINY
from benchmark.truth import to_text
from tests.fuzz.cases import ANYTHING, Hostile, accepted, cases


def start(references: Any, scale: Any, seed: int) -> Any:
    return references.load("teacher")


STRATEGY: dict[str, Any] = {"name": "mine", "summary": "a test", "start": start}
DATASET: dict[str, Any] = {"name": "bills", "summary": "bills", "task": "extraction", "keys": ("total",), "open": start}
ODD = ANYTHING | st.sampled_from(
    [
        start,
        Strategy,
        ("paper",),
        ("task", "task"),
        (("a", "b"),),
        ("A", "a"),
        float("inf"),
        "a-b",
        "reading",
    ]
)


def changes(kind: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Up to two fields of any value."""
    return st.dictionaries(st.sampled_from(list(kind.__dataclass_fields__)), ODD, max_size=2)


@pytest.fixture(scope="module")
def install() -> Any:
    """Lets this be all that is installed."""

    def installed(plugin: Any) -> None:
        entry = SimpleNamespace(name="mine", value="mine", dist=None, load=lambda: plugin)
        patch.setattr(manager, "entry_points", lambda group: [entry])

    with pytest.MonkeyPatch.context() as patch:
        yield installed


class Plugin:
    def __init__(self, strategies: Any, datasets: Any) -> None:
        self.strategies, self.datasets = strategies, datasets

    @hookimpl
    def donutbench_register_strategies(self) -> Any:
        return self.strategies()

    @hookimpl
    def donutbench_register_datasets(self) -> Any:
        return self.datasets()


def check_listed(install: Any, plugin: Any) -> None:
    install(plugin)
    registry = accepted(load_plugins)
    if registry is not None:
        json.dumps(_describe(registry)).encode()
        assert all(entry.content for entry in registry.strategies.values())


@cases
@given(changes(Strategy), changes(Dataset))
@example({"rate": 10**5000}, {})
@example({"protocols": Hostile()}, {})
@example({"protocols": ([],)}, {})
@example({"summary": np.array([[1], [2]])}, {})
@example({}, {"keys": (Hostile(),)})
@example({}, {"name": Hostile()})
def test_fields_of_any_kind_are_taken_or_one_line(
    install: Any, strategy: dict[str, Any], dataset: dict[str, Any]
) -> None:
    def strategies() -> Any:
        return [Strategy(**STRATEGY | strategy)]

    def datasets() -> Any:
        return [Dataset(**DATASET | dataset)]

    check_listed(install, Plugin(strategies, datasets))


@cases
@given(ODD | st.lists(ODD, max_size=2))
@example(np.array([[1], [2]]))
def test_a_hook_that_gives_anything_is_taken_or_one_line(install: Any, given: Any) -> None:
    check_listed(install, Plugin(lambda: given, lambda: [Dataset(**DATASET)]))


GOOD = Document("bill-0", np.full((8, 12), 255, np.uint8), {"total": "1"})
DOCUMENTS = st.builds(
    lambda fields: replace(GOOD, **fields),
    st.dictionaries(
        st.sampled_from(["id", "page", "ground_truth", "glyphs", "source", "alternatives"]),
        ANYTHING | st.builds(lambda x, y: (Glyph("1", x, y),), ANYTHING, ANYTHING),
        max_size=2,
    ),
)


@cases
@given(st.lists(DOCUMENTS | ANYTHING, max_size=3) | ANYTHING, st.sampled_from([None, 1, 5]))
@example([replace(GOOD, ground_truth={10**5000: 1})], None)
@example([replace(GOOD, alternatives=(Hostile(),))], None)
@example(Hostile(), None)
def test_what_a_data_set_opens_is_documents_or_one_line(given: Any, count: int | None) -> None:
    dataset = Dataset("bills", "anything", "extraction", ("total",), lambda *_: given)
    documents: Any = accepted(lambda: open_documents(dataset, TINY, "test", 0, count))
    for number in range(len(documents or ())):
        document = accepted(partial(documents.__getitem__, number))
        if document is not None:
            for truth in (document.ground_truth, *document.alternatives):
                to_text(truth).encode()
            assert document.page.dtype == np.uint8
            document.id.encode()
