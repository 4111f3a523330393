"""Where models run, and what a record says of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.processes import processes

if TYPE_CHECKING:
    from benchmark.models.donut import Donut


_PRECISION = "DONUTBENCH_PRECISION"
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def find_device(name: str) -> torch.device:
    """``auto`` takes a GPU if there is one; in a launch each process has its own.

    `UserError` if CUDA is asked for and absent, there are fewer GPUs than processes, or no such `precision`.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device that torch can use")
    precision(name)  # a wrong one is refused here, not by the first cell
    return _own_gpu() if name == "cuda" and processes() > 1 else torch.device(name)


def _own_gpu() -> torch.device:
    gpus, needed = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
    if needed > gpus:
        raise UserError(f"this machine has {gpus} CUDA devices for the {needed} processes of the launch")
    return torch.device("cuda", int(os.environ["LOCAL_RANK"]))


def visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process may use; none of them is begun to be used."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(i) for i in range(torch.cuda.device_count())] if named is None else list(filter(None, named.split(",")))


def move(model: Donut, device: torch.device) -> Donut:
    """Move a model, in place."""
    nn.Module.to(model, device)
    return model


def precision(device_type: str) -> torch.dtype:
    """What training computes in: that of ``DONUTBENCH_PRECISION``, else bfloat16 where the hardware has it.

    A processor without it takes thirty times as long for a product in bfloat16 as for one in float32. Raises
    `UserError` for the name of another precision.
    """
    if named := os.environ.get(_PRECISION):
        if named not in _PRECISIONS:
            raise UserError(f"{_PRECISION}={named!r}: choose from {', '.join(_PRECISIONS)}")
        return _PRECISIONS[named]
    if device_type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Private, but nothing public tells; where they are missing, float32 is never wrong.
    found = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
    return torch.bfloat16 if any(supported and supported() for supported in found) else torch.float32


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside: short steps give a second one little to do, and wait for it on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def environment(device: torch.device) -> dict[str, str | int | float]:
    """Versions and hardware, nothing that changes from run to run."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "int8": _int8(),
        "training precision": str(precision(device.type)).removeprefix("torch."),
    }


def _int8() -> str:
    """What multiplies int8 on the CPU; whether it has the instructions that are made for it."""
    found = getattr(torch.cpu, "_is_vnni_supported", None)  # private, as above
    return f"{torch.backends.quantized.engine}, {'VNNI' if found and found() else 'no VNNI'}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "CPU"
