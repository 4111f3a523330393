"""What the fields of a strategy or a data set have to be: checked when a plugin yields it, not when a run is at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_args

from benchmark.types import PROTOCOLS, Dataset, Strategy, Teaching

_Check = tuple[Callable[[Any], bool], str]
"""Whether a value will do, and what it has to be, in words."""


def problem_of(item: Strategy | Dataset) -> str | None:
    """The first field that is not what it has to be, in one line; None if all are."""
    for name, (fits, wanted) in (_STRATEGY if isinstance(item, Strategy) else _DATASET).items():
        value = getattr(item, name)
        if not _fits(fits, value):
            return f"its {name} is {_shown(value)}, not {wanted}"
    return None


def _fits(fits: Callable[[Any], bool], value: object) -> bool:
    try:
        return fits(value)
    except Exception:  # a part of a plugin may raise anything when it is looked at
        return False


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # what a plugin writes may raise anything
        text = f"a {type(value).__name__}"
    return f"{text:.60}"


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
    "on_request": _SWITCH,
}
