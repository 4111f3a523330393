"""What a page is: the one place that takes an array, an image or a file as a page, or refuses it by name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmark.errors import UserError, first_line
from benchmark.types import Page

WANTED = "an array (height, width) or (height, width, 3) of uint8, uint16, int32 or uint32, or a PIL image"

WHITES = (255, 2**16 - 1, 2**31 - 1, 2**32 - 1)
"""What may be white where 32 bits do not tell, as they often hold 8- or 16-bit data; 1 too where values are floats."""

_DEEP = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
# Their other frames are previews, or layers, of the first.
_ONE_PAGE = {"MPO", "PSD"}
_LOG = logging.getLogger("donutbench")


def read_page(path: Path) -> Page:
    """A file as a page, RGB. `UserError` names a file that cannot be read; of several pages the first is read."""
    with _reading(str(path)), Image.open(path) as image:
        return to_page(image, str(path))


def to_page(page: object, name: str) -> Page:
    """An array as it is, but scaled to bytes; an image as RGB, turned as its EXIF says, on white paper.

    16 bits are white at 65535, 32 bits and floats at the smallest of `WHITES` that no value goes beyond.
    `UserError` says what `name` is instead, and what a page is. Of several pages the log says which is read.
    """
    if isinstance(page, Image.Image):
        with _reading(name):
            page = _from_image(page, name)
    if not isinstance(page, np.ndarray):
        raise UserError(f"{name}: a page is {WANTED}, not of type {type(page).__name__}")
    shaped = page.ndim >= 2 and page.shape[2:] in {(), (3,)} and 0 not in page.shape
    if not shaped or page.dtype.str[1:] not in {"u1", "u2", "u4", "i4"}:
        raise UserError(f"{name}: a page is {WANTED}, not {page.dtype} {page.shape}")
    return _to_bytes(page, name)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds for a broken file
        raise UserError(f"cannot read the image {name}: {first_line(error)}") from error


def _from_image(image: Image.Image, name: str) -> NDArray[Any]:
    """(height, width, 3)."""
    count = getattr(image, "n_frames", 1)
    if count > 1 and image.format not in _ONE_PAGE:
        _LOG.warning("%s holds %d pages: only page %d is read", name, count, image.tell() + 1)
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP:
        values = np.asarray(upright)
        levels = _to_bytes(values, name)
        # A grey level may stand for transparent.
        levels = np.where(values == upright.info.get("transparency", -1), np.uint8(255), levels)
        return np.repeat(levels[:, :, None], 3, axis=2)
    if upright.has_transparency_data:
        coloured = upright.convert("LA" if upright.mode == "La" else "RGBA").convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), coloured)
    return np.asarray(upright.convert("RGB"))


def _to_bytes(values: NDArray[Any], name: str) -> Page:
    """Values of any depth at 255 for white."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UserError(f"{name}: a page has finite values")
    if values.min() < 0:
        raise UserError(f"{name}: a page has no values below 0, as {values.min():g}")
    highest = float(values.max())
    # Half a level beyond white still rounds to white.
    whites = [white for white in _whites(values.dtype) if highest < white * (1 + 0.5 / 255)]
    if not whites:
        raise UserError(f"{name}: no page has values up to {highest:g}")
    return np.rint(values * (255 / whites[0])).astype(np.uint8)


def _whites(dtype: np.dtype[Any]) -> tuple[int, ...]:
    if dtype.itemsize == 2:
        return (2**16 - 1,)
    return (1, *WHITES) if dtype.kind == "f" else WHITES
