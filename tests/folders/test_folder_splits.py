"""The splits of a folder: said where one is missing, and divided by a hash of the names where that is asked for."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.folders.divide import split_of
from benchmark.folders.folder import Folder, parse_shares
from benchmark.folders.read import read_folder
from benchmark.types import SPLITS
from tests.folders.papers import bills, line, opened, write_split, write_truths

NAMES = [f"{number:03}.png" for number in range(200)]


def flat(path: Path, names: list[str]) -> Path:
    return write_split(path, "\n".join(line(name, {"total": "1"}) for name in names), names)


def ids(path: Path, shares: tuple[int, int, int]) -> dict[str, list[str]]:
    dataset = bills(path, shares=shares)
    return {split: [document.id for document in opened(dataset, split)] for split in SPLITS}


class TestMissing:
    @pytest.mark.parametrize("split", SPLITS)
    def test_it_is_said_and_not_invented(self, split: str, tmp_path: Path) -> None:
        write_truths(tmp_path, {name: [{"total": "1"}] for name in SPLITS if name != split})
        told = rf"data set bills: {tmp_path} has no {split}/metadata\.jsonl; --split 80,10,10 divides"
        with pytest.raises(UserError, match=told):
            read_folder(Folder("bills", tmp_path))

    def test_an_empty_one_is_as_good_as_none(self, tmp_path: Path) -> None:
        write_truths(tmp_path, {"train": [{"a": "1"}], "validation": [], "test": [{"a": "1"}]})
        with pytest.raises(UserError, match=r"validation/metadata\.jsonl has no documents; --split 80,10,10"):
            read_folder(Folder("bills", tmp_path))

    def test_only_what_is_needed_is_asked_for(self, tmp_path: Path) -> None:
        write_truths(tmp_path, {"test": [{"b": "1"}]})
        dataset = read_folder(Folder("bills", tmp_path), needed=("test",))
        assert (dataset.keys, dataset.notes, len(opened(dataset, "test"))) == (("b",), (), 1)
        with pytest.raises(UserError, match=r"has no train/metadata\.jsonl"):
            opened(dataset, "train")

    def test_a_folder_of_anything_else_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"has no train/metadata\.jsonl, and no metadata\.jsonl of its own"):
            bills(tmp_path)
        with pytest.raises(UserError, match=r"data set bills: .*nowhere is not a folder"):
            bills(tmp_path / "nowhere")

    def test_a_flat_folder_is_told_what_divides_it(self, tmp_path: Path) -> None:
        flat(tmp_path, NAMES[:3])
        with pytest.raises(UserError, match=r"has no train/metadata\.jsonl; --split 80,10,10 divides what the folder"):
            read_folder(Folder("bills", tmp_path))


class TestDivided:
    def test_a_flat_folder_is_divided(self, tmp_path: Path) -> None:
        found = ids(flat(tmp_path, NAMES), (80, 10, 10))
        assert sorted(chain(*found.values())) == NAMES
        assert [len(found[split]) for split in SPLITS] == pytest.approx([160, 20, 20], abs=12)
        for split, names in found.items():
            assert names == sorted(names)
            assert all(split_of(name, (80, 10, 10)) == split for name in names)

    def test_it_is_the_same_everywhere(self) -> None:
        """Of SHA-256, whose first bytes anyone can compute."""
        assert [split_of(name, (50, 25, 25)) for name in NAMES[:3]] == ["test", "validation", "train"]

    def test_new_documents_move_no_others(self, tmp_path: Path) -> None:
        few = ids(flat(tmp_path / "few", NAMES[::2]), (60, 20, 20))
        many = ids(flat(tmp_path / "many", NAMES), (60, 20, 20))
        for split in SPLITS:
            assert set(few[split]) <= set(many[split])

    def test_a_split_with_nothing_to_share_stays_as_it_is(self, tmp_path: Path) -> None:
        """Real sets often come without validation; their test split is not to be touched."""
        flat(tmp_path / "train", NAMES)
        flat(tmp_path / "test", NAMES[:7])
        found = ids(tmp_path, (90, 10, 0))
        assert found["test"] == [f"test/{name}" for name in NAMES[:7]]
        assert sorted(found["train"] + found["validation"]) == [f"train/{name}" for name in NAMES]
        assert len(found["validation"]) == pytest.approx(20, abs=10)

    def test_otherwise_all_documents_are_divided_anew(self, tmp_path: Path) -> None:
        flat(tmp_path / "train", NAMES[:100])
        flat(tmp_path / "test", NAMES[100:])
        found = ids(tmp_path, (50, 25, 25))
        assert {name.split("/")[0] for name in found["train"]} == {"train", "test"}
        assert len(set(chain(*found.values()))) == 200

    def test_it_is_in_the_version_and_in_the_notes(self, tmp_path: Path) -> None:
        flat(tmp_path, NAMES[:60])
        one, other = bills(tmp_path, shares=(80, 10, 10)), bills(tmp_path, shares=(79, 11, 10))
        assert one.version != other.version
        counts = ", ".join(f"{split} {len(opened(one, split))}" for split in SPLITS)
        assert one.notes == (f"its splits are made by a hash of the file names (--split 80,10,10: {counts} documents)",)

    def test_a_split_that_gets_nothing_is_told(self, tmp_path: Path) -> None:
        names = [name for name in NAMES if split_of(name, (50, 25, 25)) != "validation"][:4]
        with pytest.raises(UserError, match="data set bills: --split 50,25,25 leaves validation none of 4 documents"):
            read_folder(Folder("bills", flat(tmp_path, names), shares=(50, 25, 25)))


@pytest.mark.parametrize(
    "text", ["80,10", "80,10,10,0", "80,20,10", "0,50,50", "a,b,c", "-10,100,10", "80.5,10,9.5", ""]
)
def test_shares_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not the percent of train, validation and test, such as 80,10,10"):
        parse_shares(text)


def test_shares_are_percent() -> None:
    assert parse_shares("90, 0,10") == (90, 0, 10)


def test_what_is_not_usual_is_kept_as_options_of_the_command(tmp_path: Path) -> None:
    write_truths(tmp_path, {"train": [{"total": "1"}] * 4})
    assert bills(tmp_path).options == ()
    chosen = bills(tmp_path, key_order="file", shares=(50, 25, 25))
    assert chosen.options == (("key-order", "file"), ("split", "50,25,25"))
