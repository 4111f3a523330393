"""Pages to pixels, ground truth to tokens, and back: Donut's processor, built without a hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import DonutImageProcessorPil, DonutProcessor, PreTrainedTokenizerFast

from benchmark.scales import Scale
from benchmark.types import Dataset, Json, Page

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<sep/>")
_CHARACTERS = "".join(chr(code) for code in range(32, 127))


def build_processor(scale: Scale, datasets: Iterable[Dataset]) -> DonutProcessor:
    """A processor of single printable ASCII characters, and the tokens of these data sets."""
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *_CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<sep/>"],
        clean_up_tokenization_spaces=False,
    )
    images = DonutImageProcessorPil(
        size={"height": scale.height, "width": scale.width},
        do_align_long_axis=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    processor = DonutProcessor(images, fast)
    for dataset in datasets:
        add_tokens(processor, dataset)
    return processor


def prompt_of(dataset: Dataset) -> str:
    """The token that tells the decoder which task it does."""
    return f"<s_{dataset.name}>"


def add_tokens(processor: DonutProcessor, dataset: Dataset) -> int:
    """Make sure that the prompt and the tags of the data set are tokens; how many were new."""
    tags = [tag for key in dataset.keys for tag in (f"<s_{key}>", f"</s_{key}>")]
    wanted = [prompt_of(dataset), "<sep/>", *(tags if dataset.task == "extraction" else ())]
    known = processor.tokenizer.get_vocab()
    new = [token for token in wanted if token not in known]
    return int(processor.tokenizer.add_tokens(new, special_tokens=True)) if new else 0


def to_text(ground_truth: Json) -> str:
    """Donut's token sequence of a ground truth; keys keep their order."""
    if isinstance(ground_truth, dict):
        if set(ground_truth) == {"text_sequence"}:
            return str(ground_truth["text_sequence"])
        return "".join(f"<s_{key}>{to_text(value)}</s_{key}>" for key, value in ground_truth.items())
    if isinstance(ground_truth, list):
        return "<sep/>".join(to_text(value) for value in ground_truth)
    return str(ground_truth)


def to_json(processor: DonutProcessor, text: str) -> Json:
    """The ground truth that a decoded sequence stands for, as Donut reads it (`DonutProcessor.token2json`)."""
    parsed: Json = processor.token2json(text)
    return parsed if parsed != [] else {}


def encode(processor: DonutProcessor, texts: Sequence[str], longest: int) -> torch.Tensor:
    """Labels (documents, tokens): the tokens and the end token, cut to `longest`, -100 beyond the end."""
    ids = processor.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    end = processor.tokenizer.eos_token_id
    rows = [torch.tensor([*row, end][:longest]) for row in ids]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)


def decoder_inputs(labels: torch.Tensor, prompt: int, pad: int) -> torch.Tensor:
    """Labels shifted right behind the prompt token: what the decoder sees under teacher forcing."""
    inputs = labels.new_full(labels.shape, prompt)
    inputs[:, 1:] = labels[:, :-1]
    return inputs.masked_fill(inputs == -100, pad)


def to_pixels(pages: torch.Tensor) -> torch.Tensor:
    """uint8 (documents, height, width[, 3]) -> float (documents, 3, height, width) in -1..1, as the processor does."""
    pixels = pages.unsqueeze(1).expand(-1, 3, -1, -1) if pages.ndim == 3 else pages.permute(0, 3, 1, 2)
    return pixels.float().div_(127.5).sub_(1.0) if pixels.is_contiguous() else pixels.float() / 127.5 - 1.0


def fit_page(processor: DonutProcessor, page: Page) -> Page:
    """The page at the model's size, by Donut's own resizing and padding; a page of that size stays as it is."""
    size = processor.image_processor.size
    if page.shape[:2] == (size["height"], size["width"]):
        return page
    colour = np.repeat(page[:, :, None], 3, axis=2) if page.ndim == 2 else page
    fitted: Any = processor.image_processor(colour, do_rescale=False, do_normalize=False, return_tensors="np")
    return np.ascontiguousarray(fitted["pixel_values"][0].transpose(1, 2, 0)).astype(np.uint8)
