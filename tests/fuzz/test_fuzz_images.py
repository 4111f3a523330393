"""Files that may be images: a page of bytes at the model's size, or one line."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from transformers import DonutProcessor

from benchmark.models.processor import fit_page
from benchmark.page import read_page, to_page
from benchmark.scales import TINY
from tests.fuzz.cases import ANYTHING, accepted, cases

MODES = (
    "1",
    "L",
    "P",
    "PA",
    "LA",
    "La",
    "RGB",
    "RGBA",
    "RGBa",
    "RGBX",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
    "I;16",
)
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA")
SIDES = st.integers(1, 5) | st.sampled_from([1, 64, 300])


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images") / "page"


@st.composite
def images(draw: st.DrawFn) -> Image.Image:
    width, height = draw(SIDES), draw(SIDES)
    image = Image.new(draw(st.sampled_from(MODES)), (width, height))
    if draw(st.booleans()):
        grey = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 256, (height, width), np.uint8)
        with suppress(ValueError):  # no way leads from grey to some modes
            image = Image.fromarray(grey).convert(image.mode)
    return image


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """An image in a format that has its mode, else as a PNG; and then what is left of it."""
    image, form = draw(images()), draw(st.sampled_from(FORMATS))
    content = io.BytesIO()
    try:
        image.save(content, form)
    except (OSError, ValueError, KeyError):
        content = io.BytesIO()
        Image.new("L", image.size).save(content, "PNG")
    whole = bytearray(content.getvalue())
    if draw(st.booleans()):
        del whole[draw(st.integers(0, len(whole))) :]
    # Not in the headers of formats without a checksum, where a size may become that of a wall.
    for place in draw(st.lists(st.integers(64, 600), max_size=3)) if form in ("PNG", "JPEG") else ():
        if place < len(whole):
            whole[place] = draw(st.integers(0, 255))
    return bytes(whole)


def check(processor: DonutProcessor, page: Any) -> None:
    assert page.dtype == np.uint8
    assert page.shape[2:] in {(), (3,)}
    assert fit_page(processor, page).shape == (TINY.height, TINY.width, 3)


@cases
@given(files() | st.binary(max_size=200))
@example(b"")
@example(b"\x89PNG\r\n\x1a\n")
def test_any_file_is_a_page_or_one_line(processor: DonutProcessor, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    page = accepted(lambda: read_page(path))
    if page is not None:
        check(processor, page)
    assert path.read_bytes() == content


ARRAYS = st.builds(
    lambda shape, kind, seed: (np.random.default_rng(seed).random(shape) * 300 - 20 * (seed % 3)).astype(kind),
    st.lists(st.sampled_from([0, 1, 2, 3, 4, 200]), max_size=4).filter(lambda shape: np.prod(shape) < 1e6),
    st.sampled_from(["u1", "u2", ">u2", "u4", "i4", "i8", "f4", "f8", "?", "c8", "U3"]),
    st.integers(0, 20),
)


@cases
@given(ARRAYS | images() | ANYTHING)
@example(np.zeros((1, 5000), np.uint8))
@example(np.zeros((5000, 1, 3), np.uint8))
def test_any_value_is_a_page_or_one_line(processor: DonutProcessor, value: Any) -> None:
    page = accepted(lambda: to_page(value, "document 7"))
    if page is not None:
        check(processor, page)
