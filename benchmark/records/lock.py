"""Who runs in an output folder: one process at a time, or two would take each other's checkpoints away.

Reports are written without it: they are made of finished records, each page as a whole.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from benchmark.errors import OutputError, UserError

_LOCK = ".lock"
_LONGEST = 200
"""Characters of a command that are told."""
_held: set[Path] = set()
"""By this process, which the system would let lock a file twice."""


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold `directory`, which is made, until what is inside ends, or this process: a killed one holds nothing.

    Its file ``.lock`` says meanwhile who holds it. A file system without locks is written to unlocked. Raises
    `UserError` that names the holder, `OutputError` if the folder cannot be written.
    """
    path = directory.absolute() / _LOCK
    place = path.parent.resolve()
    if place in _held:
        raise _refusal(directory, _this_process())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, directory)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    _held.add(place)
    try:
        yield
    finally:
        _held.remove(place)
        if _is(path, descriptor):  # somebody may have taken it away, and another made it anew
            path.unlink()
        os.close(descriptor)


def _locked(path: Path, directory: Path) -> int:
    """The descriptor of the file, in which this process is named."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(descriptor):
                raise _refusal(directory, os.read(descriptor, 2000).decode(errors="replace").strip())
            if _is(path, descriptor):
                os.truncate(descriptor, 0)
                os.write(descriptor, f"{_this_process()}\n".encode(errors="backslashreplace"))
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    """Not if whoever held the folder last has taken the file away after it was opened here."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """Whether nobody else has it, as far as the system can tell.

    It belongs to this process alone: one that it forks, and that outlives it, does not hold it.
    """
    if sys.platform == "win32":  # it has no such locks
        return True
    import fcntl

    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second is what some systems call it
        return False
    except OSError:  # nor do some file systems of a network
        return True
    return True


def _this_process() -> str:
    command = " ".join(shlex.join(sys.orig_argv).split())
    shown = command if len(command) <= _LONGEST else f"{command[:_LONGEST]} ..."
    return f"process {os.getpid()} on {platform.node()} since {datetime.now():%Y-%m-%d %H:%M:%S}: {shown}"


def _refusal(directory: Path, holder: str) -> UserError:
    who = holder or "another process"
    return UserError(f"{directory} is written to by {who}; wait for its end, or take another folder")
