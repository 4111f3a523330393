"""Downloaded data sets of the Hugging Face hub in Donut's columns, ``image`` and ``ground_truth``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

from benchmark.errors import UserError, first_line
from benchmark.folders.draw import drawn
from benchmark.folders.truths import keys_of, truths_of
from benchmark.scales import Scale
from benchmark.types import Dataset, Document, Split

_NOWHERE = "not downloaded"
_CHOICE = 4
"""How many times more documents than are asked for are at hand, so that seeds draw different ones."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows `begin` to `end` of a split of the hub, which stand for one of ours."""

    split: str
    begin: int = 0
    end: int | None = None


WHOLE: Mapping[Split, Part] = {"train": Part("train"), "validation": Part("validation"), "test": Part("test")}


def hub_dataset(
    name: str,
    repository: str,
    summary: str,
    keys: tuple[str, ...] | None = None,
    stands_for: str | None = None,
    task: Literal["reading", "extraction"] = "extraction",
    parts: Mapping[Split, Part] = WHOLE,
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A data set whose parquet files are in the hub's cache (``hf download --repo-type dataset REPOSITORY``).

    Nothing is fetched here, and of a split no more files are opened than have the documents that are asked for: of a
    data set of 41 GB a few will do. Its version is that of the download. Without `keys` they are those of all training
    documents that have been downloaded, which are read for it each time.
    """
    if keys is None:
        keys = _keys(_files(repository, parts["train"]))
    return Dataset(
        name=name,
        summary=summary,
        task=task,
        keys=keys,
        open=partial(_open, name, repository, tuple(sorted(parts.items()))),
        stands_for=stands_for,
        version=_revision(repository) or _NOWHERE,
        notes=notes,
        on_request=True,
    )


def _place(repository: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE) / f"datasets--{repository.replace('/', '--')}"


def _revision(repository: str) -> str | None:
    """The commit that was downloaded last."""
    try:
        return (_place(repository) / "refs" / "main").read_text().strip() or None
    except OSError:
        return None


def _files(repository: str, part: Part) -> list[Path]:
    folder = _place(repository) / "snapshots" / (_revision(repository) or _NOWHERE)
    return sorted(folder.glob(f"**/{part.split}-*.parquet"))


def _keys(files: Sequence[Path]) -> tuple[str, ...]:
    if not files:
        return ()
    from pyarrow.parquet import read_table  # type: ignore[import-untyped]

    texts = (text for file in files for text in read_table(file, columns=["ground_truth"])[0].to_pylist())
    return tuple(sorted(set().union(*(keys_of(truths_of(text, "ground_truth", "donut", {})[0]) for text in texts))))


def _open(
    name: str,
    repository: str,
    parts: tuple[tuple[Split, Part], ...],
    scale: Scale,
    split: Split,
    seed: int,
    count: int | None,
) -> Sequence[Document]:
    part = dict(parts)[split]
    files = _files(repository, part)
    if not files:
        raise UserError(
            f"data set {name}: its split {part.split} is not in the hub's cache: "
            f"`hf download --repo-type dataset {repository}` puts it there, --data {name}=DIR reads a folder"
        )
    rows = _rows(files, None if count is None else part.begin + _CHOICE * count, f"data set {name}")
    there = range(len(rows))[part.begin : part.end]
    return HubDocuments(rows, tuple(drawn(there, seed, count)), f"{repository}, {part.split}")


def _rows(files: Sequence[Path], enough: int | None, what: str) -> Any:
    """An Arrow table on disk of as many files as have `enough` rows."""
    try:
        import datasets
        from pyarrow.parquet import read_metadata
    except ImportError:
        raise UserError(f"{what} is read with the package datasets: pip install datasets") from None
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    needed, found = [], 0
    try:
        for file in files:
            needed.append(str(file))
            found += read_metadata(file).num_rows
            if enough is not None and found >= enough:
                break
        return datasets.load_dataset("parquet", data_files=needed, split="train")
    except Exception as error:  # a broken file raises that of any library below
        raise UserError(f"{what}: cannot read {needed[-1]}: {first_line(error)}") from error
    finally:
        if not bars:
            datasets.enable_progress_bars()


@dataclass(frozen=True, slots=True)
class HubDocuments(Sequence[Document]):
    """Documents that are read from the table when they are asked for."""

    table: Any
    rows: tuple[int, ...]
    where: str

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> HubDocuments: ...
    def __getitem__(self, index: int | slice) -> Document | HubDocuments:
        if isinstance(index, slice):
            return HubDocuments(self.table, self.rows[index], self.where)
        number = self.rows[index]
        source = f"{self.where}, row {number}"
        row = self.table[number]
        missing = [column for column in ("image", "ground_truth") if column not in row]
        if missing:
            raise UserError(f"{source}: there is no column {missing[0]}")
        first, *others = truths_of(row["ground_truth"], source, "donut", {})
        name = f"{self.where.rpartition(' ')[2]}-{number:06d}"
        return Document(name, row["image"], first, source=source, alternatives=tuple(others))
