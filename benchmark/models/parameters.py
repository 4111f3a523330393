"""Which parameters are embeddings, which are weights that pruning may take.

Table 1 of the paper counts the token table as embedding. Tables of positions are counted with it: they are looked up,
not multiplied. What is prunable are the matrices and kernels of linear and convolutional layers, of floats or int8;
biases, norms and relative position biases are never pruned, but they count among the non-embedding parameters. The
scales of int8 weights are no parameters: a model has as many as before it was quantized.
"""

from __future__ import annotations

from torch import nn

from benchmark.models.quantized import Int8Linear


def embeddings(model: nn.Module) -> dict[str, nn.Parameter]:
    """Token and position tables, by name; a tied output head is the token table and counts once."""
    tables = {
        id(module.weight): f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
    named = dict(model.named_parameters())
    return {name: p for name, p in named.items() if id(p) in tables or name.endswith(("bridge.rows", "bridge.columns"))}


def non_embeddings(model: nn.Module) -> dict[str, nn.Parameter]:
    tables = {id(p) for p in embeddings(model).values()}
    return {name: p for name, p in model.named_parameters() if id(p) not in tables}


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Weights of linear and convolutional layers that are not a (tied) embedding, by name, in a fixed order."""
    kinds = (nn.Linear, Int8Linear, nn.Conv1d, nn.Conv2d)
    layers = {id(module.weight) for module in model.modules() if isinstance(module, kinds)}
    return {name: p for name, p in sorted(non_embeddings(model).items()) if id(p) in layers}
