"""Our speed against the obvious alternatives, as ratios, in one run."""

from __future__ import annotations

from collections.abc import Iterable

from benchmark.errors import UserError
from benchmark.perf import distances, reading, storage
from benchmark.perf.comparison import Comparison, Missing
from benchmark.plugin.manager import Registry
from benchmark.scales import TINY
from benchmark.types import Dataset
from benchmark.zoo.store import open_zoo


def compare_all(registry: Registry, repeats: int, documents: int) -> tuple[list[Comparison], list[str]]:
    """All comparisons that can be made here, and a line for each that cannot."""
    receipts, texts = (_dataset(registry, name) for name in ("receipts-mini", "synthdog-mini"))
    teacher = open_zoo(TINY).task_teacher(receipts)
    if teacher is None:
        raise UserError(f"the zoo of scale {TINY.name} has no teacher of {receipts.name}")
    comparisons: list[Comparison] = []
    notes: list[str] = []
    for found in (
        *distances.compare(receipts, texts, repeats),
        *reading.compare(receipts, teacher, repeats, documents),
        storage.compare(receipts, teacher),
    ):
        if isinstance(found, Missing):
            notes.append(str(found))
        else:
            comparisons.append(found)
    return comparisons, notes


def differing(comparisons: Iterable[Comparison]) -> list[str]:
    """Names of comparisons whose two ways gave different results."""
    return [comparison.name for comparison in comparisons if not comparison.same]


def _dataset(registry: Registry, name: str) -> Dataset:
    if name not in registry.datasets:
        raise UserError(f"perf reads documents of {name}, and no plugin brings it")
    return registry.datasets[name].item
