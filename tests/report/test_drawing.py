"""How figures are written: two formats, the same bytes each time, small."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.report.drawing import image, picture, write_picture


def draw(directory: Path, panels: int = 2, columns: int | None = None) -> list[Path]:
    with picture(panels, width=3, height=3, columns=columns) as drawn:
        for panel in drawn.panels:
            panel.plot([0, 1 / 3], [0, 1 / 7], label="a line", color="#0072B2")
        drawn.legend()
        return write_picture(directory, "lines", drawn.figure)


def test_each_figure_is_a_png_and_an_svg_without_a_date(tmp_path: Path) -> None:
    png, svg = draw(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in (png, svg)] == ["figures/lines.png", "figures/lines.svg"]
    assert set(Image.open(png).info) <= {"dpi"}
    text = svg.read_text(encoding="utf-8")
    assert "<dc:date>" not in text
    assert "Matplotlib" not in text
    assert text.count(">a line<") == 1, "one legend, and text is text"
    assert not re.search(r"\.\d{3}", text)


def test_the_same_figure_is_the_same_bytes_whatever_the_readers_settings(tmp_path: Path) -> None:
    first = [path.read_bytes() for path in draw(tmp_path)]
    with mpl.rc_context({"lines.linewidth": 9, "svg.fonttype": "path", "svg.hashsalt": "x", "savefig.dpi": 50}):
        assert [path.read_bytes() for path in draw(tmp_path)] == first


def test_few_colours_keep_those_of_the_lines(tmp_path: Path) -> None:
    drawn = Image.open(draw(tmp_path)[0])
    assert drawn.mode == "P"
    assert (0, 0x72, 0xB2) in {colour for _, colour in drawn.convert("RGB").getcolors(2**24) or []}


def test_panels_fill_rows(tmp_path: Path) -> None:
    sizes = [Image.open(draw(tmp_path, 5, columns)[0]).size for columns in (None, 2, 9)]
    assert sizes == [(1800, 360), (720, 1080), (1800, 360)]
    with picture(5, width=3, columns=2) as drawn:
        assert len(drawn.panels) == 5
        assert drawn.figure.axes == list(drawn.panels), "no empty panel is left"


def test_a_link_points_to_the_png() -> None:
    assert image("Lines", "lines") == "![Lines](figures/lines.png)"
    assert image("Lines", "lines", "reports/tiny") == "![Lines](reports/tiny/figures/lines.png)"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        draw(tmp_path)
