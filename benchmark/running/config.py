"""What a run is asked for: the command line and a script are refused in the same words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.errors import UserError
from benchmark.folders.folder import Folder
from benchmark.plugin.manager import check_known
from benchmark.scales import PAPER, SCALES, TINY, Changes
from benchmark.training.mechanics import Mechanics
from benchmark.types import PROTOCOLS, ProtocolName

BUDGETS = ("quick", "full")
DEVICES = ("auto", "cpu", "cuda")
_SEED = re.compile("[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run, as the command line gives it.

    Raises `UserError` for a value that no run can have; what plugins and machines have to say is left to `set_up`.
    """

    strategies: tuple[str, ...]
    datasets: tuple[str, ...]
    scale: str = "tiny"
    protocol: ProtocolName = "paper"
    budget: str = "quick"
    seeds: tuple[int, ...] = (0,)
    output: Path = Path("reports/local")
    plugins: tuple[Path, ...] = ()
    device: str = "auto"
    limit: int | None = None
    options: dict[str, str] = field(default_factory=dict)
    sweep: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Options with several values: a cell for each combination."""
    data: tuple[Folder, ...] = ()
    """Folders of documents; their names are among `datasets`."""
    jobs: int = 1
    """How many cells are run side by side, each in a process of its own; a script has to guard its `__main__` then."""
    teacher: str | None = None
    """A folder or a hub id in the place of the scale's zoo; the scale is that of this checkpoint, or `paper`."""
    changes: Changes = field(default_factory=Changes)
    """What is other than the given teacher brings it."""
    mechanics: Mechanics = field(default_factory=Mechanics)
    """How a training fits this machine."""

    def __post_init__(self) -> None:
        check_known("scale", self.scale, SCALES)
        check_known("protocol", self.protocol, PROTOCOLS)
        check_known("budget", self.budget, BUDGETS)
        check_known("device", self.device, DEVICES)
        parse_seeds(",".join(map(str, self.seeds)))
        counts = {"jobs": self.jobs, "limit": self.limit, **self.changes.values}
        counts.pop("learning_rate", None)
        for name, count in counts.items():
            if count is not None and not (isinstance(count, int) and count > 0):
                raise UserError(f"--{name.replace('_', '-')} {count} is not a whole number above 0")
        check_teacher(self.teacher, self.protocol, self.scale, self.changes)
        for key, values in self.sweep.items():
            if key in self.options:
                raise UserError(f"--sweep {key}: it has a value already")
            if not values or not all(values):
                raise UserError(f"--sweep {key}: there is no value, or an empty one")


def parse_seeds(text: str) -> tuple[int, ...]:
    """``"0,1,2"`` as numbers, each once. Raises `UserError` for anything else."""
    seeds = [seed.strip() for seed in text.split(",")]
    if not all(_SEED.fullmatch(seed) and int(seed) < 2**32 for seed in seeds):
        raise UserError(f"--seeds {text!r} is not a list of whole numbers below 2^32 joined by commas")
    return tuple(dict.fromkeys(map(int, seeds)))


def check_teacher(teacher: str | None, protocol: str, scale: str, changes: Changes) -> None:
    """Raise `UserError` for what goes only with a given teacher, and for what does not go with one."""
    if changes.learning_rate is not None and not 0 < changes.learning_rate < float("inf"):
        raise UserError(f"--learning-rate {changes.learning_rate:g} is not above 0")
    if teacher is None and scale != PAPER.name and changes != Changes(accumulate=changes.accumulate):
        raise UserError("--max-tokens, --documents, --batch and --learning-rate go with --teacher or --scale paper")
    if protocol != "task" and (teacher is not None or scale == PAPER.name):
        option = "--scale paper" if teacher is None else "--teacher"
        raise UserError(f"{option} goes with --protocol task: what its upstream models would be nobody knows")
    if teacher is not None and scale not in (TINY.name, PAPER.name):
        raise UserError(f"--scale {scale}: the scale is that of the given teacher, or paper")
