"""Weights in a file: stored as they are, and with the zeros left out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from benchmark.models.parameters import prunable

State = dict[str, torch.Tensor]

METADATA = {"format": "pt"}
"""`save_pretrained` writes it too, so that sizes are those of real files."""

VALUES, _MASK = ".values", ".mask"


def dense_state(model: nn.Module, dtype: torch.dtype = torch.float32) -> State:
    """The state dict on the CPU, floats as `dtype`, tied tensors once, under the first of their names."""
    state: State = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, value in model.state_dict().items():
        if (place := (value.data_ptr(), value.shape)) not in seen:
            seen.add(place)
            # A copy: safetensors refuses tensors that share memory.
            kind = dtype if value.is_floating_point() else value.dtype
            state[name] = value.to("cpu", kind, copy=True).contiguous()
    return state


def packed_state(model: nn.Module, dtype: torch.dtype = torch.float32) -> State:
    """`dense_state`, but each prunable tensor as `NAME.values` and `NAME.mask` where that takes fewer bytes.

    Values are the nonzero weights in row-major order; the mask has one bit a weight (`numpy.packbits`). The
    shape of the tensor is not kept: the model's config has it.
    """
    state = dense_state(model, dtype)
    for name in prunable(model):
        weight = state[name]
        kept = weight != 0
        values, mask = weight[kept], torch.from_numpy(np.packbits(kept.numpy()))
        if values.nbytes + mask.nbytes < weight.nbytes:
            del state[name]
            state |= {name + VALUES: values, name + _MASK: mask}
    return state


def dense_bytes(model: nn.Module) -> int:
    """Bytes of a safetensors file, its header included, of `dense_state`."""
    return len(save(dense_state(model), METADATA))


def packed_bytes(model: nn.Module) -> int:
    """Bytes of a safetensors file, its header included, of `packed_state`."""
    return len(save(packed_state(model), METADATA))


def unpacked(state: Mapping[str, torch.Tensor], model: nn.Module) -> State:
    """The dense tensors of a packed state; `model` lends the shapes. `ValueError` if mask and values do not fit it."""
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    dense = {name: value for name, value in state.items() if not name.endswith((VALUES, _MASK))}
    for name in (key.removesuffix(VALUES) for key in state if key.endswith(VALUES)):
        if name not in shapes or name + _MASK not in state:
            raise ValueError(f"{name} has no place in the model, or no mask")
        dense[name] = _scattered(name, state[name + VALUES], state[name + _MASK], shapes[name])
    return dense


def _scattered(name: str, values: torch.Tensor, mask: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    if mask.dtype != torch.uint8 or len(mask) != -(-shape.numel() // 8):
        raise ValueError(f"the mask of {name} does not fit its shape {tuple(shape)}")
    kept = torch.from_numpy(np.unpackbits(mask.numpy(), count=shape.numel()).astype(bool)).view(shape)
    if int(kept.sum()) != len(values):
        raise ValueError(f"the mask of {name} keeps {int(kept.sum())} weights, but there are {len(values)} values")
    weight = torch.zeros(shape, dtype=values.dtype)
    weight[kept] = values
    return weight
