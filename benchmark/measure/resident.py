"""The memory that a process needs to load a model and read with it, each model in a process of its own.

What one process frees its next model uses again, so a peak is only that of a model where no other was before. A fresh
interpreter imports torch once, and forks for each model: it has computed nothing, and so has no threads to lose. That
takes seconds, on a core that has nothing else to do while the models are counted.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

import benchmark
from benchmark.measure.latency import write_tokens
from benchmark.models.checkpoint import load_model, save_model
from benchmark.models.donut import Donut
from benchmark.models.onnx_graphs import ENCODER
from benchmark.models.onnx_reader import OnnxReader, reader_of
from benchmark.models.runtime import runtime_of
from benchmark.progress import silent
from benchmark.scoring.predict import onnx_reading, reading_of

_STATUS, _MAPS = Path("/proc/self/status"), Path("/proc/self/smaps")
_PIXELS = "pixels.npy"
_SERVE = "from benchmark.measure.resident import serve; serve()"


class Apart:
    """Models that read in processes of their own, one after the other, while this one goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            cwd=Path(benchmark.__file__).parents[1],  # imports begin there
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for this process, which stops it
        )

    def ask(self, name: str, model: Donut, pixels: torch.Tensor, start: int, tokens: int) -> None:
        """Let `model` write `tokens` tokens after `start` for float (1, 3, height, width)."""
        folder = self._folder / str(len(self._asked))
        if runtime_of(model):  # a user has the graphs, and needs no torch model to be made of
            shutil.copytree(reader_of(model).encoder.path.parent, folder)
        else:
            save_model(model, folder)
        np.save(folder / _PIXELS, pixels.numpy())
        self._asked.append(name)
        assert self._process.stdin is not None
        print(json.dumps([str(folder), start, tokens]), file=self._process.stdin, flush=True)

    def peaks(self) -> dict[str, int | Exception]:
        """The bytes of each that was asked for, or what it failed of, once all are there. Ends the process."""
        answers, _ = self._process.communicate()
        lines: list[dict[str, int | str]] = [json.loads(line) for line in answers.splitlines()]
        lines += [{"error": f"it ended with {self._process.returncode}"}] * (len(self._asked) - len(lines))
        return {name: _outcome(line) for name, line in zip(self._asked, lines, strict=True)}

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


def _outcome(answer: dict[str, int | str]) -> int | Exception:
    found = answer.get("bytes")
    return found if isinstance(found, int) else RuntimeError(f"memory in a process of its own: {answer['error']}")


@contextmanager
def apart(device: torch.device) -> Iterator[Apart | None]:
    """None where that says nothing or cannot be known: on a GPU, whose allocator tells, and without Linux's /proc."""
    if device.type != "cpu" or not _MAPS.exists():
        yield None
        return
    with TemporaryDirectory() as folder:
        others = Apart(Path(folder).resolve())
        try:
            yield others
        finally:
            others.stop()


def serve() -> None:
    """In the other interpreter: answer each line of the input with one of the output, by a fork."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        folder, start, tokens = json.loads(line)
        child = os.fork()
        if not child:
            _answer(Path(folder), start, tokens)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
        if status:
            _tell({"error": f"it was ended by signal {os.WTERMSIG(status)}, perhaps for want of memory"})


def _answer(folder: Path, start: int, tokens: int) -> None:
    try:
        with silent():
            _tell({"bytes": peak_resident_bytes(folder, torch.from_numpy(np.load(folder / _PIXELS)), start, tokens)})
    except Exception as error:  # one model's, as everywhere where models are measured
        _tell({"error": f"{type(error).__name__}: {error}"})


def _tell(answer: dict[str, int | str]) -> None:
    print(json.dumps(answer), flush=True)


def peak_resident_bytes(folder: Path, pixels: torch.Tensor, start: int, tokens: int) -> int:
    """What this process grows by at most while it loads a checkpoint and reads with it.

    Files that are mapped do not count, as the code of libraries, which is the same for all models, but for weights:
    transformers leaves them in their file, and what is read of it is resident. What is mapped only grows, so that of
    the end is taken from the peak.
    """
    graphs = (folder / ENCODER).is_file()
    if graphs:
        import onnxruntime  # noqa: F401 # as torch, which is here already
    before = _resident("RssAnon")
    reading = onnx_reading(OnnxReader(folder)) if graphs else reading_of(load_model(folder))
    write_tokens(reading, pixels, start, tokens)
    return _resident("VmHWM") - (_resident("RssFile") - _mapped(folder)) - before


def _resident(name: str) -> int:
    """Bytes of this process, from Linux."""
    return next(_bytes(line) for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))


def _mapped(folder: Path) -> int:
    """Resident bytes of the files of a folder that are mapped now."""
    total, inside = 0, False
    for line in _MAPS.read_text().splitlines():
        if line.startswith("Rss:"):
            total += _bytes(line) if inside else 0
        elif "-" in line.split(" ", 1)[0]:  # addresses, and at the end the file
            inside = f" {folder}{os.sep}" in line
    return total


def _bytes(line: str) -> int:
    """Of ``Name:   12 kB``."""
    return 1024 * int(line.split()[1])
