"""Donut's folder format: written whole, and read back by Hugging Face `datasets`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.folders.write import write_folder
from benchmark.scales import TINY, Scale
from benchmark.types import Dataset, Document, Split


def noise(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
    shape = (count or 1, scale.height, scale.width)
    pages = np.random.default_rng([seed, len(split)]).integers(0, 256, shape, np.uint8)
    return [Document(f"{split}/{i}", page, {"total": f"{i} é"}) for i, page in enumerate(pages)]


DATASET = Dataset("noise", "noise", task="extraction", keys=("total",), open=noise)


def test_hugging_face_reads_what_is_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write_folder(DATASET, TINY, tmp_path / "noise", documents=20, seed=4)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "noise"), cache_dir=str(tmp_path / "c"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 20, "validation": 2, "test": 2}
    for split in ("train", "validation", "test"):
        for row, document in zip(loaded[split], noise(TINY, split, 4, len(loaded[split])), strict=True):
            assert np.array_equal(np.asarray(row["image"]), document.page)
            assert json.loads(row["ground_truth"]) == {"gt_parse": document.ground_truth}


@pytest.mark.parametrize("name", ["synthdog_mini", "receipts_mini", "parcels_mini"])
def test_hugging_face_reads_the_embedded_data(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (dataset,) = import_module(f"donutbench_datasets.{name}").donutbench_register_datasets()
    write_folder(dataset, TINY, tmp_path / name, documents=3, seed=0)
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / name), cache_dir=str(tmp_path / "c"))
    for row, document in zip(loaded["train"], dataset.open(TINY, "train", 0, 3), strict=True):
        assert np.array_equal(np.asarray(row["image"]), document.page)
        assert json.loads(row["ground_truth"])["gt_parse"] == document.ground_truth


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_folder(DATASET, TINY, tmp_path / name, documents=2, seed=seed)
    contents = {
        name: {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in "abc"
    }
    assert contents["a"] == contents["b"]
    assert contents["a"] != contents["c"]


def test_every_split_has_a_document(tmp_path: Path) -> None:
    write_folder(DATASET, TINY, tmp_path / "few", documents=1, seed=0)
    assert len(list((tmp_path / "few").rglob("*.png"))) == 3


def test_an_empty_folder_is_filled_and_a_full_one_refused(tmp_path: Path) -> None:
    target = tmp_path / "there"
    target.mkdir()
    write_folder(DATASET, TINY, target, documents=1, seed=0)
    before = sorted(target.rglob("*"))
    with pytest.raises(UserError, match="there exists and is not an empty folder"):
        write_folder(DATASET, TINY, target, documents=1, seed=0)
    assert sorted(target.rglob("*")) == before


def test_the_folder_that_one_is_in_is_filled_and_stays_the_folder_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one in its place would leave a shell in a folder that is gone."""
    here = tmp_path / "here"
    here.mkdir()
    before = here.stat().st_ino
    monkeypatch.chdir(here)
    write_folder(DATASET, TINY, Path("."), documents=1, seed=0)
    assert {path.name for path in Path.cwd().iterdir()} == {"train", "validation", "test"}
    assert here.stat().st_ino == before
    with pytest.raises(UserError, match=r"^\. exists and is not an empty folder$"):
        write_folder(DATASET, TINY, Path("."), documents=1, seed=0)


def test_a_link_to_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    write_folder(DATASET, TINY, tmp_path / "link", documents=1, seed=0)
    assert (tmp_path / "link").is_symlink()
    assert len(list((tmp_path / "folder").rglob("*.png"))) == 3


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("mine")
    with pytest.raises(UserError, match="is not an empty folder"):
        write_folder(DATASET, TINY, target, documents=1, seed=0)
    assert target.read_text() == "mine"


def test_no_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 1"):
        write_folder(DATASET, TINY, tmp_path / "none", documents=0, seed=0)


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def broken(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
        if split == "test":
            raise KeyboardInterrupt
        return noise(scale, split, seed, count)

    dataset = Dataset("broken", "stops", task="extraction", keys=("total",), open=broken)
    with pytest.raises(KeyboardInterrupt):
        write_folder(dataset, TINY, tmp_path / "half", documents=1, seed=0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt):
        write_folder(dataset, TINY, tmp_path, documents=1, seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_names_the_folder_and_leaves_nothing(
    there: bool, tmp_path: Path, small_files: Callable[[int], None]
) -> None:
    target = tmp_path / "target"
    if there:
        target.mkdir()
    small_files(1000)
    with pytest.raises(UserError, match=r"^cannot write .*target: File too large$"):
        write_folder(DATASET, TINY, target, documents=1, seed=0)
    assert list(tmp_path.rglob("*")) == [target] * there
