"""The reference models as a strategy sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from benchmark.models.checkpoint import load_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.zoo.store import Zoo


@dataclass(slots=True)
class DatasetReferences:
    """The reference models as one data set sees them: its own teacher, the zoo's other models.

    `teacher_documents` are what the teacher was trained on.
    """

    zoo: Zoo
    teacher: Path
    teacher_documents: int
    vocabulary: int
    _loaded: set[str] = field(default_factory=set)

    def load(self, name: str) -> Donut:
        self._loaded.add(name)
        model = load_model(self.teacher) if name == "teacher" else self.zoo.load(name)
        return fit_vocabulary(model, self.vocabulary)

    @property
    def documents(self) -> int:
        """The documents behind all that has been loaded."""
        return sum(
            self.teacher_documents if name == "teacher" else self.zoo.documents(self.zoo.folder / name)
            for name in self._loaded
        )
