"""Peak memory, against allocations of known size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from benchmark.measure.memory import peak_memory_bytes

MEGABYTE = 1_000_000
WEIGHTS = 4 * (100 * 10 + 10)


def make(megabytes: int) -> torch.Tensor:
    return torch.empty(megabytes * MEGABYTE, dtype=torch.uint8)


def one_after_the_other() -> None:
    for megabytes in (2, 3, 1):
        make(megabytes)


def both_at_once() -> None:
    kept = make(2)
    make(3)
    del kept


def views_only() -> None:
    kept = make(2)
    views = [kept[i:].view(-1) for i in range(10)]
    assert len(views) == 10


def in_inference_mode() -> None:
    with torch.inference_mode():
        (make(2) + 1).sum()


@pytest.mark.parametrize(
    ("predict", "megabytes"),
    [(one_after_the_other, 3), (both_at_once, 5), (views_only, 2), (in_inference_mode, 4)],
)
def test_peak_of_known_allocations(predict: Callable[[], None], megabytes: int) -> None:
    peak = peak_memory_bytes(nn.Linear(100, 10), predict) - WEIGHTS - megabytes * MEGABYTE
    assert 0 <= peak < 100


def test_what_was_there_before_does_not_count() -> None:
    model, page = nn.Linear(100, 10), torch.zeros(1, 100).expand(50, 100).contiguous()

    def predict() -> None:
        with torch.inference_mode():
            model(page[:2])

    assert peak_memory_bytes(model, predict) == WEIGHTS + 4 * 2 * 10


def test_tied_weights_count_once() -> None:
    table, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = table.weight
    assert peak_memory_bytes(nn.Sequential(table, head), lambda: None) == 4 * 40
