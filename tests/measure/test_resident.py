"""The memory of other processes, where what is allocated is known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.measure import Subject
from benchmark.measure.resident import Apart, apart
from benchmark.models.donut import Donut

MEGABYTE = 1_000_000
PIXELS = torch.zeros(1, 3, 96, 160)
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")


def weights(model: Donut) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def widened(model: Donut, megabytes: int) -> Donut:
    """With so much more in the feed-forward layers of its decoder."""
    model = deepcopy(model)
    layers = model.decoder.model.decoder.layers
    width = layers[0].fc1.in_features
    wide = megabytes * MEGABYTE // (4 * 2 * width * len(layers))
    for layer in layers:
        layer.fc1, layer.fc2 = torch.nn.Linear(width, wide), torch.nn.Linear(wide, width)
    config: Any = model.config
    model.decoder.config.decoder_ffn_dim = config.decoder.decoder_ffn_dim = wide
    return model


@pytest.fixture(scope="module")
def peaks(teacher: Donut, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int | Exception]:
    others = Apart(tmp_path_factory.mktemp("apart"))
    broken = deepcopy(teacher)
    try:
        for name, model in {"large": widened(teacher, 100), "teacher": teacher, "again": teacher}.items():
            others.ask(name, model, PIXELS, start=0, tokens=4)
        others.ask("broken", broken, PIXELS[:, :2], start=0, tokens=4)
        others.ask("last", teacher, PIXELS, start=0, tokens=4)
        return others.peaks()
    finally:
        others.stop()


def whole(peak: int | Exception) -> int:
    assert isinstance(peak, int)
    return peak


def test_the_weights_are_in_it_and_not_much_else(peaks: dict[str, int | Exception], teacher: Donut) -> None:
    assert weights(teacher) < whole(peaks["teacher"]) < weights(teacher) + 20 * MEGABYTE


def test_larger_weights_are_seen(peaks: dict[str, int | Exception]) -> None:
    # Reading a file may hold it twice for a moment.
    assert 95 * MEGABYTE < whole(peaks["large"]) - whole(peaks["teacher"]) < 210 * MEGABYTE


def test_what_was_read_before_leaves_no_trace(peaks: dict[str, int | Exception]) -> None:
    assert whole(peaks["again"]) == pytest.approx(whole(peaks["teacher"]), abs=2 * MEGABYTE)


def test_a_model_that_cannot_read_costs_nothing_else(peaks: dict[str, int | Exception]) -> None:
    assert isinstance(peaks["broken"], RuntimeError)
    assert "3 channels" in str(peaks["broken"])
    assert whole(peaks["last"]) == pytest.approx(whole(peaks["teacher"]), abs=2 * MEGABYTE)


def test_a_process_that_dies_is_told(teacher: Donut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmark.measure.resident._SERVE", "import sys; sys.stdin.read(); sys.exit(3)")
    others = Apart(tmp_path)
    others.ask("a", teacher, PIXELS, start=0, tokens=4)
    [peak] = others.peaks().values()
    assert isinstance(peak, RuntimeError)
    assert "it ended with 3" in str(peak)


def test_a_fork_that_is_killed_is_told_and_the_next_answers() -> None:
    code = """
import os, signal, sys
from benchmark.measure import resident

def answer(folder, start, tokens):
    os.kill(os.getpid(), signal.SIGKILL) if start else resident._tell({"bytes": tokens})

resident._answer = answer
resident.serve()
"""
    lines = '["a", 1, 2]\n["b", 0, 7]\n'
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=lines, cwd=ROOT, capture_output=True, text=True, check=True)
    killed, answered = done.stdout.splitlines()
    assert "ended by signal 9" in killed
    assert answered == '{"bytes": 7}'


def test_nothing_is_left_behind(subject: Callable[[Donut], Subject], teacher: Donut) -> None:
    with apart(torch.device("cpu")) as others:
        assert others is not None
        folder, process = others._folder, others._process
        others.ask("a", teacher, PIXELS, start=0, tokens=4)
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_on_a_gpu_its_allocator_tells() -> None:
    with apart(torch.device("cuda")) as others:
        assert others is None
