"""The validation curve outlives a killed training."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.training.journal import Journal


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds, which goes as the test says."""
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_a_curve_is_written_down_at_every_point(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "new" / "journal.json"
    journal = Journal.open(path)
    assert (journal.curve, journal.seconds) == ([], 0)
    journal.add(3, 0.1)
    clock[0] += 7
    journal.add(5, 0.25)
    assert journal.curve == [(3, 0.1), (5, 0.25)]
    assert json.loads(path.read_text()) == {"curve": [[3, 0.1], [5, 0.25]], "seconds": 7.0}


def test_it_is_taken_up_again_and_a_step_that_is_passed_twice_counts_once(tmp_path: Path, clock: list[float]) -> None:
    journal = Journal.open(tmp_path / "journal.json")
    clock[0] += 10
    for step in (2, 4, 6):
        journal.add(step, step / 10)
    clock[0] += 100  # nobody trains
    again = Journal.open(tmp_path / "journal.json")
    assert again.curve == [(2, 0.2), (4, 0.4), (6, 0.6)]
    assert again.seconds == 10
    clock[0] += 5
    again.add(4, 0.9)
    assert again.curve == [(2, 0.2), (4, 0.9)]
    assert Journal.open(tmp_path / "journal.json").curve == [(2, 0.2), (4, 0.9)]
    assert Journal.open(tmp_path / "journal.json").seconds == 15


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"curve": [3], "seconds": 0}', b"[" * 100_000, b"\xff"])
def test_what_is_no_journal_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"journal\.json: not the curve of a training") as refused:
        Journal.open(path)
    assert "\n" not in str(refused.value)
