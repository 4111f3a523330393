"""Writes a data set in Donut's folder format, which Hugging Face `datasets` loads with ``imagefolder``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from benchmark.errors import UserError
from benchmark.plugin.documents import open_documents
from benchmark.records.target import new_folder
from benchmark.scales import Scale
from benchmark.types import SPLITS, Dataset, Document


def write_folder(dataset: Dataset, scale: Scale, target: Path, documents: int, seed: int) -> None:
    """Write `documents` training documents to `target`, and a tenth of that, at least 1, for other splits.

    The folder appears whole or not at all; one that is there is filled when all is written. Raises `UserError` if
    `target` is there already and is not an empty folder, if `documents` is not positive, and as `open_documents` and
    `Opened`.
    """
    if documents < 1:
        raise UserError(f"cannot generate {documents} documents: at least 1")
    with new_folder(target) as whole:
        for split in SPLITS:
            count = documents if split == "train" else max(1, documents // 10)
            _write_split(whole / split, open_documents(dataset, scale, split, seed, count))


def _write_split(folder: Path, documents: Sequence[Document]) -> None:
    folder.mkdir(parents=True)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for index, document in enumerate(documents):
            name = f"{index:06d}.png"
            Image.fromarray(document.page).save(folder / name)
            truth = json.dumps({"gt_parse": document.ground_truth}, ensure_ascii=False)
            metadata.write(json.dumps({"file_name": name, "ground_truth": truth}, ensure_ascii=False) + "\n")
