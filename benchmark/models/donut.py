"""Donut as a `transformers` model, with what the smaller scales and DONUT-small need between encoder and decoder.

A published Donut checkpoint has no bridge and loads here unchanged.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn
from transformers import (
    DonutSwinConfig,
    DonutSwinModel,
    MBartConfig,
    MBartForCausalLM,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)

from benchmark.errors import UserError
from benchmark.models.cells import Selection
from benchmark.models.factored import take_factored
from benchmark.models.quantized import int8_layers, take_int8
from benchmark.models.runtime import check_runtime, runtime_of
from benchmark.models.shapes import record_shapes, take_shapes
from benchmark.models.vocabulary import take_rows
from benchmark.progress import silent
from benchmark.scales import Architecture, Scale


def donut_of(model: object, how: str) -> Donut:
    """What a part of a strategy has made. Raises `TypeError`, which begins with `how` it came, if that is no Donut."""
    if not isinstance(model, Donut):
        raise TypeError(f"{how} a {type(model).__name__}, not a Donut")
    return model


class Adapter(nn.Module):
    """The paper's adapter bottleneck (section 2.2, after Houlsby et al. 2019): down, GELU, up, residual."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(documents, cells, width) -> the same shape."""
        adapted: torch.Tensor = cells + self.up(nn.functional.gelu(self.down(cells)))
        return adapted


class Bridge(nn.Module):
    """Encoder output -> decoder memory: a final norm and the row and column of each cell, an adapter, or both.

    A Swin of few layers hardly knows where on the page a cell lies, and its residual stream leaves it without a norm;
    `use_absolute_embeddings` of DonutSwin is off by one position and cannot be used.
    """

    def __init__(self, width: int, rows: int = 0, columns: int = 0, bottleneck: int | None = None) -> None:
        super().__init__()
        placed = bool(rows and columns)
        self.norm = nn.LayerNorm(width) if placed else None
        self.rows = nn.Parameter(torch.randn(rows, 1, width) * 0.5) if placed else None
        self.columns = nn.Parameter(torch.randn(1, columns, width) * 0.5) if placed else None
        self.adapter = Adapter(width, bottleneck) if bottleneck else None

    def forward(self, cells: torch.Tensor) -> torch.Tensor:
        """(documents, rows * columns, width) -> the same shape."""
        if self.norm is not None and self.rows is not None and self.columns is not None:
            cells = self.norm(cells) + (self.rows + self.columns).flatten(0, 1)
        return cells if self.adapter is None else self.adapter(cells)


