"""A Donut as two ONNX graphs: an encoder that reads a page, and a decoder that writes one token with a cache.

``encoder.onnx``: pixels (documents, 3, height, width) -> for each decoder layer i its keys and values of the page,
``page.i.key`` and ``page.i.value``. ``decoder.onnx``: tokens (documents,), those and the keys and values of what has
been written, ``past.i.key`` and ``past.i.value``, of length 0 in the beginning -> ``logits`` (documents, vocabulary)
and ``present.i.key`` and ``present.i.value``, which are the past of the next step. Keys and values are (documents,
heads, places, width of a head). The graphs hold all weights; whoever has onnxruntime needs nothing else to run them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.models.mbart.modeling_mbart import MBartAttention, MBartDecoderLayer

from benchmark.errors import OutputError, UserError, first_line
from benchmark.models.donut import Donut
from benchmark.models.greedy import heads, supports
from benchmark.models.quantized import int8_layers
from benchmark.progress import quiet
from benchmark.types import Precision

ENCODER, DECODER = "encoder.onnx", "decoder.onnx"
_OPSET = 20
_TABLE, _HEAD = "decoder.embed_tokens.weight", "/head/"
_NEEDED = ("onnx", "onnxruntime")


def check_installed() -> None:
    """Raise `UserError` unless what makes and runs graphs is installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}: pip install 'donutbench[onnx]'")


def names(kind: str, layers: int) -> list[str]:
    """Of the keys and values of ``page``, ``past`` or ``present``, layer by layer."""
    return [f"{kind}.{layer}.{part}" for layer in range(layers) for part in ("key", "value")]


def write_graphs(model: Donut, folder: Path, precision: Precision) -> None:
    """Write both graphs of a model into a folder that is there; ``int8`` ones have the linear layers rounded.

    Raises `UserError` if something that it needs is not installed, or the model has layers without a graph.
    """
    check_installed()
    if int8_layers(model):
        raise UserError("its linear layers are torch's int8 ones, which no graph has: take a model of floats")
    if not supports(model):
        raise UserError("its decoder is not made of MBART's own layers, and has no graph")
    if model.encoder.selection is not None:
        raise UserError("its decoder reads some of the encoder's cells alone, and what chooses them has no graph")
    config: Any = model.encoder.config
    pixels = torch.zeros(2, config.num_channels, *config.image_size)
    encoder, decoder = _Encoder(model), _Step(model)
    page, past, present = (names(kind, len(decoder.decoder.layers)) for kind in ("page", "past", "present"))
    try:
        with quiet(model), torch.no_grad(), _unheard():
            pages = encoder(pixels)
            given = torch.zeros(2, dtype=torch.long), pages, decoder.past(2, 2)
            _write(encoder, (pixels,), ["pixels"], page, folder / ENCODER)
            _write(decoder, given, ["tokens", *page, *past], ["logits", *present], folder / DECODER)
            _share_table(folder / DECODER)
            for path in (folder / ENCODER, folder / DECODER):
                if precision == "int8":
                    _round(path)
                _shorten(path)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
    except Exception as error:  # torch raises a dozen kinds for what it cannot trace
        raise UserError(f"the model has no ONNX graphs: {first_line(error)}") from error


@contextmanager
def _unheard() -> Iterator[None]:
    """Without what exporters say of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _write(module: nn.Module, inputs: tuple[Any, ...], given: list[str], made: list[str], path: Path) -> None:
    torch.onnx.export(
        module.train(False),
        inputs,
        str(path),
        input_names=given,
        output_names=made,
        dynamic_axes={name: _axes(name) for name in (*given, *made)},
        opset_version=_OPSET,
        # The older exporter, by tracing: a second for a small teacher, where the one by torch.export takes twenty.
        dynamo=False,
    )


def _axes(name: str) -> dict[int, str]:
    """Those of an input or output whose length is not fixed."""
    grows = {2: name.partition(".")[0]} if name.startswith(("past.", "present.")) else {}
    return {0: "documents", **grows}


def _share_table(path: Path) -> None:
    """Let a tied head read the table of tokens, of which the exporter has made it a copy, transposed."""
    import onnx
    from onnx.numpy_helper import to_array

    model = onnx.load(path)
    weights = {weight.name: to_array(weight) for weight in model.graph.initializer}
    table = weights[_TABLE]
    for weight in list(model.graph.initializer):
        if weights[weight.name].shape == table.T.shape and np.array_equal(weights[weight.name], table.T):
            model.graph.node.insert(0, onnx.helper.make_node("Transpose", [_TABLE], [weight.name], perm=[1, 0]))
            model.graph.initializer.remove(weight)
    onnx.save(model, path)


def _round(path: Path) -> None:
    """Put weights of one byte into the linear layers of a graph, a scale for each output; the head stays as it is."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    named = [node.name for node in onnx.load(path).graph.node if node.name.startswith(_HEAD)]
    quantize_dynamic(
        path,
        path,
        op_types_to_quantize=["MatMul"],  # among them what it makes of each Gemm
        nodes_to_exclude=[*named, *(f"{name}_MatMul" for name in named)],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )


