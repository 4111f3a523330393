"""Takes the freedom out of the scales of a trained model, so that magnitudes can be compared over layers.

Some weights may grow or shrink without changing what the model computes: the patch embedding before its norm, a query
against its key, a value against its output projection. Global magnitude pruning would read that freedom as importance:
unbalanced, it took all but 2 of the 2,304 weights of the tiny teacher's patch embedding and left it blind.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from transformers.models.donut.modeling_donut_swin import DonutSwinAttention

from benchmark.models.donut import Donut
from benchmark.models.parameters import prunable


@torch.no_grad()
def balance(model: Donut) -> None:
    """Rescale in place; the model computes the same. Products of two linear layers stay as they are.

    The patch embedding, which a norm follows, gets the root mean square of all prunable weights; queries and keys, and
    values and output projections, meet in the middle.
    """
    for query, key in [*_pairs(model, "query", "key"), *_pairs(model, "q_proj", "k_proj")]:
        _meet(query, key, scales_bias_of_second=True)
    for value, output in _value_outputs(model):
        _meet(value, output, scales_bias_of_second=False)
    patches = model.encoder.embeddings.patch_embeddings.projection
    factor = _rms(torch.cat([w.flatten() for w in prunable(model).values()])) / _rms(patches.weight)
    patches.weight.mul_(factor)
    if patches.bias is not None:
        patches.bias.mul_(factor)


def _pairs(model: Donut, first: str, second: str) -> list[tuple[nn.Linear, nn.Linear]]:
    modules = [module for module in model.modules() if hasattr(module, first) and hasattr(module, second)]
    return _linear([(getattr(module, first), getattr(module, second)) for module in modules])


def _value_outputs(model: Donut) -> list[tuple[nn.Linear, nn.Linear]]:
    attentions = [module for module in model.modules() if isinstance(module, DonutSwinAttention)]
    swin = [(attention.self.value, attention.output.dense) for attention in attentions]
    return [*_linear(swin), *_pairs(model, "v_proj", "out_proj")]


def _linear(pairs: Iterable[tuple[nn.Module, nn.Module]]) -> list[tuple[nn.Linear, nn.Linear]]:
    return [(a, b) for a, b in pairs if isinstance(a, nn.Linear) and isinstance(b, nn.Linear)]


def _meet(first: nn.Linear, second: nn.Linear, scales_bias_of_second: bool) -> None:
    """Give both the same root mean square; their product stays."""
    factor = (_rms(second.weight) / _rms(first.weight)).sqrt()
    first.weight.mul_(factor)
    second.weight.div_(factor)
    if first.bias is not None:
        first.bias.mul_(factor)
    if scales_bias_of_second and second.bias is not None:
        second.bias.div_(factor)


def _rms(weight: torch.Tensor) -> torch.Tensor:
    return weight.float().square().mean().sqrt().clamp(min=1e-12)
