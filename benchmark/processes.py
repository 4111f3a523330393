"""The processes of a launch (``accelerate launch``, ``torchrun``), which train each model together; one without it.

The first one leads: it alone validates, keeps, scores, measures, records and tells, and the others wait until they are
needed. What they say to each other is no part of the training: a message never meets a gradient.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.errors import OutputError, PartedError, SharedFailure, error_line

if TYPE_CHECKING:
    import torch

Thing = TypeVar("Thing")
_IN_STEP = timedelta(hours=1)
"""How far a process may be ahead in a training: the first one writes checkpoints meanwhile."""
_IN_ALL = timedelta(days=7)
"""How long the others wait for the first one, which reads and measures."""
_PATIENCE = 300.0
"""Seconds that a process which has failed waits for the others: what fails in all of them fails at about one time."""


def processes() -> int:
    """How many there are, as whoever launched them says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this is the first of them, or the only one."""
    return processes() == 1 or os.environ.get("RANK", "0") == "0"


def join(device: torch.device) -> None:
    """Meet the others, once; gradients are averaged where the model is."""
    if processes() > 1:
        import torch
        import torch.distributed as dist

        if device.type == "cuda":
            torch.cuda.set_device(device)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_IN_STEP)
            atexit.register(_part)


def leave() -> None:
    """Part from the others, when all have come here."""
    if processes() > 1:
        _meet(None, None)
        _part()


def _part() -> None:
    """Whatever ends this process: one whose groups are left to the last moment may abort instead of ending."""
    import torch.distributed as dist

    _messages.cache_clear()
    if dist.is_initialized():
        dist.destroy_process_group()


def together(make: Callable[[], Thing]) -> Thing:
    """What `make` returns, when it has returned in all processes. If it fails in one, all raise `SharedFailure`."""
    if processes() == 1:
        return make()
    made, error = _tried(make)
    _meet(None, error)
    return made  # type: ignore[return-value]  # or there was an error


def from_first(make: Callable[[], Thing]) -> Thing:
    """What the first process makes, which alone makes it. If it fails, all raise `SharedFailure`."""
    if processes() == 1:
        return make()
    made, error = _tried(make) if leads() else (None, None)
    return _meet(made, error)  # type: ignore[no-any-return]


def _tried(make: Callable[[], Thing]) -> tuple[Thing | None, BaseException | None]:
    """What it returns, or what it raises. What the others know already, and what ends a run, is raised at once."""
    try:
        return make(), None
    except (KeyboardInterrupt, OutputError, PartedError, SharedFailure):
        raise
    except BaseException as error:  # a plugin may raise anything
        return None, error


def _meet(made: Any, error: BaseException | None) -> Any:
    """When all are here: what the first one has made."""
    import torch.distributed as dist

    line = None if error is None else error_line(error)
    alone = threading.Timer(_PATIENCE, _end, [line])
    if line is not None:
        alone.start()
    said: list[Any] = [None] * processes()
    try:
        dist.all_gather_object(said, (made if leads() else None, line), group=_messages())
    except RuntimeError as lost:
        reason = "another process of this launch is gone"
        raise PartedError(f"{reason}; here: {line}" if line else reason) from (error or lost)
    finally:
        alone.cancel()
    lines = [line for _, line in said if line is not None]
    if lines:
        raise SharedFailure(lines[0]) from error
    return said[0][0]


@cache
def _messages() -> Any:
    """A group beside that of the gradients."""
    import torch.distributed as dist

    return dist.new_group(backend="gloo", timeout=_IN_ALL)


def _end(line: str) -> None:
    """What failed here alone left the others waiting for a gradient, which nothing but the end of a process ends."""
    print(f"donutbench: one process of this launch failed and the others did not: {line}", file=sys.stderr, flush=True)
    os._exit(2)
