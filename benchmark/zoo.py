"""The reference checkpoints of a scale: those that ship with the package, and task teachers made for other data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import DonutProcessor

from benchmark.devices import environment
from benchmark.errors import UserError
from benchmark.models.checkpoint import PACKED, WEIGHTS, load_model, load_processor
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.scales import Scale
from benchmark.training.journal import Curve

UPSTREAM = "upstream"
RECIPE = "recipe.json"
SHIPPED = Path(__file__).parent / "zoo"


@dataclass(frozen=True, slots=True)
class Zoo:
    """A folder of checkpoints.

    ``teacher``, ``none`` and ``small`` are what strategies start from, ``<data set>/teacher`` the teacher of each
    task, ``upstream/<strategy>`` what a strategy has become by reading with the full budget.
    """

    folder: Path
    scale: Scale

    @property
    def upstream(self) -> str:
        """The data set on which the upstream models learnt to read."""
        try:
            recipe = json.loads((self.folder / "teacher" / RECIPE).read_text())["recipe"]
            return str(recipe["dataset"])
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"the zoo {self.folder} has no readable teacher/{RECIPE}: {error}") from error

    def fingerprint(self, strategy: str) -> str:
        """A hash of the weights that this strategy can begin with: the references, and what it became upstream."""
        digest = hashlib.sha256()
        for path in sorted(p for name in (WEIGHTS, PACKED) for p in self.folder.rglob(name)):
            place = path.relative_to(self.folder)
            if place.parts[0] != UPSTREAM or place.parts[1] == strategy:
                digest.update(place.as_posix().encode())
                digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def processor(self) -> DonutProcessor:
        return load_processor(self.folder / "teacher")

    def load(self, name: str) -> Donut:
        return load_model(self.folder / name)

    def task_teacher(self, dataset: str) -> Path | None:
        """Where the teacher of a data set lies, None if the zoo has none."""
        place = self.folder / "teacher" if dataset == self.upstream else self.folder / dataset / "teacher"
        return place if place.is_dir() else None

    def upstream_model(self, strategy: str, identity: str) -> tuple[Donut, dict[str, Any]] | None:
        """What this very strategy has become upstream, and how (``recipe.json``); None if the zoo has no such model."""
        folder = self.folder / UPSTREAM / strategy
        try:
            recipe: dict[str, Any] = json.loads((folder / RECIPE).read_text())
        except OSError:
            return None
        except ValueError as error:
            raise UserError(f"{folder / RECIPE} is no JSON: {error}") from error
        return (load_model(folder), recipe) if recipe.get("identity") == identity else None


@dataclass(frozen=True, slots=True)
class DatasetReferences:
    """The reference models as one data set sees them: its own teacher, the zoo's other models."""

    zoo: Zoo
    teacher: Path
    vocabulary: int

    def load(self, name: str) -> Donut:
        model = load_model(self.teacher) if name == "teacher" else self.zoo.load(name)
        return fit_vocabulary(model, self.vocabulary)


def write_recipe(folder: Path, facts: Mapping[str, Any], curve: Curve, test_ted: float, seconds: float) -> None:
    """How the checkpoint in `folder` was made (`facts`), how well it reads, and what it took: ``recipe.json``."""
    record = {
        **facts,
        "curve": curve,
        "test_ted": test_ted,
        "hours": round(seconds / 3600, 3),
        "environment": environment(torch.device("cpu")),
    }
    (folder / RECIPE).write_text(json.dumps(record, indent=2) + "\n")


def open_zoo(scale: Scale, folder: Path | None = None) -> Zoo:
    """The shipped zoo of a scale, or another folder. `UserError` says how to make one."""
    place = folder or SHIPPED / scale.name
    if not (place / "teacher").is_dir():
        raise UserError(
            f"no reference models for scale {scale.name} in {place}: `pretrain --scale {scale.name}` makes them"
        )
    return Zoo(place, scale)
