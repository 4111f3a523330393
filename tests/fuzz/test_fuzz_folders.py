"""Folders of documents with lines of any kind: documents, or one line; nothing beside the folder is read or written."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from benchmark.folders import read
from benchmark.folders.folder import Folder
from benchmark.page import read_page
from benchmark.plugin.documents import open_documents
from benchmark.scales import TINY
from benchmark.truth import to_text
from benchmark.types import SPLITS, Page
from tests.fuzz.cases import ANY_TEXT, JSON_VALUES, accepted, cases, listing

SECRET = "secret.png"
NAMES = ANY_TEXT | st.sampled_from(
    [
        "a.png", "b.jpg", "./a.png", "deeper/c.png", "deeper/../a.png", "broken.png", "missing.png", "", ".", "..", " ",
        f"../{SECRET}", f"../../{SECRET}", f"..\\{SECRET}", f"deeper/../../../{SECRET}", "OUTSIDE", "C:\\a.png",
        "a.png\0", "x" * 300, "x/" * 3000, "\udc80.png", "metadata.jsonl", "deeper", "a.png/", "~/a.png",
    ]
)  # fmt: skip
TRUTHS = st.sampled_from(
    [{"gt_parse": {"total": "1"}}, {"gt_parse": {"menu": [{"nm": "x"}, {"nm": "y"}]}}]
) | st.builds(lambda value: {"gt_parse": {"total": value}}, JSON_VALUES)


def line_of(row: Any) -> bytes:
    try:
        return json.dumps(row).encode()
    except ValueError:  # a number of thousands of digits
        return b"9" * 5000


ROWS = st.fixed_dictionaries(
    {},
    optional={
        "file_name": NAMES | JSON_VALUES,
        "ground_truth": TRUTHS.map(line_of).map(bytes.decode) | TRUTHS | JSON_VALUES,
        "x": TRUTHS,
    },
)
GOOD_ROWS = st.fixed_dictionaries({"file_name": NAMES, "ground_truth": TRUTHS})


LINES = (
    (GOOD_ROWS | ROWS).map(line_of)
    | st.binary(max_size=20)
    | st.sampled_from([b"", b"\r", b"\xef\xbb\xbf{}", b"[" * 50_000, b"null", b"{}"])
)
METADATA = st.lists(LINES, max_size=4).map(b"\n".join)
SHARES = st.sampled_from([None, None, (80, 10, 10), (100, 0, 0)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With an image that no folder may name."""
    folder = tmp_path_factory.mktemp("folders")
    Image.new("L", (3, 2)).save(folder / SECRET)
    return folder


@pytest.fixture(scope="module")
def pages() -> Any:
    """Which files have been read as pages."""
    seen: list[Path] = []

    def recorded(path: Path) -> Page:
        seen.append(path)
        return read_page(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "read_page", recorded)
        yield seen


def fill(folder: Path, metadata: bytes) -> None:
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.png", "b.jpg", "deeper/c.png"):
        Image.new("L", (4, 3)).save(folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "metadata.jsonl").write_bytes(metadata)


@cases
@given(METADATA, METADATA, st.sampled_from(["", "train", "test"]), SHARES, st.sampled_from(["donut", "file"]))
@example(line_of({"file_name": "x" * 300, "ground_truth": {"gt_parse": {}}}), b"", "train", None, "donut")
@example(line_of({"file_name": "\udc80.png", "ground_truth": {"gt_parse": {}}}), b"", "train", None, "donut")
@example(line_of({"file_name": f"../{SECRET}", "ground_truth": {"gt_parse": {}}}), b"", "", None, "donut")
def test_any_folder_is_documents_or_one_line(
    base: Path, pages: list[Path], first: bytes, second: bytes, place: str, shares: Any, order: Any
) -> None:
    outside = str(base / SECRET).encode()
    with TemporaryDirectory(dir=base) as name:
        root = Path(name)
        fill(root / place, first.replace(b"OUTSIDE", outside))
        if place != "test":
            fill(root / "test", second.replace(b"OUTSIDE", outside))
        before = listing(base)
        pages.clear()
        dataset: Any = accepted(lambda: read.read_folder(Folder("bills", root, order, shares), ()))
        for split in SPLITS if dataset is not None else ():
            documents: Any = accepted(partial(open_documents, dataset, TINY, split, 0, 3))
            for number in range(len(documents or ())):
                document = accepted(partial(documents.__getitem__, number))
                if document is not None:
                    to_text(document.ground_truth).encode()
        assert all(path.resolve().is_relative_to(root.resolve()) for path in pages)
        assert listing(base) == before


@cases
@given(ANY_TEXT, ANY_TEXT)
def test_any_name_of_a_folder_is_taken_or_one_line(name: str, path: str) -> None:
    folder = accepted(lambda: Folder(name, Path(path.replace("\0", "")) / "nowhere"))
    if folder is not None:
        assert accepted(lambda: read.read_folder(folder)) is None
