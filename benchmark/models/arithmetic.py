"""Multiply-accumulates of a Donut by the shapes of its weights alone: what `count_macs` counts, in no time.

Whoever looks for a model of some cost asks for those of many.
"""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from benchmark.models.donut import Donut
from benchmark.models.macs import Macs

Grid = tuple[int, int]
"""Rows and columns of cells."""


def donut_macs(model: Donut, page: tuple[int, int], tokens: int) -> Macs:
    """Those of reading a page (height, width) and writing `tokens` tokens with a cache, prompt included.

    Weights may lie on any device, ``meta`` too. The same is counted as by `count_macs`.
    """
    encoder, (rows, columns) = _encoder(model, page)
    selection = model.encoder.selection
    cells = rows * columns if selection is None else selection.count(rows * columns)
    return Macs(encoder, _decoder(model, cells, tokens))


def _encoder(model: Donut, page: tuple[int, int]) -> tuple[int, Grid]:
    patches: Any = model.encoder.embeddings.patch_embeddings
    rows, columns = (-(-length // size) for length, size in zip(page, patches.patch_size, strict=True))
    macs = rows * columns * _weights(patches.projection)
    for stage in cast(Any, model.encoder.encoder.layers):
        macs += sum(_block(block, (rows, columns)) for block in stage.blocks)
        if stage.downsample is not None:
            rows, columns = -(-rows // 2), -(-columns // 2)
            macs += rows * columns * _weights(stage.downsample.reduction)
    adapter = None if model.encoder.bridge is None else model.encoder.bridge.adapter
    if adapter is not None:
        macs += rows * columns * _weights(adapter.down, adapter.up)
    return macs, (rows, columns)


def _block(block: Any, grid: Grid) -> int:
    """For attention, a grid that is no multiple of the window is padded."""
    window = block.window_size
    padded = -(-grid[0] // window) * -(-grid[1] // window) * window**2
    attention = block.attention.self
    linear = _weights(attention.query, attention.key, attention.value, block.attention.output.dense)
    products = 2 * window**2 * attention.query.out_features
    ffn = _weights(block.intermediate.dense, block.output.dense)
    return int(padded * (linear + products) + grid[0] * grid[1] * ffn)


def _decoder(model: Donut, cells: int, tokens: int) -> int:
    """Token n attends to n tokens and to all cells, whose keys and values are made once."""
    macs = tokens * _weights(model.decoder.lm_head)
    if hasattr(model, "enc_to_dec_proj"):
        macs += cells * _weights(model.enc_to_dec_proj)
    for layer in cast(Any, model.decoder.model.decoder.layers):
        own, cross = layer.self_attn, layer.encoder_attn
        each = _weights(own.q_proj, own.k_proj, own.v_proj, own.out_proj, cross.q_proj, cross.out_proj)
        macs += tokens * (each + _weights(layer.fc1, layer.fc2)) + cells * _weights(cross.k_proj, cross.v_proj)
        macs += own.q_proj.out_features * tokens * (tokens + 1) + 2 * cross.q_proj.out_features * tokens * cells
    return macs


def _weights(*layers: nn.Module) -> int:
    """Those that are multiplied: of a product both, of biases none."""
    return sum(weight.numel() for layer in layers for weight in layer.parameters() if weight.dim() > 1)
