"""Pages to JSON: greedy decoding, in batches."""

from __future__ import annotations

import torch
from transformers import DonutProcessor, PreTrainedModel

from benchmark.models.processor import to_pixels
from benchmark.progress import quiet


def decode(
    model: PreTrainedModel, processor: DonutProcessor, pages: torch.Tensor, prompt: str, longest: int, batch: int = 50
) -> list[str]:
    """What the model writes for each page: the token sequence without prompt and end.

    `pages` is uint8 (documents, height, width[, 3]); at most `longest` tokens are written.
    """
    with quiet(model):
        return [text for part in pages.split(batch) for text in _decode_batch(model, processor, part, prompt, longest)]


@torch.inference_mode()
def _decode_batch(
    model: PreTrainedModel, processor: DonutProcessor, pages: torch.Tensor, prompt: str, longest: int
) -> list[str]:
    tokenizer = processor.tokenizer
    start = torch.full((len(pages), 1), tokenizer.convert_tokens_to_ids(prompt), device=model.device)
    written = model.generate(
        pixel_values=to_pixels(pages.to(model.device)),
        decoder_input_ids=start,
        max_length=longest,
        do_sample=False,
        num_beams=1,
        use_cache=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    return [_until_end(row, processor) for row in written[:, 1:].tolist()]


def _until_end(tokens: list[int], processor: DonutProcessor) -> str:
    end = processor.tokenizer.eos_token_id
    kept = tokens[: tokens.index(end)] if end in tokens else tokens
    return str(processor.tokenizer.decode(kept, skip_special_tokens=False))
