"""Multiply-accumulates of reading one document."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache, EncoderDecoderCache, VisionEncoderDecoderModel

from benchmark.progress import quiet

FIXED_TOKENS = 64
"""What rows are compared at: the length of `macs`, the latencies and `peak_memory_bytes`."""


class Macs(NamedTuple):
    """Multiply-accumulates of the encoder, and of the decoder with the projection of what it reads."""

    encoder: int
    decoder: int

    @property
    def total(self) -> int:
        return self.encoder + self.decoder


def count_macs(model: VisionEncoderDecoderModel, pixels: torch.Tensor, prompt: int, tokens: int) -> Macs:
    """Multiply-accumulates of the encoder once and of the decoder writing `tokens` tokens with a cache.

    `pixels` is (1, 3, height, width), `prompt` the first decoder token. Counted on real forward passes:
    linear layers (int8 or not) with the output head, convolutions, and both products of attention. The keys and values
    of cross-attention, and a projection between encoder and decoder, count once. Not counted: biases, norms,
    softmax, activations, look-ups. A zero weight counts, for a dense kernel multiplies it.

    Three steps of the decoder give the sum over all steps exactly: with a cache, each costs more than the one
    before by what attending to one more token costs. The token written last is not read.
    """
    token = torch.full((1, 1), prompt, device=pixels.device)
    # Fused attention kernels have no count on the CPU; the plain products always have.
    with quiet(model), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        cached = _empty_cache(model)
        read = partial(model, pixel_values=pixels, decoder_input_ids=token, use_cache=True, **cached)
        whole, encoder, output = _count(read, of=f"{type(model).__name__}.encoder")
        step = partial(model.decoder, input_ids=token, encoder_hidden_states=output.encoder_last_hidden_state)
        second, third = (_count(lambda: step(use_cache=True, **cached))[0] for _ in range(2))
    rest = tokens - 1
    return Macs(encoder, whole - encoder + rest * second + rest * (rest - 1) // 2 * (third - second))


def _empty_cache(model: VisionEncoderDecoderModel) -> dict[str, EncoderDecoderCache]:
    """A cache that is filled in place, under the name that this version of transformers takes it by."""
    name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
    return {name: EncoderDecoderCache(DynamicCache(), DynamicCache())}


def _int8_flops(inputs: torch.Size, *_: object, out_shape: torch.Size, **__: object) -> int:
    """As those of a product of floats: the counter knows of none in int8."""
    return 2 * inputs.numel() * out_shape[-1]


def _count(forward: Callable[[], Any], of: str = "") -> tuple[int, int, Any]:
    """Those of all modules, those within the module `of`, and what `forward` returns."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.quantized.linear_dynamic: _int8_flops}) as counter:
        output = forward()
    within = counter.get_flop_counts().get(of, {})
    return counter.get_total_flops() // 2, sum(within.values()) // 2, output
