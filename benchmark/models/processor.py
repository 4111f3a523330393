"""Pages to pixels, ground truth to tokens, and back: Donut's processor, built without a hub."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import DonutImageProcessorPil, DonutProcessor, PreTrainedTokenizerFast

from benchmark.errors import UserError
from benchmark.scales import Scale
from benchmark.truth import plain
from benchmark.types import Dataset, Json, Page

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<sep/>")
_CHARACTERS = "".join(chr(code) for code in range(32, 127))
_LARGEST_DETOUR = 2**28
"""Pixels of the enlarged page over which Donut's processor makes a small one; a longer page goes the direct way."""


_PIXELS_AT_ONCE = 6_000_000


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


def needed_tokens(dataset: Dataset) -> list[str]:
    """The prompt and the tags of a data set."""
    tags = [tag for key in dataset.keys for tag in (f"<s_{key}>", f"</s_{key}>")]
    return [prompt_of(dataset), "<sep/>", *(tags if dataset.task == "extraction" else ())]


def fixed_tokens(processor: DonutProcessor, dataset: Dataset) -> set[int]:
    """The numbers of the tokens that a data set needs whatever its documents say: its own, begin, end and the like."""
    tokens = processor.tokenizer
    own = tokens.convert_tokens_to_ids(needed_tokens(dataset))
    named = (tokens.bos_token_id, tokens.pad_token_id, tokens.eos_token_id, tokens.unk_token_id)
    return {*own, *(number for number in named if number is not None)}


def add_tokens(processor: DonutProcessor, dataset: Dataset) -> int:
    """Make sure that the prompt and the tags of the data set are tokens; how many were new."""
    known = processor.tokenizer.get_vocab()
    new = [token for token in needed_tokens(dataset) if token not in known]
    return int(processor.tokenizer.add_tokens(new, special_tokens=True)) if new else 0


def categories_of(processor: DonutProcessor) -> frozenset[str]:
    """The values that have a token of their own, ``<invoice/>``, as Donut gives them to classes of documents."""
    tokens = (token for token in processor.tokenizer.get_added_vocab() if token != "<sep/>")
    return frozenset(token[1:-2] for token in tokens if token.startswith("<") and token.endswith("/>"))


def to_json(processor: DonutProcessor, text: str) -> Json:
    """The ground truth that a decoded sequence stands for, as Donut reads it (`DonutProcessor.token2json`).

    Tags that nest deeper than a ground truth can say nothing.
    """
    try:
        parsed: Json = plain(processor.token2json(text), "the answer")
    except (RecursionError, UserError):
        return {}
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


def to_pixels(processor: DonutProcessor, pages: torch.Tensor) -> torch.Tensor:
    """uint8 (documents, height, width[, 3]) -> float (documents, 3, height, width), rescaled and normalised as the
    processor does: for mean and standard deviation 0.5 between -1 and 1.
    """
    pixels = pages.unsqueeze(1).expand(-1, 3, -1, -1) if pages.ndim == 3 else pages.permute(0, 3, 1, 2)
    scale, shift = (torch.tensor(side, device=pages.device)[:, None, None] for side in _scale_and_shift(processor))
    return torch.addcmul(shift, pixels.float(), scale)


def pages_at_once(processor: DonutProcessor) -> int:
    """How many pages of its size may be read side by side: one of 1280x960 takes a gigabyte in DONUT-base."""
    size: Any = processor.image_processor.size
    return max(1, _PIXELS_AT_ONCE // (int(size["height"]) * int(size["width"])))


def _scale_and_shift(processor: DonutProcessor) -> tuple[list[float], list[float]]:
    """(value * rescale - mean) / std of each channel as value * scale + shift."""
    images: Any = processor.image_processor
    factor = images.rescale_factor if images.do_rescale else 1.0
    mean = np.broadcast_to(images.image_mean if images.do_normalize else 0.0, 3)
    std = np.broadcast_to(images.image_std if images.do_normalize else 1.0, 3)
    return (factor / std).tolist(), (-mean / std).tolist()


def fit_page(processor: DonutProcessor, page: Page) -> Page:
    """The page at the model's size, by Donut's own resizing and padding; a page of that size stays as it is.

    However long the page, its resized short side is at least a pixel, which Donut's own is not.
    """
    images: Any = processor.image_processor
    if page.shape[:2] == (images.size["height"], images.size["width"]) and not images.do_center_crop:
        return page
    colour = np.repeat(page[:, :, None], 3, axis=2) if page.ndim == 2 else page
    options: dict[str, Any] = {}
    if (size := _size_of_a_long_page(images, *page.shape[:2])) is not None:
        colour = np.asarray(Image.fromarray(colour).resize(size[::-1], images.resample))
        options = {"do_resize": False, "do_thumbnail": False}
    # A page of 1 or 3 rows looks as if they were its channels.
    options |= {"do_rescale": False, "do_normalize": False, "input_data_format": "channels_last"}
    fitted: Any = images(colour, return_tensors="np", **options)
    return np.ascontiguousarray(fitted["pixel_values"][0].transpose(1, 2, 0)).astype(np.uint8)


def _size_of_a_long_page(images: Any, height: int, width: int) -> tuple[int, int] | None:
    """(height, width) to which a page shrinks that Donut would leave without a short side; None for other pages.

    Donut enlarges (or shrinks) a page until its short side is that of the model, and then shrinks it to fit.
    """
    if not images.do_thumbnail:
        return None
    tall, wide = images.size["height"], images.size["width"]
    # Pages are turned, if at all, to lie along the long side of the model.
    turned = images.do_align_long_axis and (tall > wide) != (height > width) and tall != wide
    room = (wide if turned else tall) if height > width else (tall if turned else wide)
    short, long = min(height, width), max(height, width)
    detour = min(tall, wide) if images.do_resize else short
    enlarged = detour * long // short
    if detour * min(room, enlarged) >= enlarged and detour * enlarged <= _LARGEST_DETOUR:
        return None
    fitted = room, max(1, short * room // long)
    return fitted if height > width else fitted[::-1]
