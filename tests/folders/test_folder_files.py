"""The files of a folder: metadata however it was saved, images of any kind, and names that stay inside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.errors import UserError
from benchmark.folders.folder import Folder
from benchmark.folders.read import FolderDocuments, read_folder
from benchmark.folders.write import write_folder
from benchmark.models.encoded import encode_documents
from benchmark.models.processor import build_processor
from benchmark.scales import TINY
from benchmark.types import SPLITS, Dataset
from tests.folders.papers import bills, draw, line, opened, truths, write_split, write_truths

A, B = line("a.png", {"total": "1"}), line("b.png", {"total": "2 €"})
SAVED: dict[str, bytes] = {
    "as usual": f"{A}\n{B}\n".encode(),
    "without a last line break": f"{A}\n{B}".encode(),
    "with a byte order mark": f"{A}\n{B}\n".encode("utf-8-sig"),
    "with blank lines": f"\n{A}\n \n\n{B}\n\n".encode(),
    "on Windows": f"{A}\r\n{B}\r\n".encode(),
    "with letters as they are": A.encode() + b"\n" + B.replace("\\\\u20ac", "€").encode(),
}


@pytest.mark.parametrize("how", SAVED)
def test_metadata_is_read_however_it_was_saved(how: str, tmp_path: Path) -> None:
    write_split(tmp_path / "train", SAVED[how], ["a.png", "b.png"])
    assert truths(bills(tmp_path)) == [{"total": "1"}, {"total": "2 €"}]


def test_a_line_has_the_number_that_an_editor_shows(tmp_path: Path) -> None:
    write_split(tmp_path / "train", f"\n{A}\n\n{{", ["a.png"])
    with pytest.raises(UserError, match=r"train/metadata\.jsonl, line 4: the line is not JSON"):
        bills(tmp_path)


@pytest.mark.parametrize(("content", "told"), [(b"\xff", "byte 0xff at 1"), (A.encode("utf-16"), "byte 0xff at 1")])
def test_what_is_no_utf8_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    write_split(tmp_path / "train", content, ["a.png"])
    with pytest.raises(UserError, match=f"line 1: not UTF-8: {told}"):
        bills(tmp_path)


OUTSIDE = ["../a.png", "x/../../a.png", "/a.png", "", " ", "..\\a.png", "C:\\a.png", "\\\\host\\a.png", "a\0.png"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_file_name_stays_in_its_folder(name: str, tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    write_split(tmp_path / "train", line(name, {"total": "1"}))
    with pytest.raises(UserError, match=r"train/metadata\.jsonl, line 1: the file_name .* is not that of a file in"):
        bills(tmp_path)


def test_a_file_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "train", '{"file_name": 7, "ground_truth": {"gt_parse": {}}}')
    with pytest.raises(UserError, match="line 1: the file_name 7 is not"):
        bills(tmp_path)


def test_images_may_lie_deeper(tmp_path: Path) -> None:
    write_split(tmp_path / "train", line("scans/a.png", {"total": "1"}), ["scans/a.png"])
    assert [document.id for document in opened(bills(tmp_path))] == ["train/scans/a.png"]


def test_a_document_that_stands_twice_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "train", f"{A}\n{B}\n{A}", ["a.png", "b.png"])
    with pytest.raises(UserError, match=r"line 3: a\.png stands in .*metadata\.jsonl, line 1 already"):
        bills(tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_an_image_that_is_missing_is_refused_at_once(there: bool, tmp_path: Path) -> None:
    write_split(tmp_path / "train", f"{A}\n{B}", ["a.png"])
    if there:
        (tmp_path / "train" / "b.png").mkdir()
    with pytest.raises(UserError, match=r"train/metadata\.jsonl, line 2: there is no image .*b\.png"):
        bills(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_an_image_that_cannot_be_read_is_told_by_file_and_line(content: bytes | None, tmp_path: Path) -> None:
    write_split(tmp_path / "train", f"{A}\n{B}", ["a.png", "b.png"])
    broken = tmp_path / "train" / "b.png"
    broken.write_bytes(broken.read_bytes()[:-20] if content is None else content)
    dataset = bills(tmp_path)
    with pytest.raises(UserError) as caught:
        encode_documents(dataset.open(TINY, "train", 0, None), build_processor(TINY, [dataset]), 20)
    where = f"train/metadata.jsonl, line 2: cannot read the image {broken.relative_to(tmp_path)}: "
    assert str(caught.value).startswith(where)
    assert "\n" not in str(caught.value)


def test_pages_are_what_a_person_sees(tmp_path: Path) -> None:
    """Transparent is white, 16 bits are as bright as 8, CMYK ink is dark, and EXIF turns."""
    folder = tmp_path / "train"
    names = ["rgba.png", "deep.png", "cmyk.jpg", "turned.jpg", "palette.gif", "bits.png"]
    write_split(folder, "\n".join(line(name, {"total": "1"}) for name in names))
    Image.new("RGBA", (4, 2), (0, 0, 0, 0)).save(folder / "rgba.png")
    Image.fromarray(np.full((2, 4), 65535, np.uint16)).save(folder / "deep.png")
    Image.new("CMYK", (4, 2), (0, 0, 0, 255)).save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.new("L", (4, 2), 0).save(folder / "turned.jpg", exif=exif)
    Image.new("P", (4, 2)).save(folder / "palette.gif")
    Image.new("1", (4, 2), 1).save(folder / "bits.png")
    pages = [document.page for document in opened(bills(tmp_path))]
    assert [page.shape for page in pages] == [(2, 4, 3)] * 3 + [(4, 2, 3)] + [(2, 4, 3)] * 2
    assert [int(page.mean()) for page in pages] == [255, 255, 0, 0, 0, 255]
    encoded = encode_documents(opened(bills(tmp_path)), build_processor(TINY, [bills(tmp_path)]), 20)
    assert encoded.pages[:].shape == (6, TINY.height, TINY.width, 3)


def test_pages_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    write_truths(tmp_path, {"train": [{"total": str(number)} for number in range(4)]})
    documents = bills(tmp_path).open(TINY, "train", 0, None)
    assert isinstance(documents, FolderDocuments)
    draw(tmp_path / "train" / "2.png", 77)
    (tmp_path / "train" / "3.png").unlink()
    assert documents[2].page.tolist() == [[[77] * 3] * 12] * 8
    assert [document.ground_truth for document in documents[:3]] == [{"total": str(number)} for number in range(3)]
    with pytest.raises(IndexError):
        documents[4]


class TestDigest:
    """The version is that of what the documents are, not of where they lie."""

    def folder(self, path: Path) -> Path:
        return write_truths(path, {"train": [{"a": "1"}, {"a": "2"}], "test": [{"a": "3"}]})

    def test_it_is_that_of_the_content(self, tmp_path: Path) -> None:
        first, second = bills(self.folder(tmp_path / "x")), bills(self.folder(tmp_path / "y"))
        assert first.version == second.version
        os.utime(tmp_path / "x" / "train" / "0.png", (1, 1))
        (tmp_path / "x" / "notes.txt").write_text("mine")
        assert bills(tmp_path / "x").version == first.version

    @pytest.mark.parametrize("change", ["a ground truth", "a pixel", "a name", "one more", "one less"])
    def test_it_changes_with_every_document(self, change: str, tmp_path: Path) -> None:
        before = bills(self.folder(tmp_path)).version
        test = tmp_path / "test"
        if change == "a pixel":
            draw(test / "0.png", 1)
        elif change == "a ground truth":
            write_split(test, line("0.png", {"a": "4"}))
        elif change == "a name":
            (test / "0.png").rename(test / "1.png")
            write_split(test, line("1.png", {"a": "3"}))
        elif change == "one more":
            write_split(test, line("0.png", {"a": "3"}) + "\n" + line("1.png", {"a": "3"}), ["0.png", "1.png"])
        else:
            write_split(test, "")
        assert bills(tmp_path).version != before


def test_what_is_drawn_of_many_documents_is_that_of_the_seed_in_their_order(tmp_path: Path) -> None:
    dataset = bills(write_truths(tmp_path, {"train": [{"n": f"{number:02}"} for number in range(20)]}))
    drawn = [[d.ground_truth["n"] for d in opened(dataset, seed=seed, count=6)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0] == sorted(drawn[0])
    assert len(set(drawn[0])) == 6
    assert len(opened(dataset, count=50)) == 20


@pytest.mark.parametrize("name", ["receipts-mini", "synthdog-mini"])
def test_what_generate_writes_is_read_again(name: str, datasets: dict[str, Dataset], tmp_path: Path) -> None:
    written = datasets[name]
    write_folder(written, TINY, tmp_path / "folder", documents=20, seed=3)
    read = read_folder(Folder("bills", tmp_path / "folder", key_order="file"))
    assert read.task == written.task
    assert set(read.keys) <= set(written.keys)
    for split, count in zip(SPLITS, (20, 2, 2), strict=True):
        documents = opened(read, split)
        assert len(documents) == count
        for document, original in zip(documents, written.open(TINY, split, 3, count), strict=True):
            assert document.ground_truth == original.ground_truth
            assert list(document.ground_truth) == list(original.ground_truth)
            assert np.array_equal(document.page[:, :, 0], original.page)
