"""`run --teacher` with what other people's checkpoints bring: their own tokenizers, sizes of pages and files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark import UserError
from benchmark.models.processor import needed_tokens
from benchmark.running.config import RunConfig
from benchmark.running.runner import outline, run
from benchmark.running.setup import set_up
from benchmark.scales import Changes
from benchmark.types import Dataset
from tests.foreign import save_foreign
from tests.models.edits import Edit, images, more_tokens, of_characters, of_pieces, sharded, shards, tokenizer_of
from tests.running.runs import config, quick_measurements

OFF_THE_GRID = images(size={"height": 101, "width": 163})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "donut"
    save_foreign(folder)
    return folder


@pytest.fixture
def donut(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "donut"))


def given(teacher: Path, output: Path, **changes: Any) -> RunConfig:
    few = Changes(documents=4, batch=2, learning_rate=1e-3)
    return replace(config(output, teacher=str(teacher), protocol="task", changes=few, limit=4), **changes)


@pytest.mark.parametrize("edits", [(tokenizer_of(of_characters),), (tokenizer_of(of_pieces), OFF_THE_GRID)])
@pytest.mark.long
def test_it_is_fine_tuned_and_distilled(edits: tuple[Edit, ...], donut: Path, tmp_path: Path) -> None:
    for edit in edits:
        edit(donut)
    with quick_measurements():
        (record,) = run(given(donut, tmp_path / "out", strategies=("prune-distill",)))
    assert (record.status, record.error, record.steps) == ("ok", None, 2)
    assert record.teacher_documents == 4
    assert record.metrics is not None
    assert record.metrics.ted_ceiling is not None


def test_tokens_without_a_row_are_not_known(donut: Path, tmp_path: Path, datasets: dict[str, Dataset]) -> None:
    """Somebody has added them to the tokenizer and not to the model, which so was never trained with them."""
    more_tokens(*needed_tokens(datasets["receipts-mini"]))(donut)
    (line, *_) = outline(set_up(given(donut, tmp_path / "out")))
    assert line.startswith("donut does not know <s_receipts-mini>, <sep/>, <s_menu> and ")
    assert line.endswith("it is fine-tuned on receipts-mini first")


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (sharded(lambda folder: shards(folder)[1].unlink()), "which is not there: the weights lie in 2 files"),
        (images(size={"height": 24, "width": 40}), "3x5 cells in stage 2, and windows of 4 need as many a side"),
        (images(image_processor_type="ViTImageProcessor"), "makes its pages with ViTImageProcessor"),
    ],
)
def test_what_cannot_be_read_is_told_before_anything_is_run(edit: Edit, line: str, donut: Path, tmp_path: Path) -> None:
    edit(donut)
    with pytest.raises(UserError, match=line):
        set_up(given(donut, tmp_path / "out"))
