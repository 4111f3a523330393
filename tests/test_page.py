"""What is taken as a page, at which brightness, and what is refused by name."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import DonutProcessor

from benchmark.errors import UserError
from benchmark.models.encoded import encode_documents
from benchmark.page import read_page, to_page
from benchmark.scales import TINY
from benchmark.types import Dataset, Page

LEVELS = np.arange(256).reshape(16, 16)
"""Every level of grey once."""
DEEP: dict[str, Any] = {
    "16 bits": (LEVELS * 257).astype(np.uint16),
    "16 bits in 32": (LEVELS * 257).astype(np.int32),
    "8 bits in 32": LEVELS.astype(np.int32),
    "31 bits in 32": np.rint(LEVELS / 255 * (2**31 - 1)).astype(np.int32),
}
FLOATS: dict[str, Any] = {
    "up to 1": (LEVELS / 255).astype(np.float32),
    "up to 1, but for rounding": (LEVELS / 255 * (1 + 1e-6)).astype(np.float32),
    "up to 255": LEVELS.astype(np.float32),
    "up to 65535": (LEVELS * 257).astype(np.float32),
}


def is_grey(page: Page, levels: Any = LEVELS) -> bool:
    return page.dtype == np.uint8 and np.array_equal(page, np.repeat(levels[:, :, None], 3, axis=2))


class TestDepth:
    """The brightest value of a file is white, whatever its depth; clipped, all but the darkest would be."""

    @pytest.mark.parametrize("kind", [*DEEP, *FLOATS])
    def test_a_tiff_is_scaled(self, kind: str, tmp_path: Path) -> None:
        Image.fromarray((DEEP | FLOATS)[kind]).save(tmp_path / "page.tif")
        assert is_grey(read_page(tmp_path / "page.tif"))

    def test_a_png_is_scaled(self, tmp_path: Path) -> None:
        Image.fromarray(DEEP["16 bits"]).save(tmp_path / "page.png")
        assert is_grey(read_page(tmp_path / "page.png"))

    def test_the_order_of_bytes_does_not_matter(self, tmp_path: Path) -> None:
        image = Image.frombytes("I;16B", (16, 16), DEEP["16 bits"].astype(">u2").tobytes())
        assert is_grey(to_page(image, "page"))
        assert np.array_equal(to_page(DEEP["16 bits"].astype(">u2"), "page"), LEVELS)

    @pytest.mark.parametrize("kind", DEEP)
    def test_an_array_is_scaled_as_a_file(self, kind: str) -> None:
        assert np.array_equal(to_page(DEEP[kind], "page"), LEVELS)
        assert is_grey(to_page(np.repeat(DEEP[kind][:, :, None], 3, axis=2), "page"))

    def test_an_array_of_32_bits_without_sign_is_scaled(self) -> None:
        assert np.array_equal(to_page((LEVELS * 0x01010101).astype(np.uint32), "page"), LEVELS)

    def test_a_dark_page_of_16_bits_stays_dark(self) -> None:
        assert to_page(np.full((2, 2), 255, np.uint16), "page").tolist() == [[1, 1], [1, 1]]

    @pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e10])
    def test_values_that_are_no_brightness_are_refused(self, value: float, tmp_path: Path) -> None:
        Image.fromarray(np.asarray([[0, value], [60000, 1]], np.float32)).save(tmp_path / "page.tif")
        with pytest.raises(UserError, match=r"page\.tif: .*(finite|below 0, as -1|up to 1e\+10)"):
            read_page(tmp_path / "page.tif")

    def test_an_array_below_0_is_refused(self) -> None:
        with pytest.raises(UserError, match=r"document 7: .* below 0, as -1"):
            to_page(np.asarray([[-1, 60000]], np.int32), "document 7")


class TestTransparency:
    """What is transparent lies on white paper, black as its colour may be."""

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "La", "RGBa"])
    def test_what_is_transparent_is_white(self, mode: str) -> None:
        assert (to_page(Image.new(mode, (3, 2)), "page") == 255).all()

    def test_what_is_half_transparent_is_half_white(self, tmp_path: Path) -> None:
        image = Image.new("RGBA", (3, 1), (200, 0, 0, 255))
        image.putpixel((1, 0), (200, 0, 0, 128))
        image.putpixel((2, 0), (200, 0, 0, 0))
        image.save(tmp_path / "page.png")
        opaque, half, nothing = read_page(tmp_path / "page.png")[0].tolist()
        assert (opaque, nothing) == ([200, 0, 0], [255, 255, 255])
        assert half == pytest.approx([227, 127, 127], abs=1)

    @pytest.mark.parametrize(
        ("mode", "colour", "other", "rest"),
        [
            ("L", 7, 9, [9, 9, 9]),
            ("RGB", (1, 2, 3), (1, 2, 4), [1, 2, 4]),
            ("P", 0, 1, [0, 90, 0]),
            ("I;16", 700, 771, [3, 3, 3]),
            ("1", 0, 1, [255, 255, 255]),
        ],
    )
    def test_a_colour_that_stands_for_transparent_is_white(
        self, mode: str, colour: Any, other: Any, rest: list[int], tmp_path: Path
    ) -> None:
        image = Image.new(mode, (2, 1), colour)
        image.putpixel((1, 0), other)
        if mode == "P":
            image.putpalette([90, 0, 0, 0, 90, 0])
        image.save(tmp_path / "page.png", transparency=colour)
        assert read_page(tmp_path / "page.png").tolist() == [[[255, 255, 255], rest]]


@pytest.mark.parametrize(
    ("mode", "white", "black"),
    [
        ("1", 1, 0),
        ("L", 255, 0),
        ("P", 1, 0),
        ("RGB", (255, 255, 255), (0, 0, 0)),
        ("CMYK", (0, 0, 0, 0), (0, 0, 0, 255)),
        ("YCbCr", (255, 128, 128), (0, 128, 128)),
        ("HSV", (0, 0, 255), (0, 0, 0)),
        ("LAB", (255, 128, 128), (0, 128, 128)),
    ],
)
def test_every_way_to_write_colours_is_read(mode: str, white: Any, black: Any) -> None:
    image = Image.new(mode, (2, 1), white)
    image.putpixel((1, 0), black)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    assert to_page(image, "page").tolist() == [[pytest.approx([255] * 3, abs=1), pytest.approx([0] * 3, abs=1)]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_is_turned_as_its_exif_says(dtype: Any, tmp_path: Path) -> None:
    pixels = np.zeros((20, 40), dtype)
    pixels[:5] = np.iinfo(dtype).max
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees to the right
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    page = read_page(tmp_path / "turned.png")
    assert page.shape == (40, 20, 3)
    assert (page[:, -5:] == 255).all()
    assert (page[:, :-5] == 0).all()


class TestSeveralPages:
    @pytest.mark.parametrize("suffix", ["tif", "gif"])
    def test_the_first_is_read_and_that_is_said(
        self, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / f"pages.{suffix}"
        first, *others = (Image.new("L", (6, 4), level) for level in (0, 100, 255))
        first.save(path, save_all=True, append_images=others)
        assert (read_page(path) == 0).all()
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("donutbench", logging.WARNING)
        assert record.getMessage() == f"{path} holds 3 pages: only page 1 is read"

    @pytest.mark.parametrize("suffix", ["tif", "gif", "png"])
    def test_of_one_page_nothing_is_said(self, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        Image.new("L", (6, 4), 0).save(tmp_path / f"page.{suffix}")
        read_page(tmp_path / f"page.{suffix}")
        assert not caplog.records

    def test_the_preview_in_a_photograph_is_no_page(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        photograph = Image.new("RGB", (60, 40))
        photograph.save(tmp_path / "photo.mpo", save_all=True, append_images=[photograph.resize((6, 4))])
        assert read_page(tmp_path / "photo.mpo").shape == (40, 60, 3)
        assert not caplog.records


REFUSED: dict[str, tuple[object, str]] = {
    "a truth value": (np.ones((4, 5), bool), r"bool \(4, 5\)"),
    "floats": (np.ones((4, 5), np.float32), r"float32 \(4, 5\)"),
    "complex": (np.ones((4, 5), complex), r"complex128 \(4, 5\)"),
    "objects": (np.ones((4, 5), object), r"object \(4, 5\)"),
    "64 bits": (np.ones((4, 5), np.int64), r"int64 \(4, 5\)"),
    "signed bytes": (np.ones((4, 5), np.int8), r"int8 \(4, 5\)"),
    "a number": (np.uint8(5) * np.ones((), np.uint8), "uint8"),
    "a row": (np.ones(5, np.uint8), r"uint8 \(5,\)"),
    "two pages": (np.ones((2, 4, 5, 3), np.uint8), r"uint8 \(2, 4, 5, 3\)"),
    "one channel": (np.ones((4, 5, 1), np.uint8), r"uint8 \(4, 5, 1\)"),
    "two channels": (np.ones((4, 5, 2), np.uint8), r"uint8 \(4, 5, 2\)"),
    "four channels": (np.ones((4, 5, 4), np.uint8), r"uint8 \(4, 5, 4\)"),
    "channels first": (np.ones((3, 4, 5), np.uint8), r"uint8 \(3, 4, 5\)"),
    "no rows": (np.ones((0, 5), np.uint8), r"uint8 \(0, 5\)"),
    "no columns": (np.ones((4, 0, 3), np.uint16), r"uint16 \(4, 0, 3\)"),
    "an image without rows": (Image.new("L", (5, 0)), r"uint8 \(0, 5, 3\)"),
    "a path": ("page.png", "str"),
    "nothing": (None, "NoneType"),
    "a list": ([[0, 1], [2, 3]], "list"),
}


class TestRefused:
    @pytest.mark.parametrize("what", REFUSED)
    def test_it_is_said_what_it_is_and_what_is_wanted(self, what: str) -> None:
        page, named = REFUSED[what]
        with pytest.raises(UserError, match=rf"^document r-7: a page is an array \(height, width\).*not .*{named}"):
            to_page(page, "document r-7")

    def test_bytes_of_one_or_three_channels_pass_as_they_are(self) -> None:
        for shape in ((4, 5), (4, 5, 3), (1, 1)):
            page = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
            assert to_page(page, "page") is page

    def test_an_image_that_breaks_when_it_is_read_is_named(self, tmp_path: Path) -> None:
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90), np.uint8)).save(tmp_path / "page.png")
        content = (tmp_path / "page.png").read_bytes()
        (tmp_path / "page.png").write_bytes(content[: len(content) // 2])
        with Image.open(tmp_path / "page.png") as image, pytest.raises(UserError, match="image document 7: "):
            to_page(image, "document 7")


class TestDocuments:
    """Documents of a data set are held to the same."""

    @pytest.mark.parametrize("what", ["a truth value", "floats", "four channels", "a path"])
    def test_a_page_that_is_none_is_refused(
        self, what: str, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        first, second = datasets["receipts-mini"].open(TINY, "test", 0, 2)
        broken: Any = REFUSED[what][0]
        with pytest.raises(UserError, match=f"^document {second.id}: a page is .*{REFUSED[what][1]}"):
            encode_documents([first, replace(second, page=broken)], processor, TINY.max_tokens)

    def test_deep_pages_and_images_are_read_as_bytes(
        self, datasets: dict[str, Dataset], processor: DonutProcessor
    ) -> None:
        (document,) = datasets["receipts-mini"].open(TINY, "test", 0, 1)
        others: list[Any] = [document.page.astype(np.uint16) * 257, Image.fromarray(document.page)]
        pages = encode_documents(
            [replace(document, page=page) for page in (document.page, *others)], processor, 20
        ).pages[:]
        assert (pages == pages[:1]).all()
