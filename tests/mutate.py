"""What share of small changes to the code the tests notice: mutmut over the packages that pyproject.toml names.

`make mutate`, or `make mutate ONLY=benchmark/metrics/cka.py` for one file or folder. Decorated functions (properties)
and defaults of fields are not changed. A mutant that no test runs counts as a survivor, one that never ends as killed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTANTS = ROOT / "mutants"
SURVIVED = (0, 33)
"""mutmut's codes for a mutant that passed its tests, or has none."""
LATE = (36, 24, -24, 152, 255, -9)
"""Those for one that was stopped. Many of them are a machine that has other things to do, and say nothing."""


def run(only: str) -> None:
    shutil.rmtree(MUTANTS, ignore_errors=True)
    names = [only.removesuffix(".py").strip("/").replace("/", ".") + ".*"] if only else []
    subprocess.run([Path(sys.executable).with_name("mutmut"), "run", *names], cwd=ROOT, check=True)


def score() -> str:
    """One line: the share killed of all that were tried, by package, and how many of all ran out of time."""
    tried: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    late = 0
    for path in sorted(MUTANTS.rglob("*.py.meta")):
        for code in json.loads(path.read_text())["exit_code_by_key"].values():
            if code is not None:
                late += code in LATE
                for name in (path.parent.name, "in all"):
                    tried[name] += 1
                    killed[name] += code not in SURVIVED
    names = [*sorted(set(tried) - {"in all"}), "in all"]
    shares = (f"{name} {killed[name] / max(1, tried[name]):.1%} of {tried[name]}" for name in names)
    return f"killed: {', '.join(shares)}, {late} by the clock"


if __name__ == "__main__":
    run(*sys.argv[1:] or [""])
    print(f"{score()}\n`.venv/bin/mutmut results` lists the survivors, `.venv/bin/mutmut show NAME` shows one.")
