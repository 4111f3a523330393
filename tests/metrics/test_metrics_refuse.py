"""What the public metrics refuse: NaN, lengths that differ, nothing at all. A number would pass for a result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmark import metrics

NAN, INFINITY = float("nan"), float("inf")
X = np.random.default_rng(0).standard_normal((5, 3))

REFUSED: dict[str, list[tuple[Any, Any, str]]] = {
    "linear_cka": [
        (np.where(X > 1, NAN, X), X, "not finite"),
        (np.where(X > 1, INFINITY, X), X, "not finite"),
        (X[:4], X, "same examples"),
        ([], [], "shape"),
        (X[:0], X[:0], "at least 2 examples, got 0"),
        (X[:, :0], X, "shape"),
    ],
    "field_f1": [
        ([{"a": NAN}], [{"a": "x"}], "no nan"),
        ([{"a": "x"}], [{"a": ["x", -INFINITY]}], "no -inf"),
        ([{"a": "x"}], [], "1 predictions and 0 ground truths"),
        ([], [], "no documents"),
    ],
    "ted_accuracy": [
        ({"a": NAN}, {"a": "x"}, "no nan"),
        ({"a": "x"}, {"a": [{"b": "x"}, {"b": INFINITY}]}, "no inf"),
        (["x", NAN], {"a": "x"}, "no nan"),
    ],
}
"""Documents of unequal size are what N-TED measures, and an empty one is a document (tests/metrics/test_ted.py)."""


def test_every_public_metric_is_here() -> None:
    assert set(REFUSED) == set(metrics.__all__)


@pytest.mark.parametrize("name", metrics.__all__)
def test_it_refuses(name: str) -> None:
    for left, right, message in REFUSED[name]:
        for pair in ((left, right), (right, left)) if name != "field_f1" else ((left, right),):
            with pytest.raises(ValueError, match=message):
                getattr(metrics, name)(*pair)