class DonutEncoder(DonutSwinModel):
    """A DonutSwin; with `config.bridge` its output has passed the bridge, with `config.selection` some cells are left.

    What is left are the same cells of the same page for whoever reads it.
    """

    def __init__(self, config: DonutSwinConfig) -> None:
        super().__init__(config, add_pooling_layer=False)
        options: dict[str, Any] | None = getattr(config, "bridge", None)
        self.bridge = Bridge(config.hidden_size, **options) if options else None
        choice: dict[str, Any] | None = getattr(config, "selection", None)
        self.selection = Selection(**choice) if choice else None

    def select(self, cells: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Of the cells (documents, cells, width) of these pages those that are left, in their order."""
        if self.selection is None:
            return cells
        size = self.config.patch_size * 2 ** (len(self.config.depths) - 1)
        places = self.selection.places(pixels, size).unsqueeze(-1)
        return cells.gather(1, places.expand(-1, -1, cells.shape[-1]))

    def forward(self, pixel_values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """See `DonutSwinModel.forward`."""
        output = super().forward(pixel_values, *args, **{**kwargs, "return_dict": True})
        if self.bridge is not None:
            output.last_hidden_state = self.bridge(output.last_hidden_state)
        output.last_hidden_state = self.select(output.last_hidden_state, pixel_values)
        return output


class Donut(VisionEncoderDecoderModel):
    """`VisionEncoderDecoderModel` of a `DonutEncoder` and an `MBartForCausalLM`.

    `config.factored` makes products of its linear layers, if any, and `config.shapes` cuts its parameters.
    `config.kept_tokens` says which rows its table of tokens has, if not all.
    The layers of `config.int8` are int8 ones. `config.runtime` says what reads for it, if torch does not.
    """

    encoder: DonutEncoder
    decoder: MBartForCausalLM

    def __init__(self, config: VisionEncoderDecoderConfig) -> None:
        encoder, decoder = cast(DonutSwinConfig, config.encoder), cast(MBartConfig, config.decoder)
        super().__init__(config, encoder=DonutEncoder(encoder), decoder=MBartForCausalLM(decoder))
        take_factored(self, getattr(config, "factored", {}))
        if (kept := getattr(config, "kept_tokens", None)) is not None:
            take_rows(self, kept, range(decoder.vocab_size))
        take_shapes(self, getattr(config, "shapes", {}))
        take_int8(self, getattr(config, "int8", None))
        check_runtime(self, getattr(config, "runtime", None))

    @property
    def longest(self) -> int:
        """The most tokens that can be written: what the table of positions holds."""
        return int(self.decoder.config.max_position_embeddings)


def beyond_transformers(model: Donut) -> str | None:
    """What of a model `VisionEncoderDecoderModel` cannot express, in a few words; None if it can load it."""
    if (bridge := model.encoder.bridge) is not None:
        parts = [
            *(["a norm and the places of the cells"] if bridge.norm else []),
            *(["an adapter"] if bridge.adapter else []),
        ]
        return f"between its encoder and its decoder lie {' and '.join(parts)}"
    if getattr(model.config, "factored", {}):
        return "some of its linear layers are products of two"
    if model.encoder.selection is not None:
        return "its decoder reads some of the encoder's cells alone"
    if getattr(model.config, "kept_tokens", None):
        return "its table of tokens has rows for some of them alone"
    if getattr(model.config, "shapes", {}):
        return "its layers differ in what was cut out of them"
    if int8_layers(model):
        return "its linear layers are int8"
    if precision := runtime_of(model):
        return f"onnxruntime computes it, in {precision}"
    return None


def build(scale: Scale, architecture: Architecture, vocabulary: int, seed: int) -> Donut:
    """A freshly initialised Donut of these sizes, for `vocabulary` tokens."""
    torch.manual_seed(seed)
    return Donut(configuration(scale, architecture, vocabulary))


def configuration(scale: Scale, architecture: Architecture, vocabulary: int) -> VisionEncoderDecoderConfig:
    encoder = DonutSwinConfig(
        image_size=[scale.height, scale.width],
        patch_size=scale.patch,
        embed_dim=architecture.embed_dim,
        depths=list(architecture.depths),
        num_heads=list(architecture.encoder_heads),
        window_size=scale.window,
        drop_path_rate=0.0,
        initializer_range=scale.initial_std,
    )
    places = dict(zip(("rows", "columns"), scale.grid, strict=True)) if scale.bridge else {}
    if places or architecture.bottleneck:
        encoder.bridge = {**places, "bottleneck": architecture.bottleneck}
    decoder = MBartConfig(  # type: ignore[call-arg] # options of every config are not in its signature
        vocab_size=vocabulary,
        d_model=architecture.decoder_width,
        decoder_layers=architecture.decoder_layers,
        decoder_ffn_dim=architecture.decoder_ffn,
        decoder_attention_heads=architecture.decoder_heads,
        max_position_embeddings=scale.max_tokens,
        init_std=scale.initial_std,
        scale_embedding=True,
        is_decoder=True,
        is_encoder_decoder=False,
        add_cross_attention=True,
        dropout=0.0,
        forced_eos_token_id=None,
    )
    return cast(VisionEncoderDecoderConfig, VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder))


def fit_vocabulary(model: Donut, size: int, seed: int = 0) -> Donut:
    """Give the decoder `size` tokens, in place: those of data sets that it has not seen yet begin at the mean of all.

    Hewitt 2021. Drawn from nothing, one new prompt took prune-finetune from 0.69 to 0.20 on receipts. What a token
    begins with depends on the model and the seed alone, so that a model loaded twice is the same model.
    Raises `UserError` for a model that holds some tokens of its vocabulary alone: it was made for one corpus.
    """
    if kept := getattr(model.config, "kept_tokens", None):
        if model.decoder.config.vocab_size < size:
            raise UserError(f"a model that was trimmed to {len(kept)} tokens takes no new ones, and there are {size}")
        return model
    if model.decoder.get_input_embeddings().weight.shape[0] < size:
        with torch.random.fork_rng(), silent():
            torch.manual_seed(seed)
            model.decoder.resize_token_embeddings(size, mean_resizing=True)
        model.decoder.config.vocab_size = size
        if getattr(model.config, "shapes", {}):
            record_shapes(model)  # the table is among them
    return model
