"""The form in which Donut's evaluator compares two documents, and what is lost on the way to it.

The definition is that of ``donut.util.JSONParseEvaluator`` (clovaai/donut, PyPI ``donut-python`` >= 1.0.8):
both metrics of documents, tree edit distance and field F1, compare normalised documents.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmark.types import Json

_JSON = (dict, list, str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Normalized:
    """A normalised document: ``{key: [text, ...] or [{...}, ...]}``, or such a list.

    `dropped` counts the values that the definition drops although they say something: None, False and 0 as
    values, and whatever is neither text nor number in a list that is not all dicts. Empty text, lists and
    dicts go uncounted.
    """

    value: Json
    dropped: int


def normalize_dict(data: Json) -> Normalized:
    """Sort keys by (length, name), drop empty values, and make each value a list of texts or of dicts.

    A scalar becomes a list of one stripped text. A list of only dicts stays one; any other list keeps its
    texts and numbers alone. A blank scalar stays as an empty text, a blank text in a list goes.
    Raises `TypeError` for a key that is not text and a value that is not JSON, `ValueError` for NaN and infinity,
    which JSON has no word for. Works without recursion: predictions can nest without end.
    """
    walk = _Walk()
    value = walk.visit(data)
    walk.finish()
    return Normalized(value, walk.dropped)


class _Walk:
    """Visits containers from the top, then prunes them from the bottom."""

    def __init__(self) -> None:
        self.dropped = 0
        self.opened: list[tuple[Json, Json]] = []
        """(container, its normalised form), parents before children."""

    def visit(self, data: Json) -> Json:
        if type(data) is str:  # most are, and all below is true of them too
            return [data.strip()] if data else {}
        if not isinstance(data, _JSON):  # its repr would be compared
            raise TypeError(f"a document is JSON, which has no {type(data).__name__}")
        _check_finite(data)
        if not data:
            self.dropped += _says_something(data)
            return {}
        if isinstance(data, dict):
            return self.open(data, {})
        if isinstance(data, list):
            return self.open(data, []) if all(isinstance(item, dict) for item in data) else self.texts(data)
        return [str(data).strip()]

    def open(self, data: Json, form: Json) -> Json:
        self.opened.append((data, form))
        return form

    def texts(self, items: list[Json]) -> list[str]:
        # type() and not isinstance(): True is an int for the latter.
        kept = [item for item in items if type(item) in (str, int, float)]
        for item in kept:
            _check_finite(item)
        self.dropped += sum(_says_something(item) for item in items if type(item) not in (str, int, float))
        return [text for text in (str(item).strip() for item in kept) if text]

    def finish(self) -> None:
        for data, form in self.opened:  # grows while the children are visited
            if isinstance(form, list):
                form.extend(self.visit(item) for item in data)
            else:
                form.update((key, self.visit(data[key])) for key in _sorted_keys(data))
        for _, form in reversed(self.opened):
            if isinstance(form, list):
                form[:] = [item for item in form if item]
            else:
                kept = [(key, value) for key, value in form.items() if value]
                form.clear()
                form.update((key, value if isinstance(value, list) else [value]) for key, value in kept)


def _says_something(value: Json) -> bool:
    return bool(value) or not isinstance(value, (str, list, dict))


def _check_finite(value: Json) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"a document is JSON, which has no {value}")


def _sorted_keys(data: dict[str, Json]) -> list[str]:
    for key in data:
        if not isinstance(key, str):
            raise TypeError(f"the keys of a document must be text: {key!r} is {type(key).__name__}")
    return sorted(data, key=lambda key: (len(key), key))
