"""A checkpoint that a kill, a full disk or a power cut has left without its end is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.training.kept import newest_whole
from benchmark.training.trainer import Schedule
from tests.training.test_schedule import Run, Stop

PLAN = Schedule(10, 4, 0.03, seed=1, save_steps=3)
FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(PLAN, tmp_path_factory.mktemp("whole"))


def cut(file: Path, share: float | None) -> None:
    """Leave so much of a file, or no file."""
    content = file.read_bytes()
    file.unlink() if share is None else file.write_bytes(content[: int(share * len(content))])


@pytest.mark.parametrize(
    ("name", "share"),
    [*((name, share) for name in FILES for share in (None, 0.0, 0.6)), ("rng_state.pth", 0.6)],
)
def test_the_one_before_is_taken_and_it_ends_as_if_nothing_had_been(
    name: str, share: float | None, whole: Run, tmp_path: Path
) -> None:
    killed = Run(PLAN, tmp_path, callbacks=[Stop(8)])
    assert killed.kept == ["checkpoint-3", "checkpoint-6"]
    cut(tmp_path / "checkpoint-6" / name, share)
    rest = Run(PLAN, tmp_path)
    assert rest.batches == whole.batches[3:]
    assert rest.losses == whole.losses[3:]
    assert rest.model.layer.weight.equal(whole.model.layer.weight)


def test_without_one_before_it_begins_anew(whole: Run, tmp_path: Path) -> None:
    Run(PLAN, tmp_path, callbacks=[Stop(5)])
    cut(tmp_path / "checkpoint-3" / "trainer_state.json", None)
    again = Run(PLAN, tmp_path)
    assert again.losses == whole.losses
    assert again.kept == ["checkpoint-10", "checkpoint-9"]


def test_what_is_cut_goes_and_what_is_no_checkpoint_stays(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "nowhere") is None
    for name in ("checkpoint-12", "checkpoint-mine", "logs"):
        (tmp_path / name).mkdir()
    assert newest_whole(tmp_path) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-mine", "logs"]


def test_one_that_cannot_be_read_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(PLAN, tmp_path, callbacks=[Stop(5)])

    def too_many(self: Path, *_: object) -> None:
        raise OSError(24, "Too many open files", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            newest_whole(tmp_path)
    assert newest_whole(tmp_path) == tmp_path / "checkpoint-3"
