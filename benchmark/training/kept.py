"""What a killed training goes on from: the newest checkpoint that was written to its end."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from zipfile import is_zipfile

from safetensors import SafetensorError, safe_open

from benchmark.errors import UserError
from benchmark.records.files import read_json

_NAME = re.compile(r"checkpoint-([0-9]+)")
_LAST = "trainer_state.json"
"""`Trainer` writes it when all the rest is there."""
_FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", _LAST)


def newest_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint of `Trainer` in `folder`, if any; what a kill or a full disk has cut goes."""
    steps = {int(found[1]): path for path in folder.glob("*") if (found := _NAME.fullmatch(path.name))}
    for step in sorted(steps, reverse=True):
        if _is_whole(steps[step]):
            return steps[step]
        shutil.rmtree(steps[step], ignore_errors=True)
    return None


def _is_whole(checkpoint: Path) -> bool:
    """Whether no file is missing or lacks its end; what stands in them is not looked at, of gigabytes.

    Raises `OSError` for one that cannot be read now: it may be whole.
    """
    if not all((checkpoint / name).is_file() for name in _FILES):
        return False
    for file in checkpoint.iterdir():
        file.open("rb").close()
    try:
        read_json(checkpoint / _LAST, "the state of a training")
        for weights in checkpoint.glob("*.safetensors"):
            with safe_open(weights, "pt"):
                pass
    except (SafetensorError, UserError):
        return False
    # What torch saves is a zip archive, whose end tells what is in it.
    return all(is_zipfile(file) for file in checkpoint.glob("*.pt*"))
