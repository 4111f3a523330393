"""What the tests of the stages work on: the jobs of one cell after the other, in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from benchmark.running.cells import Cell
from benchmark.running.checkpoints import Checkpoints
from benchmark.running.plan import Job, Planner
from benchmark.running.shared import Shared
from benchmark.running.stages import make_model, start
from benchmark.running.trained import Trained
from benchmark.scales import Scale
from benchmark.scoring.evaluator import Evaluator
from benchmark.types import Dataset
from benchmark.zoo.store import Zoo


@dataclass
class Bench:
    """Plans and makes single cells; what cells share is shared."""

    zoo: Zoo
    reading: Dataset
    scale: Scale
    output: Path
    contents: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shared = Shared(self.zoo, self.scale, Checkpoints(self.output), torch.device("cpu"))

    def jobs(self, cell: Cell) -> list[Job]:
        """The job of a cell after those that it needs."""
        return Planner(self.zoo, self.reading, self.contents).plan([cell])

    def job(self, cell: Cell) -> Job:
        return self.jobs(cell)[-1]

    def key(self, cell: Cell) -> str:
        return self.job(cell).key

    def trained(self, cell: Cell) -> Trained:
        """The model of a cell, and on the way those that it needs."""
        return [make_model(job, self.shared) for job in self.jobs(cell)][-1]

    def begin(self, cell: Cell) -> Trained:
        """What a cell begins with, where that is the start of its strategy; its teacher is made first."""
        *needed, job = self.jobs(cell)
        for other in needed:
            if job.teacher is not None and other.name == job.teacher.name:
                make_model(other, self.shared)
        return start(cell, self.shared.references(job))

    def evaluator(self, cell: Cell) -> Evaluator:
        return self.shared.evaluator(self.job(cell))
