"""Imports go one way, and plugins import only what `benchmark` exports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import benchmark

ROOT = Path(__file__).parents[1]
PLUGIN_PACKAGES = ("donutbench_strategies", "donutbench_datasets")

# What stands on a line may import the same line and those above it. A new module needs a place here.
LAYERS = (
    ("errors", "page", "scales", "steps", "truth", "types"),
    ("folders", "metrics", "plugin", "records"),
    ("devices", "models", "parts", "processes", "progress", "scoring", "slicing", "training"),
    ("measure", "zoo"),
    ("running",),
    ("perf", "pretraining", "sizing"),
    ("report",),
    ("export",),
    ("cli", "__main__"),
)
LAYER = {unit: number for number, units in enumerate(LAYERS) for unit in units}
# They are read where nothing is trained: rescoring and reporting need no torch.
WITHOUT_TORCH = (
    "truth",
    "page",
    "types",
    "scales",
    "processes",
    "plugin.manager",
    "metrics",
    "records.files",
    "report",
    "cli",
)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that a file imports, in functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found, f"no Python file in {folder}"
    return found


def unit_of(path: Path) -> str:
    return path.relative_to(ROOT / "benchmark").parts[0].removesuffix(".py")


def harness_imports() -> Iterator[tuple[str, str, str]]:
    """(place, importing unit, imported unit) within `benchmark`, whose __init__ stands outside the layers."""
    for path in files(ROOT / "benchmark"):
        for line, name in imports(path):
            first, *rest = name.split(".")
            if first == "benchmark" and rest and unit_of(path) != "__init__":
                yield f"{path.relative_to(ROOT)}:{line}", unit_of(path), rest[0]


def test_every_module_has_a_layer() -> None:
    assert {unit_of(path) for path in files(ROOT / "benchmark")} - {"__init__"} <= set(LAYER)


def test_the_harness_imports_one_way() -> None:
    wrong = [
        f"{place}: {importer} imports {imported}"
        for place, importer, imported in harness_imports()
        if LAYER.get(imported, len(LAYERS)) > LAYER[importer]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_cycle_within_a_layer() -> None:
    edges = {(a, b) for _, a, b in harness_imports() if a != b and LAYER[a] == LAYER.get(b)}
    while leaves := {b for _, b in edges} - {a for a, _ in edges}:
        edges = {(a, b) for a, b in edges if b not in leaves}
    assert not edges


def test_the_harness_imports_no_plugin() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in files(ROOT / "benchmark")
        for line, name in imports(path)
        if name.split(".")[0] in (*PLUGIN_PACKAGES, "plugins")
    ]
    assert not wrong, "\n".join(wrong)


def test_plugins_import_only_what_benchmark_exports() -> None:
    exported = {f"benchmark.{name}" for name in benchmark.__all__}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for package in PLUGIN_PACKAGES
        for path in files(ROOT / "plugins" / package)
        for line, name in imports(path)
        if name.split(".")[0] == "benchmark" and name not in exported
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("unit", WITHOUT_TORCH)
def test_importing_it_loads_no_torch(unit: str) -> None:
    code = f"import sys, benchmark.{unit}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("name", benchmark.__all__)
def test_every_export_is_there(name: str) -> None:
    assert getattr(benchmark, name) is not None
    assert name in dir(benchmark)


def test_an_unknown_export_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'prune'"):
        _ = benchmark.prune
