"""The built-in strategies by name, and their objectives by text: from the files, whatever is installed."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module

import donutbench_strategies
from benchmark import Strategy


def _registered() -> Iterator[Strategy]:
    for module in pkgutil.iter_modules(donutbench_strategies.__path__):
        yield from import_module(f"donutbench_strategies.{module.name}").donutbench_register_strategies()


STRATEGIES = {strategy.name: strategy for strategy in _registered()}
OBJECTIVES = {str(s.objective): s.objective for s in STRATEGIES.values() if s.objective is not None}
