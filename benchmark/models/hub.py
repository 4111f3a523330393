"""Where a checkpoint lies: a folder, or a model of the Hugging Face hub that has been downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from benchmark.errors import UserError

_ID = re.compile(r"[\w.-]+/[\w.-]+")


def find_checkpoint(name: str | Path) -> Path:
    """The folder of a checkpoint; a hub id is looked up in the hub's cache. Nothing is fetched: a misspelt folder
    looks like an id.

    Raises `UserError` in one line if there is neither.
    """
    folder = Path(name)
    if str(name) and folder.is_dir():
        return folder
    if folder.exists() or not _ID.fullmatch(str(name)):
        raise UserError(f"{name or 'nothing'} is no checkpoint: there is no such folder")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(str(name), local_files_only=True))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        raise UserError(
            f"{name} is no folder here, and no model of that name is in the hub's cache: "
            f"`hf download {name}` puts it there; a folder does as well"
        ) from None
