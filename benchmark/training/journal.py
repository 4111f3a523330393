"""The validation curve and the time taken, which outlive a killed training."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.records.files import read_json, write_atomically

Curve = list[tuple[int, float]]
"""(step, validation N-TED accuracy)."""
_WHAT = "the curve of a training"


@dataclass
class Journal:
    """A curve that is written down at every point."""

    path: Path
    curve: Curve
    _before: float
    _began: float

    @classmethod
    def open(cls, path: Path) -> Journal:
        """What was written down before, if anything. Raises `UserError` that names a file which is something else."""
        kept: Any = read_json(path, _WHAT) if path.is_file() else {"curve": [], "seconds": 0.0}
        try:
            return cls(
                path, [(int(step), float(ted)) for step, ted in kept["curve"]], float(kept["seconds"]), time.time()
            )
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: not {_WHAT}") from None

    @property
    def seconds(self) -> float:
        return self._before + time.time() - self._began

    def add(self, step: int, ted: float) -> None:
        """A step that is passed again, since the newest checkpoint was older, counts once."""
        self.curve = [*((s, t) for s, t in self.curve if s < step), (step, ted)]
        write_atomically(self.path, json.dumps({"curve": self.curve, "seconds": self.seconds}).encode())
