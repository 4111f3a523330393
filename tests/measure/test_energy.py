"""Counters of energy in a folder like Linux's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.measure.energy import Counter, find_counter
from benchmark.measure.latency import Clock, Marks, Timed, measure_latency, time_in_turns
from benchmark.records.record import Interval

RANGE = 262_143_328_850
Write = Callable[..., Path]


@pytest.fixture
def package(tmp_path: Path) -> Write:
    def write(name: str, energy: int | str, most: int = RANGE) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "energy_uj").write_text(f"{energy}\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        return folder

    return write


def use(folder: Path, microjoules: int) -> None:
    file = folder / "energy_uj"
    file.write_text(f"{(int(file.read_text()) + microjoules) % (RANGE + 1)}\n")


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path, package: Write) -> None:
    first, second, part = package("intel-rapl:0", 5), package("intel-rapl:1", 7), package("intel-rapl:0:0", 9)
    (tmp_path / "intel-rapl").mkdir()
    counter = find_counter(tmp_path, lambda _: use(first, 1))
    assert counter is not None
    assert counter.packages == (first, second)
    before = counter.read()
    for folder, used in ((first, 2_000), (second, 500), (part, 10**9)):
        use(folder, used)
    assert counter.millijoules(before, counter.read()) == 2.5


def test_a_counter_that_begins_anew() -> None:
    counter = Counter((), (RANGE, RANGE))
    assert counter.millijoules((RANGE - 999, 5), (1_000, 5)) == 2.0


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert find_counter(tmp_path / "nowhere") is None
    assert find_counter(tmp_path) is None


def test_a_counter_that_stands_still_is_none(tmp_path: Path, package: Write) -> None:
    package("intel-rapl:0", 5)
    assert find_counter(tmp_path, lambda _: None) is None


@pytest.mark.parametrize("content", ["", "unknown"])
def test_a_counter_without_a_number_is_none(tmp_path: Path, package: Write, content: str) -> None:
    package("intel-rapl:0", content)
    assert find_counter(tmp_path, lambda _: None) is None


def test_a_counter_that_may_not_be_read_is_none(tmp_path: Path, package: Write) -> None:
    folder = package("intel-rapl:0", 5)
    (folder / "energy_uj").unlink()
    (folder / "energy_uj").mkdir()  # root may read every file
    assert find_counter(tmp_path, lambda _: None) is None


def test_each_reading_has_its_energy(tmp_path: Path, package: Write) -> None:
    folder, now = package("intel-rapl:0", RANGE - 10_000), [0.0]
    counter = find_counter(tmp_path, lambda _: use(folder, 1))

    def reads(microjoules: int) -> Callable[[Clock], Marks]:
        def read(clock: Clock) -> Marks:
            use(folder, microjoules)
            began = clock()
            now[0] += 1.0
            return Marks(began + 0.25, began + 0.5, 1)

        return read

    readers = {"teacher": reads(4_000), "small": reads(1_500)}
    times = [one for one in time_in_turns(readers, 6, lambda: now[0], counter).values() if isinstance(one, Timed)]
    assert [one.energy.tolist() for one in times if one.energy is not None] == [[4.0] * 6, [1.5] * 6]
    found = measure_latency(readers, "teacher", 6, lambda: now[0], counter)["small"]
    assert not isinstance(found, Exception)
    assert found.energy_mj == Interval(value=1.5, low=1.5, high=1.5)
