"""The loss that teaches a model to read from nothing: what the reference checkpoints are made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from transformers import DonutProcessor

from benchmark.models.donut import Donut
from benchmark.models.processor import decoder_inputs, to_pixels
from benchmark.pretraining.auxiliary import CellReader, guided_attention, places_of
from benchmark.scales import Scale
from benchmark.training.trainer import Batch


@dataclass(frozen=True, slots=True)
class PretrainingLoss:
    """Cross-entropy on the tokens plus the two auxiliary losses (`pretraining.auxiliary`), which fade out.

    The model carries a `CellReader` as `cell_reader`. The first `encoder_share` of `steps` train the encoder alone to
    name the characters in each cell; then both auxiliary losses fade, to nothing after `aided_share`. Without an
    encoder stage only the attention is guided.
    """

    scale: Scale
    processor: DonutProcessor
    prompt: int
    steps: int
    encoder_share: float
    aided_share: float
    shift: int
    """Pixels by which a batch is moved at most, so that a page seen again is not the same page."""
    seed: int

    def __call__(self, model: Donut, batch: Batch, done: float) -> torch.Tensor:
        pages, points = self._shifted(batch["pages"], batch["points"], round(done * self.steps))
        places = places_of(points, self.scale)
        cells = model.encoder(pixel_values=to_pixels(self.processor, pages)).last_hidden_state
        reader = cast(CellReader, model.cell_reader)
        if done < self.encoder_share:
            return reader.loss(cells, batch["labels"], places)
        aid = max(0.0, 1 - (done - self.encoder_share) / (self.aided_share - self.encoder_share))
        memory = model.enc_to_dec_proj(cells) if hasattr(model, "enc_to_dec_proj") else cells
        output = model.decoder(
            input_ids=decoder_inputs(batch["labels"], self.prompt, self.processor.tokenizer.pad_token_id),
            encoder_hidden_states=memory,
            use_cache=False,
            output_attentions=aid > 0,
        )
        loss = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1).float(), batch["labels"].flatten())
        if aid > 0:
            loss = loss + aid * 0.5 * guided_attention(output.cross_attentions[-2:], places)
        if aid > 0 and self.encoder_share > 0:
            loss = loss + aid * reader.loss(cells, batch["labels"], places)
        return loss

    def _shifted(self, pages: torch.Tensor, points: torch.Tensor, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        down, right = torch.randint(-self.shift, self.shift + 1, (2,), generator=generator).tolist()
        moved = torch.where(points >= 0, points + points.new_tensor([right, down]), points)
        return torch.roll(pages, (down, right), (1, 2)), moved
