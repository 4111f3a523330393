"""Prints text on paper: fonts, ink, paper, a slight perspective, blur and noise, with the place of every character.

Everything is drawn with integer random numbers and plain arithmetic, so that the same seed gives the same bytes.
Fonts are those that matplotlib carries (DejaVu and STIX, free licences); matplotlib itself is not imported.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from benchmark import Glyph, Page, Scale, UserError

FACES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "STIXGeneralBolIta",
)

Range = tuple[float, float]
"""The least and the most."""


@dataclass(frozen=True, slots=True)
class Look:
    """How pages are printed and photographed.

    Letters are `enlarged` times the scale's. The camera turns and leans by `shear`, `slope` and `fade`, each a size
    whose sign is drawn too, and stands back by the share `distance` of its usual distance. `blur` is the standard
    deviation of a Gaussian in pixels for letters of 11 pixels.
    """

    faces: tuple[str, ...]
    shear: Range
    slope: Range
    fade: Range
    blur: Range
    enlarged: float = 1.0
    distance: float = 0.0


USUAL = Look(FACES, shear=(0.0, 0.03), slope=(0.0, 0.012), fade=(0.0, 0.02), blur=(0.0, 0.55))
SHIFTED = Look(
    # Computer Modern: no letter of the family is in training. Left out are its italic, whose dollar is a pound, and its
    # roman, whose points are too thin to be seen at this size.
    faces=("cmb10", "cmss10", "cmtt10"),
    shear=(0.04, 0.07),
    slope=(0.016, 0.024),
    fade=(0.03, 0.05),
    blur=(0.58, 0.68),
    enlarged=1.1,  # its small letters are smaller than those of the other families
    distance=0.05,  # so that no letter leaves the page where it leans more
)
"""What no page of training looks like: other fonts, and each of the ranges beyond the usual one."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The ink of one character: coverage (height x width, 0..255), its offset from the pen and the pen's advance."""

    ink: NDArray[np.uint8]
    left: int
    top: int
    advance: float


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise UserError("the embedded data sets print with the fonts of matplotlib, which is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@lru_cache(maxsize=256)
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    path = _font_folder() / f"{face}.ttf"
    try:
        return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    except OSError as error:
        raise UserError(f"cannot read the font {path}: {error}") from error


@lru_cache(maxsize=50_000)
def _stamp(face: str, size: int, character: str) -> Stamp:
    font = _font(face, size)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(character, anchor="ls"))
    width, height = max(right - left, 1), max(bottom - top, 1)
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=font, anchor="ls")
    return Stamp(np.asarray(image), left, top, font.getlength(character))


