"""The groups of a Donut, whatever has been cut out of it before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from benchmark.models.donut import Donut
from benchmark.models.factored import FactoredLinear
from benchmark.slicing.groups import Group, Slice, Slices, Stack, cut
from benchmark.slicing.options import Kind

if TYPE_CHECKING:
    from transformers import VisionEncoderDecoderModel

_DECODER = "decoder.model.decoder"


def units_of(model: Donut, kind: Kind) -> list[Group]:
    """All groups of one kind. `ValueError` if the tensors of one do not have the same units."""
    if kind == "layers":
        return [*stacks(model)]
    return [group for group in groups(model) if group.kind == kind]


def groups(model: Donut) -> list[Slices]:
    """All groups of a model. `ValueError` if the tensors of one do not have the same units."""
    parameters = dict(model.named_parameters(remove_duplicate=False))

    def present(parts: Iterable[Slice]) -> tuple[Slice, ...]:
        placed = (_placed(model, part) for part in parts)
        return tuple(p for p in placed if p.parameter in parameters or not p.parameter.endswith(".bias"))

    named = (*_encoder_groups(model), *_decoder_groups(model))
    found = [replace(group, writes=present(group.writes), reads=present(group.reads)) for group in named]
    for group in found:
        for part in group.slices:
            size = parameters[part.parameter].shape[part.dim]
            if size != group.count * part.span * part.copies:
                raise ValueError(f"{part.parameter} has {size} features where {group.name} has {group.count}")
    return found


def _placed(model: Donut, part: Slice) -> Slice:
    """Where it lies in a layer that is a product: `down` has its inputs, `up` its outputs."""
    layer, _, kind = part.parameter.rpartition(".")
    if not isinstance(model.get_submodule(layer), FactoredLinear):
        return part
    factor = "down" if kind == "weight" and part.dim == 1 else "up"
    return replace(part, parameter=f"{layer}.{factor}.{kind}")


def stacks(model: Donut) -> list[Stack]:
    """The layers of the decoder, and the blocks of each stage in pairs of a plain and a shifted window."""
    stages = {f"encoder.encoder.layers.{s}.blocks": stage.blocks for s, stage in enumerate(_stages(model))}
    pairs = [Stack(name, len(blocks) // 2, 2, least=1 - len(blocks) % 2) for name, blocks in stages.items()]
    return [Stack(f"{_DECODER}.layers", len(_layers(model)), 1, least=1), *(pair for pair in pairs if pair.count)]


def keep_decoder_layers(model: VisionEncoderDecoderModel, layers: Sequence[int]) -> None:
    """Leave the decoder these of its layers alone, in place, in their order; the config of the model says so."""
    assert isinstance(model, Donut)
    cut(model, {stacks(model)[0]: layers})


def _stages(model: Donut) -> Any:
    return model.encoder.encoder.layers


def _layers(model: Donut) -> Any:
    return model.decoder.model.decoder.layers


def _outputs(name: str, span: int = 1) -> tuple[Slice, ...]:
    """What a linear layer, or a convolution, writes."""
    return Slice(f"{name}.weight", 0, span), Slice(f"{name}.bias", 0, span)


def _inputs(name: str, span: int = 1, copies: int = 1) -> tuple[Slice, ...]:
    return (Slice(f"{name}.weight", 1, span, copies),)


def _norm(name: str, copies: int = 1) -> tuple[Slice, ...]:
    return Slice(f"{name}.weight", 0, 1, copies), Slice(f"{name}.bias", 0, 1, copies)


def _encoder_groups(model: Donut) -> Iterator[Slices]:
    stages = _stages(model)
    for s, stage in enumerate(stages):
        for b, block in enumerate(stage.blocks):
            yield from _block_groups(f"encoder.encoder.layers.{s}.blocks.{b}", block)
        yield _stage_width(model, s)


def _block_groups(place: str, block: Any) -> Iterator[Slices]:
    ffn = _outputs(f"{place}.intermediate.dense"), _inputs(f"{place}.output.dense")
    yield Slices(f"{place}.ffn", "ffn", block.intermediate.dense.out_features, *ffn)
    attention = block.attention.self
    width = attention.attention_head_size
    made = (p for name in ("query", "key", "value") for p in _outputs(f"{place}.attention.self.{name}", width))
    bias = Slice(f"{place}.attention.self.relative_position_bias_table", 1)
    used = _inputs(f"{place}.attention.output.dense", width)
    yield Slices(f"{place}.heads", "heads", attention.num_attention_heads, (*made, bias), used)


def _stage_width(model: Donut, s: int) -> Slices:
    """The channels of the cells in a stage, from what writes the first of them to what reads the last."""
    stages, place = _stages(model), f"encoder.encoder.layers.{s}"
    if s:
        writes = [*_outputs(f"encoder.encoder.layers.{s - 1}.downsample.reduction")]
    else:
        writes = [*_outputs("encoder.embeddings.patch_embeddings.projection"), *_norm("encoder.embeddings.norm")]
    reads: list[Slice] = []
    for b in range(len(stages[s].blocks)):
        block = f"{place}.blocks.{b}"
        writes += [*_outputs(f"{block}.attention.output.dense"), *_outputs(f"{block}.output.dense")]
        reads += [*_norm(f"{block}.layernorm_before"), *_norm(f"{block}.layernorm_after")]
        reads += [p for name in ("query", "key", "value") for p in _inputs(f"{block}.attention.self.{name}")]
        reads += _inputs(f"{block}.intermediate.dense")
    if s < len(stages) - 1:
        reads += [*_norm(f"{place}.downsample.norm", copies=4), *_inputs(f"{place}.downsample.reduction", copies=4)]
    else:
        writes += _bridge_writes(model)
        reads += _memory_reads(model)
    units = stages[s].blocks[0].layernorm_before.weight.shape[0]
    return Slices(f"{place}.width", "width", units, tuple(writes), tuple(reads))


def _bridge_writes(model: Donut) -> list[Slice]:
    bridge, writes = model.encoder.bridge, list[Slice]()
    if bridge is not None and bridge.norm is not None:
        writes += [*_norm("encoder.bridge.norm"), Slice("encoder.bridge.rows", 2), Slice("encoder.bridge.columns", 2)]
    if bridge is not None and bridge.adapter is not None:
        writes += _outputs("encoder.bridge.adapter.up")
    return writes


def _memory_reads(model: Donut) -> list[Slice]:
    """What reads the last channels of the encoder."""
    bridge = model.encoder.bridge
    reads = [*_inputs("encoder.bridge.adapter.down")] if bridge is not None and bridge.adapter is not None else []
    return reads + ([*_inputs("enc_to_dec_proj")] if _is_projected(model) else _cross_inputs(model))


def _is_projected(model: Donut) -> bool:
    return hasattr(model, "enc_to_dec_proj")


def _cross_inputs(model: Donut) -> list[Slice]:
    layers = range(len(_layers(model)))
    return [p for i in layers for name in ("k_proj", "v_proj") for p in _inputs(f"{_layer(i)}.encoder_attn.{name}")]


def _layer(number: int) -> str:
    return f"{_DECODER}.layers.{number}"


def _decoder_groups(model: Donut) -> Iterator[Slices]:
    decoder: Any = model.decoder.model.decoder
    writes = [
        *(Slice(f"{_DECODER}.{table}.weight", 1) for table in ("embed_tokens", "embed_positions")),
        *_norm(f"{_DECODER}.layernorm_embedding"),
    ]
    reads = [*_norm(f"{_DECODER}.layer_norm")]
    if model.decoder.lm_head.weight is not decoder.embed_tokens.weight:
        reads += _inputs("decoder.lm_head")
    for i, layer in enumerate(decoder.layers):
        place = _layer(i)
        yield Slices(f"{place}.ffn", "ffn", layer.fc1.out_features, _outputs(f"{place}.fc1"), _inputs(f"{place}.fc2"))
        for name, attention in (("self_attn", layer.self_attn), ("encoder_attn", layer.encoder_attn)):
            yield _attention_heads(f"{place}.{name}", attention)
            writes += _outputs(f"{place}.{name}.out_proj")
            reads += _norm(f"{place}.{name}_layer_norm")
            of_decoder = ("q_proj", "k_proj", "v_proj") if name == "self_attn" else ("q_proj",)
            reads += [p for projection in of_decoder for p in _inputs(f"{place}.{name}.{projection}")]
        writes += _outputs(f"{place}.fc2")
        reads += [*_norm(f"{place}.final_layer_norm"), *_inputs(f"{place}.fc1")]
    yield Slices("decoder.width", "width", decoder.embed_tokens.embedding_dim, tuple(writes), tuple(reads))
    if _is_projected(model):
        units = model.enc_to_dec_proj.out_features
        yield Slices("memory.width", "width", units, _outputs("enc_to_dec_proj"), tuple(_cross_inputs(model)))


def _attention_heads(place: str, attention: Any) -> Slices:
    width = attention.head_dim
    made = tuple(p for name in ("q_proj", "k_proj", "v_proj") for p in _outputs(f"{place}.{name}", width))
    return Slices(f"{place}.heads", "heads", attention.num_heads, made, _inputs(f"{place}.out_proj", width))
