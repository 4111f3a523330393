"""How large the weights are in a file: stored as they are, and with the zeros left out."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from benchmark.models.parameters import prunable

_METADATA = {"format": "pt"}  # `save_pretrained` writes it too, so that the sizes are those of real files.


def size_dense_bytes(model: nn.Module) -> int:
    """Bytes of a safetensors file, its header included, of `dense_state`."""
    return len(save(dense_state(model), _METADATA))


def size_packed_bytes(model: nn.Module) -> int:
    """Bytes of a safetensors file, its header included, of `packed_state`."""
    return len(save(packed_state(model), _METADATA))


def dense_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict on the CPU, floats as float32, tied tensors once, under the first of their names."""
    state: dict[str, torch.Tensor] = {}
    seen: set[tuple[int, torch.Size]] = set()
    for name, value in model.state_dict().items():
        if (place := (value.data_ptr(), value.shape)) not in seen:
            seen.add(place)
            # A copy: safetensors refuses tensors that share memory.
            dtype = torch.float32 if value.is_floating_point() else value.dtype
            state[name] = value.to("cpu", dtype, copy=True).contiguous()
    return state


def packed_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """`dense_state`, but each prunable tensor as `NAME.values` and `NAME.mask` where that takes fewer bytes.

    Values are the nonzero weights in row-major order; the mask has one bit a weight (`numpy.packbits`). The
    shape of the tensor is not kept: the model's config has it.
    """
    state = dense_state(model)
    for name in prunable(model):
        weight = state[name]
        kept = weight != 0
        values, mask = weight[kept], torch.from_numpy(np.packbits(kept.numpy()))
        if values.nbytes + mask.nbytes < weight.nbytes:
            del state[name]
            state |= {f"{name}.values": values, f"{name}.mask": mask}
    return state
