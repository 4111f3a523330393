"""Where a run keeps what its jobs make, and what can be told of that without loading a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import UserError
from benchmark.records.files import read_json
from benchmark.running.plan import Job

TRAINING = "training.json"


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints in the output folder of a run."""

    output: Path

    def of(self, job: Job) -> Path:
        """Where the model of a job is kept."""
        return self.named(job.name)

    def named(self, cell: str) -> Path:
        return self.output / "checkpoints" / cell

    def unfinished(self, job: Job) -> Path:
        """Where a training of it leaves what the next attempt goes on from."""
        return self.output / "unfinished" / job.name / job.key

    def has(self, job: Job) -> bool:
        """Whether an earlier run left something there that was made for the same key."""
        return bool(training_facts(self.of(job)).get("key") == job.key)

    def documents(self, job: Job) -> int:
        """The documents that a kept model has been trained on, without those of what it began with.

        Raises `UserError` if it is gone.
        """
        return int(self._facts(job)["documents"])

    def start_documents(self, job: Job) -> int:
        """Those of what it began with. Raises `UserError` if it is gone."""
        return int(self._facts(job)["start_documents"])

    def _facts(self, job: Job) -> dict[str, Any]:
        facts = training_facts(self.of(job))
        if not facts:
            raise UserError(f"{self.of(job)} is not there any more")
        return facts


def training_facts(folder: Path) -> dict[str, Any]:
    """How the model in `folder` was trained, and the key that it was made for; nothing if that cannot be read."""
    try:
        facts: Any = read_json(folder / TRAINING, "how a model was trained")
    except UserError:
        return {}
    return facts if isinstance(facts, dict) else {}
