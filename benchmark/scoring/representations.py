"""What the layers of a Donut say about documents: one row a document, for CKA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DonutProcessor

from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.processor import decoder_inputs, pages_at_once, to_pixels
from benchmark.models.quantized import int8_layers
from benchmark.progress import quiet


@dataclass(frozen=True, slots=True)
class Representations:
    """`layers[i]` is (documents, width): encoder stages, then decoder layers, named as in the paper's Figure 5."""

    names: tuple[str, ...]
    layers: tuple[NDArray[np.float64], ...]

    @property
    def encoder_layers(self) -> int:
        return sum(name.startswith("enc.") for name in self.names)

    @property
    def decoder_layers(self) -> int:
        return len(self.names) - self.encoder_layers


@torch.inference_mode()
def represent(
    model: Donut, processor: DonutProcessor, pages: EncodedDocuments, prompt: int, batch: int = 25
) -> Representations:
    """Mean over cells, and over the tokens of the ground truth under teacher forcing, of every stage and layer.

    Stages are hooked before downsampling, decoder layers before the final norm. A model with int8 layers reads one
    document at a time, as in `benchmark.scoring.predict.decode`.
    """
    stages = list(model.encoder.encoder.layers)
    layers = list(model.decoder.model.decoder.layers)
    seen: dict[str, list[torch.Tensor]] = {}
    weights = torch.empty(0)

    def keep(name: str, state: torch.Tensor, weight: torch.Tensor | None) -> None:
        pooled = state.mean(1) if weight is None else (state * weight).sum(1) / weight.sum(1)
        seen.setdefault(name, []).append(pooled.double().cpu())

    def stage_hook(name: str) -> Any:
        return lambda module, inputs, output: keep(name, output[1], None)

    def layer_hook(name: str) -> Any:
        return lambda module, inputs, output: keep(name, output[0] if isinstance(output, tuple) else output, weights)

    handles = [stage.register_forward_hook(stage_hook(f"enc.{i}")) for i, stage in enumerate(stages)]
    handles += [layer.register_forward_hook(layer_hook(f"dec.{i}")) for i, layer in enumerate(layers)]
    try:
        with quiet(model):
            size = 1 if int8_layers(model) else min(batch, pages_at_once(processor))
            for part, labels in zip(pages.pages.split(size), pages.labels.split(size), strict=True):
                labels = labels.to(model.device)
                weights = (labels != -100).unsqueeze(-1).float()
                model(
                    pixel_values=to_pixels(processor, part.to(model.device)),
                    decoder_input_ids=decoder_inputs(labels, prompt, processor.tokenizer.pad_token_id),
                    use_cache=False,
                )
    finally:
        for handle in handles:
            handle.remove()
    return Representations(tuple(seen), tuple(torch.cat(parts).numpy() for parts in seen.values()))
