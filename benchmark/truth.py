"""What a ground truth may hold, what Donut's tags carry of it, and how that is said.

A ground truth is written as text between tags (``<s_total>9.99</s_total>``), cut to the tokens that the model writes,
and read back. What does not survive that, no model can score.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import UserError, shown

_DEEPEST = 50
"""Levels of a ground truth. Far beyond any document: what is deeper contains itself."""


def plain(truth: Any, where: str) -> Any:
    """The ground truth as plain JSON: numpy scalars and arrays and tuples become the numbers and lists they hold.

    A float32 becomes the decimal that it prints as, since that is what stands on a page. Raises `UserError` with
    `where` and the place of the value for anything that JSON has no word for: sets, bytes, generators, NaN, keys that
    are not text, half a surrogate pair, numbers of thousands of digits, what contains itself.
    """
    return _plain(truth, where, ())


def _plain(value: Any, where: str, path: tuple[Any, ...]) -> Any:
    if len(path) > _DEEPEST:
        raise _refusal(where, path[:3], f"is nested more than {_DEEPEST} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where, path)
    if isinstance(value, np.bool_):
        return bool(value)
    if not isinstance(value, np.timedelta64) and isinstance(value, (int, np.integer)):
        return _whole(int(value), where, path)
    if isinstance(value, (float, np.floating)):
        return _finite(value, where, path)
    if isinstance(value, dict):
        return {_key(key, where, path): _plain(item, where, (*path, key)) for key, item in value.items()}
    if type(value) is np.ndarray and value.ndim == 0:  # subclasses may be masked
        return _plain(value[()], where, path)
    if isinstance(value, (list, tuple)) or type(value) is np.ndarray:
        return [_plain(item, where, (*path, index)) for index, item in enumerate(value)]
    raise _refusal(
        where, path, f"is of type {type(value).__name__}: only dicts, lists, text, numbers, booleans and None are JSON"
    )


def _text(value: str, where: str, path: tuple[Any, ...]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _refusal(where, path, "holds half a surrogate pair, which is no character") from None
    return str.__str__(value)  # a subclass, such as an Enum, may say something else in str()


def _whole(number: int, where: str, path: tuple[Any, ...]) -> int:
    try:
        str(number)
    except ValueError:  # neither text nor JSON is ever made of it
        digits = sys.get_int_max_str_digits()
        raise _refusal(where, path, f"is a number of more than {digits} digits, which Python does not write") from None
    return number


def _finite(value: float | np.floating[Any], where: str, path: tuple[Any, ...]) -> float:
    number = float(str(value)) if isinstance(value, np.floating) else float(value)
    if not math.isfinite(number):
        raise _refusal(where, path, f"is {number}, which is no number in JSON")
    return number


def _key(key: Any, where: str, path: tuple[Any, ...]) -> str:
    if not isinstance(key, str):
        raise _refusal(where, path, f"has the key {shown(key)}, of type {type(key).__name__}: keys are text")
    return _text(key, where, (*path, key))


def _refusal(where: str, path: tuple[Any, ...], what: str) -> UserError:
    place = "".join(f".{step}" if str(step).isidentifier() else f"[{step!r:.40}]" for step in path)
    return UserError(f"{where}: {place.lstrip('.') or 'the ground truth'} {what}")


def check_keys(truth: Any, where: str, spellings: dict[str, str] | None = None) -> None:
    """Refuse, with a `UserError` that names `where`, the keys that Donut's tags cannot carry.

    These are empty keys and those with angle brackets; keys that differ in case alone, since tags match without it;
    and a key inside itself, whose first closing tag would end both. `truth` is what `plain` returns. `spellings`
    (the key without its case: the key) grows with every call: documents that share it are checked against each other.
    """
    _check_keys(truth, where, {} if spellings is None else spellings, ())


def _check_keys(value: Any, where: str, spellings: dict[str, str], above: tuple[str, ...]) -> None:
    if isinstance(value, list):
        for item in value:
            _check_keys(item, where, spellings, above)
    elif isinstance(value, dict):
        for key, item in value.items():
            tag = _folded(key)
            if not key or "<" in key or ">" in key:
                raise UserError(f"{where}: a tag cannot carry the key {key!r}: it is empty or has < or > in it")
            first = spellings.setdefault(tag, key)
            if first != key:
                raise UserError(f"{where}: the keys {first!r} and {key!r} differ in case alone, which tags ignore")
            if tag in above:
                raise UserError(f"{where}: the key {key!r} stands inside itself, where tags cannot tell them apart")
            _check_keys(item, where, spellings, (*above, tag))


def _folded(key: str) -> str:
    """The key without its case, as patterns match tags: the letters i of Turkish, dotted and not, are an i to them."""
    return key.casefold().replace("i\u0307", "i").replace("\u0131", "i")


def to_text(ground_truth: Any, categories: Collection[str] = ()) -> str:
    """Donut's token sequence of a ground truth; keys keep their order. `categories` have a token of their own."""
    if isinstance(ground_truth, dict):
        if set(ground_truth) == {"text_sequence"}:
            return str(ground_truth["text_sequence"])
        return "".join(f"<s_{key}>{to_text(value, categories)}</s_{key}>" for key, value in ground_truth.items())
    if isinstance(ground_truth, list):
        return "<sep/>".join(to_text(value, categories) for value in ground_truth)
    text = str(ground_truth)
    return f"<{text}/>" if text in categories else text


@dataclass(frozen=True, slots=True)
class Losses:
    """What the labels of `documents` lose: documents with more than `longest` tokens, and unknown characters."""

    documents: int
    truncated: int
    unknown: int
    longest: int | None = None

    def __str__(self) -> str:
        """The losses in words; nothing if there are none."""
        limit = "the model writes" if self.longest is None else f"{self.longest} tokens"
        cut = f"{self.truncated} of {self.documents} documents {_are(self.truncated)} longer than {limit}"
        characters = "character" if self.unknown == 1 else "characters"
        strange = f"{self.unknown} {characters} {_are(self.unknown)} unknown to the model"
        return ", ".join(text for text, count in ((cut, self.truncated), (strange, self.unknown)) if count)


def several_sentence(several: int | None, documents: int) -> str | None:
    """How documents are scored that have several ground truths; None where there are none, or nobody knows."""
    if not several:
        return None
    have = "has" if several == 1 else "have"
    return f"{several} of {documents} documents {have} several ground truths: the best counts"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def ceiling_sentence(ted: float | None, losses: Losses) -> str | None:
    """Why the mean N-TED accuracy `ted` of a reader without fault is below 1; None where it is not, or unknown."""
    if ted is None or ted >= 1:
        return None
    why = str(losses) or "the tags do not carry every value"
    # Never rounded to 1.000, which would say that nothing is lost.
    return f"a perfect reader scores {min(ted, 0.999):.3f} here: {why}"