def _shorten(path: Path) -> None:
    """Number what lies between inputs and outputs: names are a fifth of the graphs of a small model."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    names[""] = ""  # an input that is left out
    for weight in graph.initializer:
        weight.name = names.setdefault(weight.name, f"{len(names):x}")
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            return  # graphs within, which see names of this one
        node.name = node.doc_string = ""
        node.input[:] = [names.setdefault(name, f"{len(names):x}") for name in node.input]
        node.output[:] = [names.setdefault(name, f"{len(names):x}") for name in node.output]
    del graph.value_info[:]
    onnx.save(model, path)


class _Encoder(nn.Module):
    """Pixels -> keys and values of the page, of each decoder layer."""

    def __init__(self, model: Donut) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.project = getattr(model, "enc_to_dec_proj", nn.Identity())
        self.layers = model.decoder.model.decoder.layers

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        memory = self.project(self.encoder(pixel_values=pixels)[0])
        return [
            heads(layer.encoder_attn, project(memory))
            for layer in self.layers
            for project in (layer.encoder_attn.k_proj, layer.encoder_attn.v_proj)
        ]


class _Step(nn.Module):
    """A token of each document, and the keys and values of the page and the past -> logits, and the past after it."""

    def __init__(self, model: Donut) -> None:
        super().__init__()
        self.decoder = model.decoder.model.decoder
        self.head = model.decoder.lm_head

    def past(self, documents: int, tokens: int) -> list[torch.Tensor]:
        """Keys and values of so much, all zeros."""
        own = [layer.self_attn for layer in self.decoder.layers for _ in range(2)]
        return [torch.zeros(documents, attention.num_heads, tokens, attention.head_dim) for attention in own]

    def forward(self, tokens: torch.Tensor, page: list[torch.Tensor], past: list[torch.Tensor]) -> list[torch.Tensor]:
        decoder, place = self.decoder, past[0].shape[2]
        table = decoder.embed_positions
        hidden = decoder.embed_tokens(tokens) + table.weight[table.offset + place]
        hidden = decoder.layernorm_embedding(hidden)
        present: list[torch.Tensor] = []
        for i, layer in enumerate(decoder.layers):
            hidden, *states = _through(layer, hidden, page[2 * i : 2 * i + 2], past[2 * i : 2 * i + 2])
            present += states
        return [self.head(decoder.layer_norm(hidden)), *present]


def _through(
    layer: MBartDecoderLayer, hidden: torch.Tensor, page: list[torch.Tensor], past: list[torch.Tensor]
) -> list[torch.Tensor]:
    """(documents, width) -> the same, and keys and values with those of this token."""
    own, cross = layer.self_attn, layer.encoder_attn
    states = layer.self_attn_layer_norm(hidden).unsqueeze(1)
    new = (heads(own, project(states)) for project in (own.k_proj, own.v_proj))
    present = [torch.cat(pair, 2) for pair in zip(past, new, strict=True)]
    hidden = hidden + _attend(own, states, present)
    hidden = hidden + _attend(cross, layer.encoder_attn_layer_norm(hidden).unsqueeze(1), page)
    hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(layer.final_layer_norm(hidden))))
    return [hidden, *present]


def _attend(attention: MBartAttention, states: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
    """States (documents, 1, width), keys and values -> (documents, width of the model)."""
    keys, values = memory
    shares = (heads(attention, attention.q_proj(states) * attention.scaling) @ keys.transpose(-1, -2)).softmax(-1)
    output: torch.Tensor = attention.out_proj((shares @ values).flatten(1))
    return output
