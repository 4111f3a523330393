"""The two programmes for the edit distance: the same integers, and which of them runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.metrics import programmes, zhang_shasha
from benchmark.metrics.normalize import normalize_dict
from benchmark.metrics.programmes import Programmes, compiled
from benchmark.metrics.ted import tree_distance
from benchmark.metrics.trees import Tree, build_tree

ROOT = Path(__file__).parents[2]
TEXTS = st.text("ab<é", max_size=4) | st.sampled_from(["<leaf>", "x<leaf>y", "\ud800"])
KEYS = st.sampled_from(["a", "b", "nm", "k<leaf>"])
DOCUMENTS = st.recursive(
    TEXTS,
    lambda inner: (
        st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(st.dictionaries(KEYS, inner, max_size=3), max_size=4)
        | st.lists(TEXTS, max_size=3)
    ),
    max_leaves=25,
)


def tree_of(document: Any) -> Tree:
    return build_tree(normalize_dict(document).value)


@settings(deadline=None, max_examples=300)
@given(DOCUMENTS, DOCUMENTS)
def test_the_compiled_programme_gives_the_same_integers(left: Any, right: Any) -> None:
    pytest.importorskip("numba")
    fast = compiled()
    assert fast is not None
    a, b = tree_of(left), tree_of(right)
    expected = zhang_shasha.edit_distance(a, b)
    assert fast(a, b) == fast(b, a) == zhang_shasha.edit_distance(b, a) == expected
    assert type(fast(a, b)) is type(expected) is int


@settings(deadline=None, max_examples=100)
@given(DOCUMENTS, DOCUMENTS)
def test_the_programme_that_is_compiled_is_right_in_plain_python(left: Any, right: Any) -> None:
    pytest.importorskip("numba")
    from benchmark.metrics import compiled as module

    a, b = tree_of(left), tree_of(right)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_most_saved", module._programme)
        assert module.edit_distance(a, b) == zhang_shasha.edit_distance(a, b)


@settings(deadline=None, max_examples=100)
@given(DOCUMENTS, DOCUMENTS)
def test_the_short_cuts_give_what_the_programme_does(left: Any, right: Any) -> None:
    a, b = tree_of(left), tree_of(right)
    assert tree_distance(a, b) == zhang_shasha.edit_distance(a, b)
    assert tree_distance(a, a) == zhang_shasha.edit_distance(a, a) == 0


def test_the_compiled_programme_takes_over_after_enough_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = tree_of({"a": "x", "b": "y"}), tree_of({"a": "z", "b": ["y", "w"]})
    cells = a.relevant * b.relevant
    monkeypatch.setattr(programmes, "WORTH_COMPILING", 2 * cells)
    monkeypatch.setattr(programmes, "compiled", lambda: lambda *trees: -1)
    chosen = Programmes()
    expected = zhang_shasha.edit_distance(a, b)
    assert [chosen.distance(a, b) for _ in range(4)] == [expected, expected, -1, -1]
    assert chosen.cells == 4 * cells
    monkeypatch.setattr(programmes, "compiled", lambda: None)  # numba is not there
    assert chosen.distance(a, b) == expected


def test_a_few_documents_do_not_import_numba() -> None:
    code = (
        "import sys; from benchmark.metrics import ted_accuracy;"
        "ted_accuracy({'a': [{'b': 'x'}, {'b': 'y'}]}, {'a': [{'b': 'z'}]});"
        "sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_numba_there_is_no_compiled_programme(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled.cache_clear()
    monkeypatch.delitem(sys.modules, "benchmark.metrics.compiled", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    try:
        assert compiled() is None
    finally:
        compiled.cache_clear()


def test_where_nothing_can_be_kept_it_is_compiled_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    numba = pytest.importorskip("numba")
    from benchmark.metrics import compiled as module

    asked: list[bool] = []

    def njit(function: Any = None, *, cache: bool = False) -> Any:
        asked.append(cache)
        if cache:
            raise_no_locator()
        return numba.njit(function)

    def raise_no_locator() -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(module, "njit", njit)
    assert module._compile(lambda x: x + 1)(2) == 3
    assert asked == [True, False]
