"""pyproject's table, the files on disk, the installed metadata and the wheel agree."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ENTRY_POINTS: dict[str, str] = PROJECT["entry-points"]["donutbench"]


def test_every_plugin_on_disk_is_an_entry_point() -> None:
    """A file without one would never be seen, and one without a file breaks every command."""
    on_disk = {
        ".".join(path.relative_to(ROOT / "plugins").with_suffix("").parts)
        for path in (ROOT / "plugins").rglob("*.py")
        if "def donutbench_register_" in path.read_text(encoding="utf-8")
    }
    assert sorted(ENTRY_POINTS.values()) == sorted(on_disk)


@pytest.mark.parametrize(("name", "module"), ENTRY_POINTS.items())
def test_an_entry_point_has_the_name_of_what_it_registers(name: str, module: str) -> None:
    plugin = importlib.import_module(module)
    kind = "strategies" if module.startswith("donutbench_strategies.") else "datasets"
    first, *others = [item.name for item in getattr(plugin, f"donutbench_register_{kind}")()]
    assert (first, others) in [(name, []), (name, [f"{name}-distill"])]


def test_the_installed_metadata_is_that_of_the_project() -> None:
    """A new entry point stays unseen until the project is installed again."""
    try:
        installed = distribution("donutbench")
    except PackageNotFoundError:
        pytest.skip("donutbench runs from its sources here: pip install -e .")
    points = {point.name: point.value for point in installed.entry_points if point.group == "donutbench"}
    assert points == ENTRY_POINTS
    assert installed.version == PROJECT["version"]
    scripts = {point.name: point.value for point in installed.entry_points if point.group == "console_scripts"}
    assert scripts == PROJECT["scripts"]


def test_the_license_is_the_one_named() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_wheel_carries_code_plugins_and_zoo(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {
        "benchmark",
        "donutbench_datasets",
        "donutbench_strategies",
        f"donutbench-{PROJECT['version']}.dist-info",
    }
    zoo = {path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmark" / "zoo").rglob("*.*")}
    assert any(name.endswith(".safetensors") for name in zoo)
    assert zoo <= names
    assert {f"{module.replace('.', '/')}.py" for module in ENTRY_POINTS.values()} <= names


def test_continuous_integration_runs_the_makefile() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    targets = script.read_text().partition("make ")[2].split()
    assert targets == ["lint", "types", "check-reports", "test", "test-long"]
    printed = subprocess.run(["make", "-n", *targets], cwd=ROOT, check=True, capture_output=True, text=True)
    assert "-m pytest" in printed.stdout