class Sheet:
    """A page while it is written: `write` prints, `finish` ages it. Lengths are pixels."""

    def __init__(self, scale: Scale, random: np.random.Generator, look: Look = USUAL) -> None:
        self.random = random
        self.look = look
        self.height, self.width = scale.height, scale.width
        self.face = look.faces[int(random.integers(len(look.faces)))]
        low, high = scale.font_pixels
        self.size = round(int(random.integers(low, high + 1)) * look.enlarged)
        self.longest = scale.max_tokens - 2  # the prompt and the end are tokens too
        # The camera's turn grows with the page.
        self.margin = max(2, scale.font_pixels[0] // 3, max(self.height, self.width) // 50)
        self._unit = self.size / 11
        self._ink = np.zeros((self.height, self.width), np.uint8)

    @property
    def line_height(self) -> int:
        return self.size + max(1, self.size // 8)

    @property
    def lines(self) -> int:
        """How many lines fit."""
        return (self.height - 2 * self.margin) // self.line_height

    @property
    def columns(self) -> int:
        """How many characters of average width fit beside each other."""
        return int((self.width - 2 * self.margin) / self.length("0"))

    def length(self, text: str) -> float:
        return sum(_stamp(self.face, self.size, character).advance for character in text)

    def fits(self, text: str) -> bool:
        return self.length(text) <= self.width - 2 * self.margin

    def write(self, text: str, x: float, baseline: int) -> list[Glyph]:
        """Print `text` from the pen position on; the glyphs of all but its spaces."""
        glyphs = []
        for character in text:
            stamp = _stamp(self.face, self.size, character)
            if character != " ":
                self._press(stamp, round(x) + stamp.left, baseline + stamp.top)
                glyphs.append(Glyph(character, x + stamp.advance / 2, baseline - 0.36 * self.size))
            x += stamp.advance
        return glyphs

    def row(self, line: int, *parts: str, top: int | None = None) -> list[list[Glyph]]:
        """Print `parts` on one line, the first at the left margin, the last at the right one, the others between."""
        baseline = (self.margin if top is None else top) + line * self.line_height + self.size
        widths = [self.length(part) for part in parts]
        gap = (self.width - 2 * self.margin - sum(widths)) / max(len(parts) - 1, 1)
        pen = float(self.margin)
        glyphs = []
        for part, width in zip(parts, widths, strict=True):
            glyphs.append(self.write(part, pen, baseline))
            pen += width + gap
        return glyphs

    def aligned(self, line: int, text: str, place: float, top: int | None = None) -> list[Glyph]:
        """Print one text on a line: at the left margin (`place` 0), at the right one (1) or between."""
        baseline = (self.margin if top is None else top) + line * self.line_height + self.size
        slack = self.width - 2 * self.margin - self.length(text)
        return self.write(text, self.margin + slack * place, baseline)

    def _press(self, stamp: Stamp, left: int, top: int) -> None:
        height, width = stamp.ink.shape
        y0, x0 = max(top, 0), max(left, 0)
        y1, x1 = min(top + height, self.height), min(left + width, self.width)
        if y0 >= y1 or x0 >= x1:
            return
        place = self._ink[y0:y1, x0:x1]
        np.maximum(place, stamp.ink[y0 - top : y1 - top, x0 - left : x1 - left], out=place)

    def finish(self, glyphs: list[Glyph]) -> tuple[Page, tuple[Glyph, ...]]:
        """The page as a camera sees it, and where the characters have gone."""
        ink = Image.fromarray(self._ink)
        ink, moved = self._tilt(ink, glyphs)
        blur = _within(self.look.blur, self.random.random()) * self._unit
        if blur > 0.2 * self._unit:
            ink = ink.filter(ImageFilter.GaussianBlur(blur))
        return self._develop(np.asarray(ink)), tuple(moved)

    def _tilt(self, ink: Image.Image, glyphs: list[Glyph]) -> tuple[Image.Image, list[Glyph]]:
        height, width, look = self.height, self.width, self.look
        a, b, c, d, e, f = self.random.random(6) * 2 - 1
        stretch_x, stretch_y = 1 + look.distance + 0.02 * a, 1 + look.distance + 0.02 * b
        shear, slope = _within(look.shear, c), _within(look.slope, d)
        fade_x, fade_y = _within(look.fade, e) / width, _within(look.fade, f) / height
        # Output pixel -> input pixel, about the centre of the page.
        forward = (
            (stretch_x, shear, 0.0),
            (slope, stretch_y, 0.0),
            (fade_x, fade_y, 1.0),
        )
        centre_x, centre_y = width / 2, height / 2
        # T(centre) @ forward @ T(-centre), scaled so that its last element is 1.
        rows = [[row[0], row[1], row[2] - row[0] * centre_x - row[1] * centre_y] for row in forward]
        rows[0] = [rows[0][i] + centre_x * rows[2][i] for i in range(3)]
        rows[1] = [rows[1][i] + centre_y * rows[2][i] for i in range(3)]
        last = rows[2][2]
        matrix = [[value / last for value in row] for row in rows]
        coefficients = (*matrix[0], *matrix[1], *matrix[2][:2])
        tilted = ink.transform((width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
        return tilted, [replace(g, x=x, y=y) for g, (x, y) in zip(glyphs, _invert(matrix, glyphs), strict=True)]

    def _develop(self, ink: NDArray[np.uint8]) -> Page:
        """Ink on paper with a gradient of light and sensor noise, in integers."""
        random = self.random
        paper = int(random.integers(190, 256))
        dark = int(random.integers(0, 90))
        across, down = (int(v) for v in random.integers(-25, 26, 2))
        light = (
            np.arange(self.width, dtype=np.int32)[None, :] * across // self.width
            + np.arange(self.height, dtype=np.int32)[:, None] * down // self.height
        )
        page = paper + light - (ink.astype(np.int32) * (paper - dark)) // 255
        strength = int(random.integers(0, 12))
        grain = random.integers(0, 256, (4, self.height, self.width), dtype=np.uint8).sum(axis=0, dtype=np.int32) - 510
        page += grain * strength // 148
        developed: Page = np.clip(page, 0, 255).astype(np.uint8)
        return developed


def _within(sizes: Range, share: float) -> float:
    """The size at the share -1..1 of the way from the least to the most, with the sign of `share`."""
    least, most = sizes
    return math.copysign(least + abs(share) * (most - least), share)


def _invert(matrix: list[list[float]], glyphs: list[Glyph]) -> list[tuple[float, float]]:
    """Where the points of the input lie in the output: the inverse homography, by its adjugate."""
    (a, b, c), (d, e, f), (g, h, i) = matrix
    adjugate = (
        (e * i - f * h, c * h - b * i, b * f - c * e),
        (f * g - d * i, a * i - c * g, c * d - a * f),
        (d * h - e * g, b * g - a * h, a * e - b * d),
    )
    points = []
    for glyph in glyphs:
        x, y, w = (row[0] * glyph.x + row[1] * glyph.y + row[2] for row in adjugate)
        points.append((x / w, y / w))
    return points
