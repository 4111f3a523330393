"""The most memory that a prediction holds at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_memory_bytes(model: nn.Module, predict: Callable[[], object]) -> int:
    """Bytes of parameters and buffers, plus the peak of what `predict()` allocates beside them.

    On CUDA the peak is the allocator's. On the CPU it is that of the storages which operators have returned
    and which still live; scratch memory within a kernel is not seen, nor the copy that it makes of int8 weights. What
    the process held before does not count.
    """
    weights = {s.data_ptr(): s.nbytes() for s in _storages([*model.parameters(), *model.buffers()])}
    device = next(model.parameters()).device
    peak = _cuda_peak(predict, device) if device.type == "cuda" else _cpu_peak(predict)
    return sum(weights.values()) + peak


def _cuda_peak(predict: Callable[[], object], device: torch.device) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    predict()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device) - before)


def _cpu_peak(predict: Callable[[], object]) -> int:
    live = _LiveStorages()
    with live:
        predict()
    return live.peak


class _LiveStorages(TorchDispatchMode):
    """Adds up the storages that operators allocate, until they die."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor this
        self._alive: set[int] = set()
        self._bytes = 0
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # What an operator returns is a view of what it was given, or newly allocated.
        given = {storage.data_ptr() for storage in _storages((args, kwargs))}
        result = func(*args, **kwargs)
        for storage in _storages(result):
            if storage.nbytes() and storage.data_ptr() not in given and storage.data_ptr() not in self._alive:
                self._add(storage)
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        address, size = storage.data_ptr(), storage.nbytes()
        self._alive.add(address)
        self._bytes += size
        self.peak = max(self.peak, self._bytes)
        weakref.finalize(storage, self._remove, address, size)

    def _remove(self, address: int, size: int) -> None:
        self._alive.discard(address)
        self._bytes -= size


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor))
