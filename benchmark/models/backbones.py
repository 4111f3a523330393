"""The pretrained parts of DONUT-small (paper, section 2.2): timm's Swin-T as a DonutSwin, layers of a BART in an MBART.

Both are read from safetensors files; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers import DonutSwinModel, MBartForCausalLM

from benchmark.errors import UserError, first_line

State = dict[str, torch.Tensor]

SWIN_T = "swin_tiny_patch4_window7_224"
"""timm's name of the architecture."""
_WEIGHTS = "model.safetensors"
_SWIN = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
_OFFSET = 2
"""Rows of a table of positions that stand before the first position, in BART as in MBART."""


def take_swin(encoder: DonutSwinModel, folder: Path) -> None:
    """Give an encoder of Swin-T's sizes the weights that timm has of it, in place.

    Tables of relative positions become those of the encoder's window. Raises `UserError` for weights of another model.
    """
    import timm
    from timm.models.swin_transformer import checkpoint_filter_fn

    config: Any = encoder.config
    model = timm.create_model(
        SWIN_T, pretrained=False, num_classes=0, img_size=tuple(config.image_size), window_size=config.window_size
    )
    try:
        found = checkpoint_filter_fn(_read(folder), model)
        own = model.state_dict()
        weights = {name: value for name, value in found.items() if name in own}
        _take(encoder, donut_swin(weights))
    except (RuntimeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{folder} has no weights of {SWIN_T} as timm names them: {first_line(error)}") from error


def donut_swin(timm: Mapping[str, torch.Tensor]) -> State:
    """timm's names of a Swin's weights -> those of a DonutSwin, which has no norm after the last stage and no head."""
    state: State = {}
    for name, value in timm.items():
        first, _, rest = name.partition(".")
        if first == "patch_embed":
            part = rest.replace("proj", "patch_embeddings.projection")
            state[f"embeddings.{part}"] = value
        elif first == "layers":
            state |= dict(_of_stage(rest, value))
    return state


def _of_stage(name: str, value: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """One weight of a stage; queries, keys and values lie in one."""
    stage, _, rest = name.partition(".")
    if rest.startswith("downsample"):
        # There it begins a stage, here it ends the one before.
        yield f"encoder.layers.{int(stage) - 1}.{rest}", value
        return
    _, block, inner = rest.split(".", 2)
    place = f"encoder.layers.{stage}.blocks.{block}"
    module, _, kind = inner.rpartition(".")
    if module == "attn.qkv":
        for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
            yield f"{place}.attention.self.{part}.{kind}", third
    elif kind == "relative_position_bias_table":
        yield f"{place}.attention.self.{kind}", value
    elif module in _SWIN:
        yield f"{place}.{_SWIN[module]}.{kind}", value


def take_bart(decoder: MBartForCausalLM, folder: Path) -> None:
    """Give a decoder layers of a BART's, in place: the first, the last, and as many between as it has room for.

    Its positions are stretched to the decoder's. Words have no place: another vocabulary stands for other words. A BART
    puts its norms behind what an MBART puts them before, so this is where a training begins and not the same function.
    Raises `UserError` for weights of another model.
    """
    marker = "decoder.layers."
    found = {name[name.index("decoder.") :]: value for name, value in _read(folder).items() if "decoder." in name}
    count = 1 + max((int(name.split(".")[2]) for name in found if name.startswith(marker)), default=-1)
    layers: Any = decoder.model.decoder.layers
    if count < len(layers):
        raise UserError(f"{folder} has {count} layers of a BART's decoder, and {len(layers)} are needed")
    chosen = torch.linspace(0, count - 1, len(layers)).round().int().tolist()
    state = {
        f"layers.{place}.{name}": found[f"{marker}{layer}.{name}"]
        for place, layer in enumerate(chosen)
        for name in layers[0].state_dict()
        if f"{marker}{layer}.{name}" in found
    }
    core: Any = decoder.model.decoder
    positions = core.embed_positions.weight
    try:
        state["embed_positions.weight"] = stretched(found["decoder.embed_positions.weight"], len(positions))
        for kind in ("weight", "bias"):
            state[f"layernorm_embedding.{kind}"] = found[f"decoder.layernorm_embedding.{kind}"]
        _take(core, state, kept=("embed_tokens.", "layer_norm."))
    except (RuntimeError, KeyError) as error:
        raise UserError(f"{folder} has no weights of such a BART: {first_line(error)}") from error


def stretched(positions: torch.Tensor, rows: int) -> torch.Tensor:
    """A table of positions with `rows` rows, (rows, width): the offset's as they are, the others interpolated."""
    first, rest = positions[:_OFFSET], positions[_OFFSET:].T[None]
    between = nn.functional.interpolate(rest, size=rows - _OFFSET, mode="linear", align_corners=True)
    return torch.cat([first, between[0].T])


def _take(model: nn.Module, state: State, kept: tuple[str, ...] = ("bridge.",)) -> None:
    """Load weights; only those that begin as `kept` does may stay what they were. `KeyError` if others would."""
    buffers = {name for name, _ in model.named_buffers()}
    report: Any = model.load_state_dict(state, strict=False)
    missing = [name for name in report.missing_keys if not name.startswith(kept) and name not in buffers]
    if missing or report.unexpected_keys:
        raise KeyError(f"{(missing or report.unexpected_keys)[0]} is {'missing' if missing else 'unknown'}")


def _read(folder: Path) -> State:
    """The weights of a folder in float32. Raises `UserError` if there are none that can be read."""
    path = folder / _WEIGHTS
    if not path.is_file():
        raise UserError(f"{folder} has no {_WEIGHTS}; weights in a pickle are not opened here")
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise UserError(f"cannot read {path}: {first_line(error)}") from error
