"""Parcel Reader, the labels of the paper's Table 4. They are private: whoever has them brings them as a folder."""

from collections.abc import Iterator, Sequence

from benchmark import Dataset, Document, Scale, Split, UserError, hookimpl


def not_here(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
    raise UserError("data set parcel-reader is private: --data parcel-reader=DIR reads your folder of it")


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield Dataset(
        name="parcel-reader",
        summary="parcel labels, from your own folder",
        task="extraction",
        keys=(),
        open=not_here,
        stands_for="Parcel Reader",
        on_request=True,
    )
