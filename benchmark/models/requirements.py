"""What a processor has to be, and its model with it, so that pages can be read: said in a line where they are not.

`transformers` finds it out in the middle of a page, if at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import DonutImageProcessorPil, DonutProcessor, VisionEncoderDecoderConfig

from benchmark.errors import UserError

_CHANNELS = 3


def check_processor(place: Path, processor: DonutProcessor) -> None:
    """Raise `UserError` unless a processor makes Donut's pages, of one size, and its texts have an end."""
    images: Any = processor.image_processor
    if not isinstance(images, DonutImageProcessorPil):
        kind = type(images).__name__.removesuffix("Pil")
        raise UserError(f"the processor of {place} makes its pages with {kind}, and a Donut's with DonutImageProcessor")
    size: Any = images.size
    if not all(isinstance(side, int) and side > 0 for side in (size.get("height"), size.get("width"))):
        raise UserError(
            f"the processor of {place} has pages of the size {dict(size)}, not of a height and a width: "
            '"size" takes {"height": H, "width": W}, which are the image_size in config.json'
        )
    for kind, purpose in (("eos_token", "no text has an end"), ("pad_token", "no texts make a batch")):
        if getattr(processor.tokenizer, kind) is None:
            raise UserError(
                f"the tokenizer of {place} has no {kind}, without which {purpose}: tokenizer_config.json names it"
            )


def check_pages(folder: Path, config: VisionEncoderDecoderConfig, processor: DonutProcessor) -> None:
    """Raise `UserError` if a model cannot read the pages of its processor.

    Stages fill their cells up to whole windows; of fewer cells than one window they make none.
    """
    encoder: Any = config.encoder
    size: Any = processor.image_processor.size
    if encoder.num_channels != _CHANNELS:
        raise UserError(f"{folder} reads pages of {encoder.num_channels} channels, and Donut's have {_CHANNELS}")
    pages = f"the pages of {folder} have {size['height']}x{size['width']} pixels"
    grid = [-(-size[side] // encoder.patch_size) for side in ("height", "width")]
    for stage in range(len(encoder.depths)):
        grid = [-(-cells // 2) for cells in grid] if stage else grid
        if min(grid) < encoder.window_size:
            raise UserError(
                f"{pages}, {grid[0]}x{grid[1]} cells in stage {stage + 1}, and windows of {encoder.window_size} "
                'need as many a side: a larger "size" of its processor has them'
            )
    bridge = getattr(encoder, "bridge", None) or {}
    known = [bridge.get("rows") or grid[0], bridge.get("columns") or grid[1]]
    if grid != known:
        raise UserError(f"{pages}, {grid[0]}x{grid[1]} cells, and it knows the places of {known[0]}x{known[1]} alone")
