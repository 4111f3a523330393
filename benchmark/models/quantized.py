"""Linear layers of whole numbers: weights of one byte, multiplied by inputs that are rounded to a byte as they come.

Dynamic quantization: weights are rounded once, symmetrically, each output with a scale of its own; inputs at every
call, with the least and the largest of all of them as the ends of the range. What comes out is float again. The config
of such a model names its layers under ``int8``: data, which any reader may check.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import linear

from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.models.donut import Donut

LARGEST = 127
"""Of a code of a weight; the least is its negative."""
_LEAST = 1e-30
_KERNEL = torch.ops.quantized.linear_dynamic.default


class Int8Linear(nn.Module):
    """A linear layer of int8 weights, computed by torch's kernel of dynamic quantization.

    Inputs are rounded to 7 bits: without VNNI the kernel adds up pairs of products in 16 bits, which two of 8 bits
    overflow. All inputs of a call share their range, so documents that are read together change each other's rounding.
    There is no gradient.
    """

    def __init__(self, codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> None:
        """`codes` is int8 (outputs, inputs), `scales` and `bias` float32 (outputs,): a weight is scale x code."""
        super().__init__()
        # The weights are parameters, to be found and counted as those of any layer; scales are no weights.
        self.weight = nn.Parameter(codes, requires_grad=False)
        self.scales: torch.Tensor
        self.register_buffer("scales", scales)
        self.bias: nn.Parameter | None
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach()))
        self._packed: tuple[list[Any], Any] | None = None

    @property
    def out_features(self) -> int:
        return self.weight.shape[0]

    @property
    def in_features(self) -> int:
        return self.weight.shape[1]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float32 (..., inputs) -> (..., outputs). Raises `UserError` where torch has no kernel for it."""
        if states.is_cpu:
            written: torch.Tensor = _KERNEL(states, self._pack(), True)
            return written
        if states.is_meta:  # nothing is computed, and the shapes are the same
            return linear(states, self.weight.to(states.dtype), self.bias)
        raise UserError(f"int8 layers are computed on the CPU, and not on {states.device.type}: use --device cpu")

    def _pack(self) -> Any:
        """The weights as the kernel wants them, made again when they have changed."""
        # Not by attribute, which a module looks up slowly: a step of a small decoder asks many times.
        tensors = [self._parameters["weight"], self._buffers["scales"], self._parameters["bias"]]
        now = [(id(t), 0 if t.is_inference() else t._version) for t in tensors if t is not None]
        if self._packed is None or self._packed[0] != now:
            self._packed = now, _packed(self.weight, self.scales, self.bias)
        return self._packed[1]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made of the weights for the kernel, which no copy takes along."""
        return {**self.__dict__, "_packed": None}


def _packed(codes: torch.Tensor, scales: torch.Tensor, bias: torch.Tensor | None) -> Any:
    if torch.backends.quantized.engine == "none":
        raise UserError("int8 layers need an engine of quantized products, and this build of torch has none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that tensors of this kind will go, which the kernel still takes
        zeros = torch.zeros(len(scales), dtype=torch.long)
        weight = torch._make_per_channel_quantized_tensor(codes.detach(), scales.double(), zeros, 0)
        return torch.ops.quantized.linear_prepack(weight, None if bias is None else bias.detach())


def rounded(layer: nn.Linear) -> Int8Linear:
    """The same layer in int8. The largest weight of an output has the largest code, so none is cut off."""
    weight = layer.weight.detach().float()
    scales = weight.abs().amax(1).clamp(min=_LEAST) / LARGEST  # an output without weights has a scale too
    codes = (weight / scales[:, None]).round().to(torch.int8)
    return Int8Linear(codes, scales, layer.bias)


def joined(layers: Sequence[Int8Linear]) -> Callable[[torch.Tensor], torch.Tensor]:
    """One product that writes side by side what these layers, all with a bias, write of the same inputs."""
    parts = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "scales", "bias"))
    packed = _packed(*parts)
    return lambda states: _KERNEL(states, packed, True)


def quantize(model: Donut) -> None:
    """Round all linear layers but the head, in place; embeddings, which the head is tied to, stay float."""
    for name, layer in _linear_layers(model).items():
        _put(model, name, rounded(layer))
    model.config.int8 = {"layers": [*int8_layers(model)]}


def take_int8(model: Donut, int8: Any) -> None:
    """Let the layers that a config names be int8 ones, in place; their values are not set.

    `ValueError` for a config that names none, or what is no linear layer: any file may hold it.
    """
    if int8 is None:
        return
    names = int8.get("layers") if isinstance(int8, Mapping) else None
    if not isinstance(names, list) or not names:
        raise ValueError(f"its config has {int8!r:.60} for int8, and not the names of layers")
    layers = _linear_layers(model)
    for name in names:
        layer = layers.pop(name, None) if isinstance(name, str) else None
        if layer is None:
            raise ValueError(f"its config has {name!r:.60} in int8, which is no linear layer of the model, or twice")
        codes, scales = torch.empty_like(layer.weight, dtype=torch.int8), layer.weight.new_empty(layer.out_features)
        _put(model, name, Int8Linear(codes, scales, layer.bias))


def unusable_scales(model: Donut) -> list[str]:
    """Those that are not all finite and above 0, by name."""
    return [
        f"{name}.scales"
        for name, layer in int8_layers(model).items()
        if not bool((layer.scales.isfinite() & (layer.scales > 0)).all())
    ]


def int8_layers(model: nn.Module) -> dict[str, Int8Linear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, Int8Linear)}


def _linear_layers(model: Donut) -> dict[str, nn.Linear]:
    head = model.decoder.lm_head
    return {
        name: module for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head
    }


def _put(model: nn.Module, name: str, layer: Int8Linear) -> None:
    owner, _, attribute = name.rpartition(".")
    before = model.get_submodule(name)
    setattr(model.get_submodule(owner), attribute, layer.train(before.training))
