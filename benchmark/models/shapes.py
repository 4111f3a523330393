"""Models whose tensors are smaller than their architecture says: what is saved of that, and how it is put back.

The config of such a model has the architecture that it was cut from, and under ``shapes`` the shape of every parameter
that differs: data, which any reader may check. Head widths, scales and what lies between encoder and decoder follow
from the architecture; numbers of heads and of features follow from the shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers.models.donut.modeling_donut_swin import DonutSwinSelfAttention
from transformers.models.mbart.modeling_mbart import MBartAttention

from benchmark.models.factored import ranks_of

if TYPE_CHECKING:
    from benchmark.models.donut import Donut

Shapes = Mapping[str, Sequence[int]]


def take_shapes(model: nn.Module, shapes: Shapes) -> None:
    """Give parameters these shapes, in place; their values are not set. `ValueError` for one that cannot be cut so."""
    if not isinstance(shapes, Mapping):
        raise ValueError(f"its config has {shapes!r} for shapes")
    parameters, smaller = dict(model.named_parameters()), dict[nn.Parameter, nn.Parameter]()
    for name, shape in shapes.items():
        parameter = parameters.get(name)
        if parameter is None:
            raise ValueError(f"its config gives a shape to {name}, which the model does not have")
        if not _is_within(shape, parameter.shape):
            raise ValueError(f"its config gives {name} the shape {shape}, cut from {list(parameter.shape)}")
        smaller[parameter] = nn.Parameter(parameter.new_empty(tuple(shape)))
    exchange(model, smaller)
    derive_sizes(model)


def _is_within(shape: Sequence[int], whole: torch.Size) -> bool:
    """Whether this, which any file may hold, is a shape that can be cut from the whole."""
    if not isinstance(shape, list) or len(shape) != len(whole):
        return False
    return all(isinstance(n, int) and 0 < n <= most for n, most in zip(shape, whole, strict=True))


def exchange(model: nn.Module, new: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """Put parameters in the places of others, wherever those are: tied weights stay tied."""
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None and old in new:
                module._parameters[name] = new[old]


def derive_sizes(model: nn.Module) -> None:
    """Let every module say how many features and heads it has. `ValueError` for a head that is cut in two."""
    for name, module in reversed([*model.named_modules()]):  # layers before the attention that they are parts of
        if isinstance(module, nn.Linear):
            module.out_features, module.in_features = module.weight.shape
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = tuple(module.weight.shape)
        elif isinstance(module, nn.Conv2d):
            module.out_channels = module.weight.shape[0]
        elif isinstance(module, nn.Embedding):
            module.embedding_dim = module.weight.shape[1]
        elif isinstance(module, DonutSwinSelfAttention):
            module.all_head_size = module.query.out_features
            module.num_attention_heads = _heads(name, module.all_head_size, module.attention_head_size)
        elif isinstance(module, MBartAttention):
            module.num_heads = _heads(name, module.q_proj.out_features, module.head_dim)


def _heads(name: str, features: int, width: int) -> int:
    if features % width:
        raise ValueError(f"{name} has {features} features, which are no heads of {width}")
    return int(features // width)


def record_shapes(model: Donut) -> None:
    """Let the config say what the model is: as `transformers` says it where it can, by data of ours where it cannot.

    That is the rank of each product (``factored``) and the shapes of what is cut (``shapes``).
    """
    encoder, decoder = model.encoder, cast(Any, model.decoder.model.decoder)
    encoder.config.depths = [len(stage.blocks) for stage in cast(Any, encoder.encoder.layers)]
    model.decoder.config.decoder_layers = len(decoder.layers)
    widths = {layer.fc1.out_features for layer in decoder.layers}
    if len(widths) == 1:
        model.decoder.config.decoder_ffn_dim = widths.pop()
    ratio = _mlp_ratio(model)
    if ratio is not None:
        encoder.config.mlp_ratio = ratio
    model.config.factored, model.config.shapes = ranks_of(model), {}
    whole = {name: parameter.shape for name, parameter in sketched(model).named_parameters()}
    shapes = {name: list(p.shape) for name, p in model.named_parameters() if p.shape != whole[name]}
    model.config.shapes = shapes
    for name in ("factored", "shapes"):
        if not getattr(model.config, name):
            delattr(model.config, name)


def _mlp_ratio(model: Donut) -> float | None:
    """The one ratio that gives every block of the encoder its FFN, if there is one."""
    stages = cast(Any, model.encoder.encoder.layers)
    widths = [(stage.dim, block.intermediate.dense.out_features) for stage in stages for block in stage.blocks]
    ratio = float(widths[0][1] / widths[0][0])
    return ratio if all(int(ratio * dim) == ffn for dim, ffn in widths) else None


def check_shapes(model: Donut) -> None:
    """Raise `ValueError` if the tensors of a model do not fit together; nothing is computed."""
    sketch = sketched(model)
    patches = cast(Any, sketch.encoder.embeddings.patch_embeddings)
    page = [cells * size for cells, size in zip(patches.grid_size, patches.patch_size, strict=True)]
    pixels = torch.zeros(1, patches.projection.in_channels, *page, device="meta")
    try:
        sketch(pixel_values=pixels, decoder_input_ids=torch.zeros(1, 2, dtype=torch.long, device="meta"))
    except RuntimeError as error:
        raise ValueError(f"the shapes in its config do not fit together: {error}") from error


def sketched(model: Donut) -> Donut:
    """What the config of a model describes, without weights: shapes and costs can be asked, and nothing computed."""
    with torch.device("meta"):
        sketch = type(model)(deepcopy(model.config))
    sketch.decoder.set_attn_implementation("eager")  # the others look at values to choose a kernel
    return sketch
