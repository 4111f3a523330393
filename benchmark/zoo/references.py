"""The reference models as a strategy sees them, and the documents that it may look at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.models.checkpoint import load_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.types import Calibration
from benchmark.zoo.store import Zoo


@dataclass(slots=True)
class DatasetReferences:
    """The reference models as one data set sees them: its own teacher, the zoo's other models.

    `teacher_documents` are what the teacher was trained on; `calibrate` gives a count of documents
    of its training split, and other ones for each draw, `written` the tokens that a count of them takes.
    """

    zoo: Zoo
    teacher: Path
    teacher_documents: int
    vocabulary: int
    calibrate: Callable[[int, int], Calibration]
    written: Callable[[int], frozenset[int]]
    calibration_hash: str | None = None
    """Of the documents that a start has looked at, one time after the other."""
    _loaded: set[str] = field(default_factory=set)

    def load(self, name: str) -> Donut:
        self._loaded.add(name)
        model = load_model(self.teacher) if name == "teacher" else self.zoo.load(name)
        return fit_vocabulary(model, self.vocabulary)

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        found = self.calibrate(count, draw)
        self._note(found.pixel_values.numpy().tobytes(), found.labels.numpy().tobytes())
        return found

    def tokens(self, count: int) -> frozenset[int]:
        found = self.written(count)
        self._note(repr(sorted(found)).encode())
        return found

    def _note(self, *parts: bytes) -> None:
        content = b"".join([(self.calibration_hash or "").encode(), *parts])
        self.calibration_hash = hashlib.sha256(content).hexdigest()[:16]

    @property
    def documents(self) -> int:
        """The documents behind all that has been loaded."""
        return sum(
            self.teacher_documents if name == "teacher" else self.zoo.documents(self.zoo.folder / name)
            for name in self._loaded
        )
