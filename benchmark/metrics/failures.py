"""How an answer fails: a taxonomy of what is wrong with the fields of one document, and with the text that has them."""

from __future__ import annotations

import re
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.f1 import counts_by_path
from benchmark.truth import to_text
from benchmark.types import Failure, Json

FAILURES: tuple[Failure, ...] = get_args(Failure)
_TAG = re.compile(r"<(/?)s_([^<>]*)>")
_TIMES = 3
_SHORTEST_LOOP = 20


def failures(text: str, ended: bool | None, prediction: Json, ground_truth: Json) -> list[Failure]:
    """What is wrong with an answer, in the order of `Failure`; nothing if it says what the ground truth says.

    `text` is what was written, `ended` whether it came to its end (None: not known), `prediction` what was read in it.

    - ``unparseable``: its tags do not close in the order in which they open, or it has none where the ground truth has;
      of a text that did not end, that what is open does not close says nothing.
    - ``looping``: 3 times or more in a row it writes the same, over 20 characters or more, and more than the ground
      truth does.
    - ``truncated``: it reached the most tokens that the model writes.
    - ``missing field``, ``invented key``: at some key path it has fewer, or more, values than the ground truth.
    - ``wrong value``: at some key path it has others.
    """
    fields = counts_by_path(prediction, ground_truth).values()
    written, true = looped(text), to_text(ground_truth)
    found: dict[Failure, bool] = {
        "unparseable": not _nests(text, cut=ended is False) or (bool(text) and "<s_" in true and "<s_" not in text),
        "looping": written >= _SHORTEST_LOOP and written > looped(true),
        "truncated": ended is False,
        "missing field": any(field.fn > field.fp for field in fields),
        "wrong value": any(field.fn and field.fp for field in fields),
        "invented key": any(field.fp > field.fn for field in fields),
    }
    return [failure for failure in FAILURES if found[failure]]


def looped(text: str) -> int:
    """The most characters of a stretch in which the same is written at least 3 times in a row."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    longest = 0
    for period in range(1, len(codes) // _TIMES + 1):
        run = _longest_run(codes[:-period] == codes[period:])
        if run >= (_TIMES - 1) * period:
            longest = max(longest, run + period)
    return longest


def _longest_run(equal: NDArray[np.bool_]) -> int:
    """The most True in a row."""
    ends = np.flatnonzero(~equal)
    return int(np.diff(np.concatenate(([-1], ends, [len(equal)]))).max()) - 1


def _nests(text: str, cut: bool) -> bool:
    """Whether each tag closes the last one that is open; of a text that was cut some may stay open."""
    opened: list[str] = []
    for closing, key in _TAG.findall(text):
        if not closing:
            opened.append(key)
        elif not opened or opened.pop() != key:
            return False
    return cut or not opened
