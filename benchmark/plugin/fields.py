"""What the fields of a strategy, a data set or a document have to be.

Strategies and data sets are checked when a plugin yields them, not when a run is at them, documents when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np

from benchmark.errors import shown
from benchmark.types import PROTOCOLS, Dataset, Document, Glyph, Strategy, Teaching

_Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what it has to be, in words."""


def problem_of(item: Strategy | Dataset | Document) -> str | None:
    """The first field that is not what it has to be, in one line; None if all are.

    Page and ground truths of a document are looked at by those who take them (`benchmark.page`, `benchmark.truth`).
    """
    fields = next(fields for kind, fields in _FIELDS if isinstance(item, kind))
    for name, (fits, wanted) in fields.items():
        value = getattr(item, name)
        if not _fits(fits, value):
            return f"its {name} is {shown(value)}, not {wanted}"
    return None


def _fits(fits: Callable[[Any], bool], value: object) -> bool:
    try:
        return fits(value)
    except Exception:  # a part of a plugin may raise anything when it is looked at
        return False


def _is(kind: type, optional: bool = False) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind) or (optional and value is None)


def _is_objective(value: Any) -> bool:
    return value is None or (callable(value) and getattr(value, "teaching", None) in get_args(Teaching))


def _is_constraint(value: Any) -> bool:
    return value is None or callable(getattr(value, "attach", None))


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(fits, value))


def _is_encodable(value: Any) -> bool:
    """Text that a file can hold: no half of a pair of surrogates."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False


def _is_rate(value: Any) -> bool:
    """A number that JSON has a word for: it is written into records and keys."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_place(value: Any) -> bool:
    return isinstance(value, (float, int, np.number))


def _is_glyph(value: Any) -> bool:
    return type(value) is Glyph and _is_place(value.x) and _is_place(value.y)


def _several(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (tuple, list)) and all(map(fits, value))


def _is_option(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_encodable, value))


_TEXT: _Check = (_is_encodable, "text")
_NAME: _Check = (lambda value: value is None or _is_encodable(value), "text or None")
_SWITCH: _Check = (_is(bool), "True or False")
_CALLABLE: _Check = (callable, "what can be called")

_STRATEGY: Mapping[str, _Check] = {
    "name": _TEXT,
    "summary": _TEXT,
    "start": _CALLABLE,
    "objective": (_is_objective, f"what can be called and says its teaching, one of {', '.join(get_args(Teaching))}"),
    "constraint": (_is_constraint, "what has an attach"),
    "paper": _TEXT,
    "paper_name": _NAME,
    "reference": _SWITCH,
    "protocols": (_all(lambda name: name in PROTOCOLS), f"a tuple of {' and '.join(PROTOCOLS)}"),
    "trains_upstream": _SWITCH,
    "rate": (_is_rate, "a number"),
    "task_rate": (lambda value: value is None or _is_rate(value), "a number or None"),
    "finish": (lambda value: value is None or callable(value), "what can be called, or None"),
}
_DATASET: Mapping[str, _Check] = {
    "name": _TEXT,
    "summary": _TEXT,
    "task": (lambda value: value in ("reading", "extraction"), "reading or extraction"),
    "keys": (_all(_is_encodable), "a tuple of texts"),
    "open": _CALLABLE,
    "embedded": _SWITCH,
    "shifted": _SWITCH,
    "stands_for": _NAME,
    "version": _TEXT,
    "hashed": _SWITCH,
    "notes": (_all(_is_encodable), "a tuple of texts"),
    "options": (_all(_is_option), "a tuple of pairs of texts"),
    "on_request": _SWITCH,
}
_DOCUMENT: Mapping[str, _Check] = {
    "id": (lambda value: _is_encodable(value) and bool(value), "text that is not empty"),
    "glyphs": (_several(_is_glyph), "a tuple of Glyphs, each at two numbers"),
    "source": _TEXT,
    "alternatives": (_several(lambda truth: True), "a tuple of ground truths"),
}
_FIELDS = ((Strategy, _STRATEGY), (Dataset, _DATASET), (Document, _DOCUMENT))
