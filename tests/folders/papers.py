"""Folders of documents for the tests: a few lines and images in a temporary folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmark.folders.folder import Folder
from benchmark.folders.read import read_folder
from benchmark.scales import TINY
from benchmark.types import Dataset, Document, Split


def draw(path: Path, grey: int = 200) -> Path:
    """A page of its own size: 12 x 8 pixels of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 12), grey, np.uint8)).save(path)
    return path


def line(name: str, truth: Any, **more: Any) -> str:
    """A line of metadata as Donut writes it."""
    return json.dumps({"file_name": name, "ground_truth": json.dumps({"gt_parse": truth, **more})})


def write_split(folder: Path, content: str | bytes, images: Sequence[str] = ()) -> Path:
    """``metadata.jsonl`` in a folder, with images of rising grey beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.jsonl").write_bytes(content.encode() if isinstance(content, str) else content)
    for number, name in enumerate(images):
        draw(folder / name, number)
    return folder


def write_truths(folder: Path, truths: Mapping[str, Sequence[Any]]) -> Path:
    """A folder with these ground truths in its splits, in images 0.png, 1.png ..."""
    for split, found in truths.items():
        names = [f"{number}.png" for number in range(len(found))]
        write_split(folder / split, "\n".join(map(line, names, found)), names)
    return folder


def bills(path: Path, **options: Any) -> Dataset:
    return read_folder(Folder("bills", path, **options), needed=())


def opened(dataset: Dataset, split: Split = "train", seed: int = 0, count: int | None = None) -> list[Document]:
    return list(dataset.open(TINY, split, seed, count))


def truths(dataset: Dataset, split: Split = "train") -> list[Any]:
    return [document.ground_truth for document in opened(dataset, split)]
