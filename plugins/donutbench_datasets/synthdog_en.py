"""SynthDoG's English pages (Kim et al. 2022), what the paper's models learn to read on: 500,000 and 500 of them."""

from collections.abc import Iterator

from benchmark import Dataset, Part, hookimpl, hub_dataset


@hookimpl
def donutbench_register_datasets() -> Iterator[Dataset]:
    yield hub_dataset(
        name="synthdog-en",
        repository="naver-clova-ix/synthdog-en",
        summary="synthetic pages of Wikipedia's text, from the hub",
        keys=("text_sequence",),
        stands_for="SynthDog-EN",
        task="reading",
        # The hub has no test split; the paper generated its own 791 pages.
        parts={"train": Part("train"), "validation": Part("validation", 0, 250), "test": Part("validation", 250)},
        notes=("its test split is the second half of the hub's validation split, which has none",),
    )
