"""The layerwise heatmaps: which settings get one, whose mean they show, and that every number is printed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.records.record import Metrics, Record
from benchmark.report.heatmaps import _draw, has_heatmaps, heatmap, heatmaps_name, write_heatmaps
from benchmark.report.rows import Row, by_setting

Make = Callable[..., Record]
Fail = Callable[[Record, str], Record]
Matrix = list[list[float | None]]


def layered(layerwise: Matrix, rows: int = 2) -> Metrics:
    names = [f"enc.{layer}" for layer in range(max(rows, 2))]
    return Metrics(ted=0.5, layerwise=layerwise, layers_student=names[:rows], layers_teacher=names[:2])


def test_a_heatmap_is_the_mean_over_distinct_checkpoints(make_record: Make, failed: Fail) -> None:
    matrices: list[Matrix] = [[[1.0, 0.2], [0.4, None]], [[0.5, 0.4], [0.0, 0.9]]]
    records = [make_record("small", "synthdog-mini", seed, metrics=layered(matrices[seed])) for seed in (0, 1)]
    again = records[1].model_copy(update={"seed": 2})
    gone = failed(make_record("small", "synthdog-mini", 3), "boom")
    found = heatmap(Row((*records, again, gone)))
    assert found is not None
    np.testing.assert_allclose(found.values, [[0.75, 0.3], [0.2, np.nan]])
    assert (found.student, found.teacher) == (("enc.0", "enc.1"), ("enc.0", "enc.1"))


def test_checkpoints_of_other_layers_are_not_mixed(make_record: Make) -> None:
    two = make_record("small", "synthdog-mini", 0, metrics=layered([[1.0, 0.2], [0.4, 0.8]]))
    three = make_record("small", "synthdog-mini", 1, metrics=layered([[0.0, 0.0]] * 3, rows=3))
    found = heatmap(Row((two, three)))
    assert found is not None
    np.testing.assert_allclose(found.values, [[1.0, 0.2], [0.4, 0.8]])


def test_no_layers_no_heatmap(make_record: Make, failed: Fail) -> None:
    bare = make_record("small", "synthdog-mini", metrics=Metrics(ted=0.5))
    assert heatmap(Row((bare,))) is None
    assert heatmap(Row((failed(bare, "boom"),))) is None


def test_a_setting_has_a_figure_unless_it_has_options_or_the_teacher_alone(make_record: Make, tmp_path: Path) -> None:
    teacher = make_record("teacher", "synthdog-mini")
    assert write_heatmaps(tmp_path, [teacher]) == []
    records = [
        teacher,
        make_record("small", "synthdog-mini"),
        make_record("small", "synthdog-mini", options={"temperature": "4"}),
        make_record("small", "receipts-mini"),
        make_record("small", "receipts-mini", protocol="task", limit=5, test_documents=5),
        make_record("prune", "parcels-mini", metrics=Metrics(ted=0.5)),
    ]
    paths = write_heatmaps(tmp_path, records)
    assert {path.suffix for path in paths} == {".png", ".svg"}
    names = [path.stem for path in paths if path.suffix == ".png"]
    assert names == [
        "cka-synthdog-mini-tiny-paper-quick-100-cpu",
        "cka-receipts-mini-tiny-paper-quick-100-cpu",
        "cka-receipts-mini-tiny-task-quick-5-limit5-cpu",
    ]
    assert sorted((tmp_path / "figures").iterdir()) == sorted(paths)
    settings = by_setting(records)
    assert names == [heatmaps_name(setting) for setting, rows in settings.items() if has_heatmaps(setting, rows)]


def test_a_panel_a_row_in_the_papers_order_with_every_number(records: list[Record]) -> None:
    setting, rows = next(iter(by_setting(records).items()))
    *panels, bar = _draw(setting, rows).axes
    assert [panel.get_title() for panel in panels] == [row.strategy for row in rows]
    assert panels[0].get_title() == "teacher"
    assert bar.get_ylabel() == "CKA, paper form"
    assert bar.get_ylim() == (0, 1)
    for panel in panels:
        assert [text.get_text() for text in panel.texts] == ["1.00", "0.50", "0.50", "1.00"]
        assert [label.get_text() for label in panel.get_yticklabels()] == ["encoder.0", "decoder.0"]


def test_a_layer_without_cka_is_an_empty_cell(make_record: Make) -> None:
    record = make_record("small", "synthdog-mini", metrics=layered([[0.125, None], [None, 0.9]]))
    setting, rows = next(iter(by_setting([record]).items()))
    [panel, _] = _draw(setting, rows).axes
    assert [(text.get_position(), text.get_text()) for text in panel.texts] == [((0, 0), "0.12"), ((1, 1), "0.90")]
    assert [text.get_color() for text in panel.texts] == ["white", "black"]


def test_the_same_bytes_whatever_the_readers_settings(records: list[Record], tmp_path: Path) -> None:
    reading = [record for record in records if record.dataset == "synthdog-mini"]
    path, _ = write_heatmaps(tmp_path, reading)
    before = path.read_bytes()
    with mpl.rc_context({"font.size": 20, "savefig.facecolor": "red", "image.cmap": "gray"}):
        write_heatmaps(tmp_path, reading)
    assert path.read_bytes() == before
    assert set(Image.open(io.BytesIO(before)).info) <= {"dpi"}


def test_a_file_that_cannot_be_written_is_an_error(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("in the way")
    with pytest.raises(UserError, match="figures"):
        write_heatmaps(tmp_path, records)
