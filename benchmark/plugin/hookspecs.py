"""The whole extension surface: two hooks. A plugin implements one of them, or both."""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from benchmark.types import Dataset, Strategy

hookspec = pluggy.HookspecMarker("donutbench")
hookimpl = pluggy.HookimplMarker("donutbench")


@hookspec
def donutbench_register_strategies() -> Iterable[Strategy]:
    """Yield the strategies that the plugin adds.

    ::

        from collections.abc import Iterator

        from benchmark import LogitDistillation, Strategy, hookimpl, reference


        @hookimpl
        def donutbench_register_strategies() -> Iterator[Strategy]:
            yield Strategy(
                name="distill-warm",
                summary="the small student, distilled at a higher temperature",
                start=reference("small"),
                objective=LogitDistillation(temperature=4.0),
            )
    """
    raise NotImplementedError


@hookspec
def donutbench_register_datasets() -> Iterable[Dataset]:
    """Yield the data sets that the plugin adds.

    ::

        from collections.abc import Iterator, Sequence

        import numpy as np

        from benchmark import Dataset, Document, Scale, Split, hookimpl


        def blank(scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]:
            page = np.full((scale.height, scale.width), 255, np.uint8)
            return [Document(f"{split}-{i}", page, {"total": "0.00"}) for i in range(count or 100)]


        @hookimpl
        def donutbench_register_datasets() -> Iterator[Dataset]:
            yield Dataset("blank", "empty pages", task="extraction", keys=("total",), open=blank)
    """
    raise NotImplementedError
