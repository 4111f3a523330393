"""Greedy decoding of a Donut: the tokens of `generate`, from a bare loop.

`generate` spends much of a step on a small decoder in Python, grows its caches by copying them, and keeps documents
that have ended in the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard

import torch
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers import MBartForCausalLM, VisionEncoderDecoderModel
from transformers.models.mbart.modeling_mbart import MBartAttention, MBartDecoderLayer

from benchmark.models.quantized import Int8Linear, joined

_COMPACT_AT = 0.8
"""Ended documents are dropped once at most this share of the rows is alive: dropping copies the caches."""

_Projection = Callable[[torch.Tensor], torch.Tensor]


def supports(model: nn.Module) -> TypeGuard[VisionEncoderDecoderModel]:
    """Whether `greedy` knows this model: its decoder is an `MBartForCausalLM` made of MBART's own layers.

    Layers may differ in heads and widths, and any module may stand for a projection.
    """
    if not isinstance(model, VisionEncoderDecoderModel) or type(model.decoder) is not MBartForCausalLM:
        return False
    layers = model.decoder.model.decoder.layers
    attentions = [attention for layer in layers for attention in (layer.self_attn, layer.encoder_attn)]
    return {type(layer) for layer in layers} <= {MBartDecoderLayer} and {*map(type, attentions)} <= {MBartAttention}


@torch.inference_mode()
def greedy(model: VisionEncoderDecoderModel, pixels: torch.Tensor, start: int, end: int, longest: int) -> torch.Tensor:
    """The most probable token at each step, as `generate(..., max_length=longest)` finds it.

    `pixels` (documents, channels, height, width) is what the encoder reads. `start` is the first input of the
    decoder and counts towards `longest`. Returns (documents, longest - 1) tokens, `end` from its first
    occurrence on. The model has to be one that `supports` accepts, in evaluation mode.
    """
    return written_by(_Decoder(model, pixels, longest), pixels, start, end, longest)


class Decoder(Protocol):
    """A decoder in the middle of a batch of documents."""

    def step(self, tokens: torch.Tensor, step: int) -> torch.Tensor:
        """The tokens (documents) that follow the tokens at position `step`."""
        ...

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all documents but these."""
        ...


def written_by(decoder: Decoder, pixels: torch.Tensor, start: int, end: int, longest: int) -> torch.Tensor:
    """What `greedy` returns, of any decoder that has read these pages."""
    rows = torch.arange(len(pixels), device=pixels.device)
    tokens = torch.full_like(rows, start)
    ended = torch.zeros_like(rows, dtype=torch.bool)
    written = torch.full((len(rows), longest - 1), end, device=pixels.device)
    for step in range(longest - 1):
        tokens = decoder.step(tokens, step).masked_fill_(ended, end)
        written[rows, step] = tokens
        ended = tokens == end
        alive = (~ended).nonzero()[:, 0]
        if not len(alive):
            break
        if len(alive) <= _COMPACT_AT * len(rows):
            rows, tokens, ended = rows[alive], tokens[alive], ended[alive]
            decoder.keep(alive)
    return written


class _Decoder:
    """An MBART decoder in the middle of a batch: hidden states are (documents, width), one token a step."""

    def __init__(self, model: VisionEncoderDecoderModel, pixels: torch.Tensor, longest: int) -> None:
        memory = model.encoder(pixel_values=pixels)[0]
        if hasattr(model, "enc_to_dec_proj"):
            memory = model.enc_to_dec_proj(memory)
        self._head = model.decoder.lm_head
        self._decoder = model.decoder.model.decoder
        table = self._decoder.embed_positions
        self._positions = table.weight[table.offset :]
        self._layers = [_Layer(layer, memory, longest) for layer in self._decoder.layers]

    def step(self, tokens: torch.Tensor, step: int) -> torch.Tensor:
        hidden = self._decoder.embed_tokens(tokens) + self._positions[step]
        hidden = self._decoder.layernorm_embedding(hidden)
        for layer in self._layers:
            hidden = layer.step(hidden, step)
        following: torch.Tensor = self._head(self._decoder.layer_norm(hidden)).argmax(-1)
        return following

    def keep(self, rows: torch.Tensor) -> None:
        for layer in self._layers:
            layer.keep(rows)


class _Layer:
    """A decoder layer with its keys and values, of the page and of what is written.

    Both are (2, documents, heads, places, width of a head): keys, then values.
    """

    def __init__(self, layer: MBartDecoderLayer, memory: torch.Tensor, longest: int) -> None:
        self._layer = layer
        own, cross = layer.self_attn, layer.encoder_attn
        self._project = _joined(own.q_proj, own.k_proj, own.v_proj)
        self._page = torch.stack([heads(cross, cross.k_proj(memory)), heads(cross, cross.v_proj(memory))])
        self._past = memory.new_empty(2, len(memory), own.num_heads, longest, own.head_dim)

    def step(self, hidden: torch.Tensor, step: int) -> torch.Tensor:
        """(documents, width) at position `step` -> the same shape."""
        layer = self._layer
        hidden = hidden + self._read_past(layer.self_attn_layer_norm(hidden), step)
        hidden = hidden + self._read_page(layer.encoder_attn_layer_norm(hidden))
        inner = layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden)))
        output: torch.Tensor = hidden + layer.fc2(inner)
        return output

    def keep(self, rows: torch.Tensor) -> None:
        self._page, self._past = self._page[:, rows], self._past[:, rows]

    def _read_past(self, hidden: torch.Tensor, step: int) -> torch.Tensor:
        attention = self._layer.self_attn
        new = self._project(hidden).view(len(hidden), 3, -1, 1, attention.head_dim).transpose(0, 1)
        self._past[:, :, :, step : step + 1] = new[1:]
        return _attend(attention, new[0], self._past[:, :, :, : step + 1])

    def _read_page(self, hidden: torch.Tensor) -> torch.Tensor:
        attention = self._layer.encoder_attn
        return _attend(attention, heads(attention, attention.q_proj(hidden).unsqueeze(1)), self._page)


def _attend(attention: MBartAttention, query: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """Query (documents, heads, 1, width of a head), keys and values -> (documents, width of the model)."""
    keys, values = memory
    read = scaled_dot_product_attention(query, keys, values, scale=attention.scaling)
    output: torch.Tensor = attention.out_proj(read.flatten(1))
    return output


def heads(attention: MBartAttention, states: torch.Tensor) -> torch.Tensor:
    """(documents, places, heads * width) -> (documents, heads, places, width), whatever the heads."""
    return states.view(*states.shape[:-1], -1, attention.head_dim).transpose(1, 2)


def _joined(*projections: nn.Module) -> _Projection:
    """One projection that writes side by side what these write.

    Plain linear layers become one product, and so do int8 ones; those with a hook do not, for it may make new weights
    at each call (`torch.nn.utils.prune`), or add to what they write (LoRA).
    """
    unhooked = [part for part in projections if not (part._forward_pre_hooks or part._forward_hooks)]
    int8 = [part for part in unhooked if type(part) is Int8Linear]
    if len(int8) == len(projections):
        return joined(int8)
    plain = [part for part in unhooked if type(part) is nn.Linear]
    if len(plain) < len(projections):
        return lambda states: torch.cat([part(states) for part in projections], -1)
    weight = torch.cat([part.weight for part in plain])
    bias = torch.cat([part.bias for part in plain])
    return lambda states: linear(states, weight, bias)
