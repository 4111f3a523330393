"""The reference checkpoints of a scale, which ship with the package, and what can be told of them unloaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.devices import environment
from benchmark.errors import UserError
from benchmark.records.files import read_json, write_atomically
from benchmark.scales import Scale
from benchmark.types import Dataset, Json

if TYPE_CHECKING:
    import torch
    from transformers import DonutProcessor

    from benchmark.models.donut import Donut
    from benchmark.training.journal import Curve

UPSTREAM = "upstream"
RECIPE = "recipe.json"
_MODEL = ("*.safetensors", "config.json")
SHIPPED = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Zoo:
    """A folder of checkpoints.

    ``teacher``, ``none`` and ``small`` are what strategies start from, ``<data set>/teacher`` the teacher of each
    task, ``upstream/<strategy>`` what a strategy has become by reading with the full budget.
    """

    folder: Path
    scale: Scale

    @property
    def given(self) -> str | None:
        """What a user calls the teacher that was brought for this one; None: it ships with the package."""
        return None

    def fingerprint(self, strategy: str, dataset: str) -> str:
        """A hash of what a strategy can begin with on a data set: references, its task teacher, its upstream model.

        Teachers of other tasks and what other strategies have become are left out: they change nothing here.
        """
        folders = [*self.folder.glob("*/"), self.folder / dataset / "teacher", self.folder / UPSTREAM / strategy]
        files = [path for folder in folders for pattern in _MODEL for path in folder.glob(pattern)]
        return content_hash(self.folder, [*files, *self.folder.glob("*.json")])

    def processor(self) -> DonutProcessor:
        from benchmark.models.checkpoint import load_processor

        return load_processor(self.folder / "teacher")

    def load(self, name: str) -> Donut:
        from benchmark.models.checkpoint import load_model

        return load_model(self.folder / name)

    def remark(self, dataset: Dataset) -> str | None:
        """What to say of the teacher on a data set before a run; None: nothing."""
        return None

    def brings(self, name: str) -> bool:
        """Whether there is a reference model of that name."""
        return (self.folder / name / RECIPE).is_file()

    def task_teacher(self, dataset: Dataset) -> Path | None:
        """Where the teacher of a data set lies, None if the zoo has none."""
        of_task = dataset.name != self.scale.reading
        place = self.folder / dataset.name / "teacher" if of_task else self.folder / "teacher"
        return place if place.is_dir() else None

    def documents(self, folder: Path) -> int:
        """How many documents the checkpoint in `folder` was trained on, counting those that it began with."""
        recipe = _read_recipe(folder).get("recipe")
        if recipe is None:
            raise UserError(f"{folder / RECIPE} does not say how the checkpoint was made")
        before = self.documents(self.folder / recipe["start"]) if recipe["start"] else 0
        return before + int(recipe["steps"]) * int(recipe["batch"])

    def upstream_recipe(self, strategy: str, parts: Json) -> dict[str, Any] | None:
        """How this very strategy has read upstream (``recipe.json``); None if the zoo has no such model."""
        folder = self.folder / UPSTREAM / strategy
        recipe = _read_recipe(folder) if folder.is_dir() else {}
        return recipe if recipe.get("parts") == parts else None

    def load_upstream(self, strategy: str) -> Donut:
        return self.load(f"{UPSTREAM}/{strategy}")


def content_hash(folder: Path, files: Iterable[Path]) -> str:
    """Of the names in `folder` and the contents of these files."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _read_recipe(folder: Path) -> dict[str, Any]:
    recipe: Any = read_json(folder / RECIPE, what := "a recipe")
    if not isinstance(recipe, dict):
        raise UserError(f"{folder / RECIPE}: not {what}")
    return recipe


def write_recipe(folder: Path, facts: Mapping[str, Any], curve: Curve, seconds: float, device: torch.device) -> None:
    """How the checkpoint in `folder` was made (`facts`), its validation curve, what it took: ``recipe.json``."""
    record = {
        **facts,
        "curve": curve,
        "hours": round(seconds / 3600, 3),
        "environment": environment(device),
    }
    write_atomically(folder / RECIPE, (json.dumps(record, indent=2) + "\n").encode())


def open_zoo(scale: Scale, folder: Path | None = None) -> Zoo:
    """The shipped zoo of a scale, or another folder. `UserError` says how to make one."""
    place = folder or SHIPPED / scale.name
    if not (place / "teacher").is_dir():
        raise UserError(
            f"no reference models for scale {scale.name} in {place}: `pretrain --scale {scale.name}` makes them"
        )
    return Zoo(place, scale)
