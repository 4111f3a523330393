"""What `--set` reaches of the built-in strategies."""

from __future__ import annotations

import pytest

from benchmark.running.cells import options_of
from tests.strategies.registered import STRATEGIES


@pytest.mark.parametrize("name", STRATEGIES)
def test_no_name_means_two_things(name: str) -> None:
    """Parts may share an option, if it has one value: what is set is set in all of them."""
    for option, values in options_of(STRATEGIES[name]).items():
        assert len(set(map(repr, values))) == 1, f"{option} is {values}"
