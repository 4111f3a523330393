"""What the fuzz tests share: how many cases there are, values of any kind, and what a refusal looks like.

With ``FUZZ=1`` in the environment (``make fuzz``) there are thousands of cases, new ones every time; without it a few
for each property, always the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from benchmark.errors import UserError, error_line

T = TypeVar("T")

settings.register_profile(
    "fuzz",
    max_examples=600,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile("fuzz-short", settings.get_profile("fuzz"), max_examples=20, derandomize=True, database=None)
cases = settings.get_profile("fuzz" if os.environ.get("FUZZ") else "fuzz-short")

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
"""Halves of surrogate pairs too, which JSON and the names of files may hold."""


def accepted(made: Callable[[], T]) -> T | None:
    """What comes of it; None if it is refused in one line. Anything else that is raised goes on."""
    try:
        return made()
    except UserError as error:
        told = error_line(error)  # names of files may hold anything
    assert len(told.encode().decode().splitlines()) == 1
    return None


def nested(value: Any, depth: int, within: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        value = within(value)
    return value


class Hostile:
    """Raises whatever is asked of it."""

    def _raise(self, *_: object) -> NoReturn:
        raise RuntimeError("two\nlines, and \udc80")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """As hypothesis shows it."""
        printer.text("Hostile()")

    __repr__ = __str__ = __bool__ = __len__ = __iter__ = __call__ = __hash__ = __eq__ = _raise
    __float__ = __int__ = __index__ = __getitem__ = __lt__ = __format__ = _raise


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | ANY_TEXT
    | st.sampled_from([2**64, 1e308, -0.0, "", " ", "None", "<s_a>", "a\nb", "\u2028"])
    | st.sampled_from([4299, 5000]).map(lambda digits: 10**digits)  # Python writes the first
)
_STRANGE = [
    b"bytes", {1, 2}, frozenset(), date(2020, 2, 29), object(), Hostile(), Hostile, len, ..., 1j, range(3),
    np.float32(0.1), np.int64(3), np.bool_(True), np.float64("nan"), np.datetime64("NaT"), np.timedelta64(3),
    np.array([[1, 2]]), np.array("text"), np.array([]), np.array([None, {}], dtype=object), np.array([[1], [2]]),
    np.ma.masked_array([1, 2], [True, False]),
]  # fmt: skip
# By number: some of them cannot be hashed or shown.
STRANGE = st.integers(0, len(_STRANGE) - 1).map(lambda number: _STRANGE[number])
KEYS = ANY_TEXT | st.sampled_from(["a", "A", "text_sequence", "gt_parse", "<", "i", "\u0131", "s", "\u017f"])
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=8
)
"""As ``json.loads`` gives them, NaN and all."""
ANYTHING = st.recursive(
    SCALARS | STRANGE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS | st.none() | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below, with what it holds."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
