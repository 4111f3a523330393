"""The ground truths of one document: from the field ``ground_truth`` to what tags carry."""

from __future__ import annotations

import json
import re
from typing import Any

from benchmark.errors import UserError
from benchmark.folders.folder import KeyOrder
from benchmark.truth import check_keys, plain
from benchmark.types import Json

_MARKUP = re.compile(r"<s_|</s_|<sep/>", re.IGNORECASE)
"""What Donut takes for tags, and for what separates the items of a list, wherever it stands."""


def parse_json(text: str, what: str) -> Any:
    """JSON in which no key stands twice in an object. Raises `UserError` that begins with `what`."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise UserError(f"{what} is not JSON: {error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:  # a number of a thousand digits, a list in a list in a list ...
        raise UserError(f"{what} is not JSON that can be read: {error}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def truths_of(field: Json, where: str, order: KeyOrder, spellings: dict[str, str]) -> tuple[Json, ...]:
    """The ground truths of a document, several where any of them is right: ``gt_parses``, or else the ``gt_parse``.

    What else the field holds is ignored, as Donut does. Values become the text that a model can write: the way through
    tags makes ``9.5`` of 9.5 and ``None`` of None. Raises `UserError`, with `where`, for what tags cannot carry;
    `spellings` is that of `check_keys`.
    """
    content = parse_json(field, f"{where}: ground_truth") if isinstance(field, str) else field
    if not isinstance(content, dict):
        raise UserError(f"{where}: ground_truth is of type {type(content).__name__}, not an object or one as text")
    truths = _several(content["gt_parses"], where) if "gt_parses" in content else _one(content, where)
    return tuple(_carried(truth, name, order, spellings) for name, truth in truths)


def _one(content: dict[str, Any], where: str) -> list[tuple[str, Any]]:
    if "gt_parse" not in content:
        there = ", ".join(map(repr, content)) or "nothing"
        raise UserError(f"{where}: ground_truth has neither gt_parse nor gt_parses, but {there:.200}")
    return [(f"{where}: gt_parse", content["gt_parse"])]


def _several(truths: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(truths, list) or not truths:
        raise UserError(f"{where}: gt_parses is not a list of at least one ground truth")
    return [(f"{where}: gt_parses[{number}]", truth) for number, truth in enumerate(truths)]


def _carried(truth: Any, where: str, order: KeyOrder, spellings: dict[str, str]) -> Json:
    if not isinstance(truth, dict):
        raise UserError(f"{where} is of type {type(truth).__name__}, not an object")
    truth = plain(truth, where)
    check_keys(truth, where, spellings)
    return _as_text(truth, where, order)


def _as_text(value: Json, place: str, order: KeyOrder) -> Json:
    """Every value as text, and keys in their order; `plain` has limited the depth."""
    if isinstance(value, dict):
        keys = sorted(value, reverse=True) if order == "donut" else list(value)
        return {key: _as_text(value[key], f"{place}.{key}", order) for key in keys}
    if isinstance(value, list):
        return [_as_text(item, f"{place}[{number}]", order) for number, item in enumerate(value)]
    text = str(value)
    if found := _MARKUP.search(text):
        raise UserError(f"{place} has {found[0]!r} in its text, which Donut would take for a tag")
    return text


def keys_of(truth: Json) -> set[str]:
    """All keys of a ground truth, however deep."""
    if isinstance(truth, dict):
        return set(truth).union(*map(keys_of, truth.values()))
    return set().union(*map(keys_of, truth)) if isinstance(truth, list) else set()


def is_reading(truth: Json) -> bool:
    return isinstance(truth, dict) and set(truth) == {"text_sequence"}
