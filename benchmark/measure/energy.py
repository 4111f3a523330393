"""The energy of a reading, by the processor's own counter, where a machine shows one.

Intel's and AMD's processors count the energy of a package (RAPL), and Linux shows the counters as files
(https://docs.kernel.org/power/powercap/powercap.html). A virtual machine mostly has none. A package is counted whole,
with whatever else runs on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_ENERGY, _RANGE = "energy_uj", "max_energy_range_uj"
_SETTLED = 0.05
"""Seconds in which a counter that works has moved: it is renewed every millisecond."""


@dataclass(frozen=True, slots=True)
class Counter:
    """The packages of a machine: their folders, and the microjoules at which each begins anew."""

    packages: tuple[Path, ...]
    ranges: tuple[int, ...]

    def read(self) -> tuple[int, ...]:
        """Microjoules of each package since some moment. Raises `OSError` or `ValueError` where it cannot be read."""
        return tuple(int((package / _ENERGY).read_text()) for package in self.packages)

    def millijoules(self, before: tuple[int, ...], after: tuple[int, ...]) -> float:
        """What all packages have used between two readings, in which each began anew at most once."""
        used = zip(before, after, self.ranges, strict=True)
        # A counter takes the values 0 to its range.
        return sum((end - begin) % (most + 1) for begin, end, most in used) / 1000


def find_counter(folder: Path = POWERCAP, wait: Callable[[float], object] = time.sleep) -> Counter | None:
    """The counter of this machine, if it has one that can be read and moves."""
    # `intel-rapl:0:1` is a part of the package `intel-rapl:0`, and counted with it.
    packages = tuple(sorted(path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1))
    try:
        counter = Counter(packages, tuple(int((package / _RANGE).read_text()) for package in packages))
        before = counter.read()
        if packages:
            wait(_SETTLED)
        return counter if counter.millijoules(before, counter.read()) > 0 else None
    except (OSError, ValueError):
        return None
