"""Which models compute the same, whatever their weights: they are timed once."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DonutProcessor

from benchmark.measure.latency import fitted, write_tokens
from benchmark.models.donut import Donut
from benchmark.models.processor import to_pixels
from benchmark.models.runtime import runtime_of
from benchmark.progress import quiet
from benchmark.scoring.predict import torch_reading

_TRACED_TOKENS = 3
"""With a cache a step differs from the one before by the length of what it attends to alone."""
_ANY_TOKEN = 0
_STRUCTURAL = (int, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
"""Arguments of an operation that say what it does, such as sizes and dimensions. Fractions are mere numbers to it."""


def signature(model: Donut, processor: DonutProcessor, page: torch.Tensor, tokens: int) -> str:
    """A short hash of what `model` computes when it writes `tokens` tokens for a page.

    `page` is uint8 (1, height, width[, 3]) on the CPU. Equal for models that do the same operations on tensors of the
    same shapes, strides, types and devices, in modules of the same classes. It is taken from a real reading of a few
    tokens: no configuration tells how many heads a pruned layer has left, and some tell paths and versions. Nothing
    that it reads depends on the weights' values, so a masked model is its dense one; nor on the prompt. That of a model
    with a runtime is of the reading that its graphs are made of, and of the runtime.
    """
    runtime = runtime_of(model)
    by = [] if runtime is None else [runtime]
    digest = hashlib.sha256(repr([tokens, tuple(page.shape), *_modules(model), *_tensors(model), *by]).encode())
    ready = fitted(processor, page)
    with quiet(model), _Operations(digest):
        pixels = to_pixels(processor, ready.to(model.device))
        write_tokens(torch_reading(model), pixels, _ANY_TOKEN, min(tokens, _TRACED_TOKENS))
    return digest.hexdigest()[:16]


def _modules(model: nn.Module) -> list[str]:
    """Names and classes: what a class does outside of torch's operations takes time too."""
    kinds = ((name, type(module)) for name, module in model.named_modules())
    return [f"{name}: {kind.__module__}.{kind.__qualname__}" for name, kind in kinds]


def _tensors(model: nn.Module) -> list[str]:
    """All parameters and buffers, read or not, and which of them share their memory: they are held in memory."""
    places: dict[int, int] = {}
    named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]
    return [f"{name}: {_described(t)} in {places.setdefault(t.data_ptr(), len(places))}" for name, t in named]


class _Operations(TorchDispatchMode):
    """Adds the operations done inside, and what they are given, to a digest."""

    def __init__(self, digest: hashlib._Hash) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._digest = digest

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._digest.update(f"{func} {_described(args)} {_described(kwargs)}\n".encode())
        return func(*args, **kwargs)


def _described(value: object) -> str:
    if isinstance(value, torch.Tensor):
        strides = value.stride() if value.layout is torch.strided else value.layout
        return f"{type(value).__name__} {tuple(value.shape)} {strides} {value.dtype} {value.device}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_described, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_described(part)}' for name, part in value.items())}}}"
    return repr(value) if isinstance(value, _STRUCTURAL) else type(value).__name__
