"""Short trainings in milliseconds."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def _frozen() -> Iterator[None]:
    """`Trainer` collects garbage before it trains, which takes longer than 20 steps: not of what has been imported."""
    gc.freeze()
    yield
    gc.unfreeze()
