"""Output folders that take nothing, are full, or hold something broken."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import UserError
from benchmark.records.files import record_path
from benchmark.running.config import RunConfig
from benchmark.running.runner import run
from tests.running.runs import Records, checkpoint_of, config, own_metrics


class TestOutput:
    """A folder that takes nothing: one line that names it, and no half of a record."""

    def refused(self, run_config: RunConfig) -> str:
        """What is said of the folder, in one line; nothing has been recorded."""
        with pytest.raises(UserError) as caught:
            run(run_config)
        assert str(run_config.output) in str(caught.value)
        assert "\n" not in str(caught.value)
        results = run_config.output / "results"
        assert not results.is_dir() or list(results.iterdir()) == []
        return str(caught.value)

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        self.refused(config(tmp_path / "out"))
        assert (tmp_path / "out").read_text() == "mine"

    def test_a_disk_that_is_full(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "replace", full)
        assert os.strerror(errno.ENOSPC) in self.refused(config(tmp_path / "out"))

    def test_a_disk_with_room_for_records_but_not_for_weights(
        self, tmp_path: Path, small_files: Callable[[int], None]
    ) -> None:
        small_files(500_000)
        self.refused(config(tmp_path / "out"))
        assert [path for path in (tmp_path / "out").rglob("*") if ".part" in path.name] == []

    def test_a_broken_record_is_named(self, tmp_path: Path) -> None:
        path = record_path(tmp_path, "teacher__receipts-mini__tiny__paper__quick__limit4__seed0")
        path.parent.mkdir()
        path.write_text("{")
        with pytest.raises(UserError, match=r"receipts-mini__tiny__paper__quick__limit4__seed0\.json: not a record"):
            run(config(tmp_path))

    def test_a_broken_checkpoint_is_made_again(self, whole: RunConfig, finished: Records, tmp_path: Path) -> None:
        one = finished["prune", "receipts-mini"]
        place = checkpoint_of(replace(whole, output=tmp_path), one)
        shutil.copytree(checkpoint_of(whole, one), place)
        weights = (place / "model.safetensors").read_bytes()
        (place / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        prune = replace(whole, strategies=("prune",), datasets=("receipts-mini",), output=tmp_path, options={})
        (again,) = run(prune)
        assert (again.status, again.error) == ("ok", None)
        assert own_metrics(again) == own_metrics(one)
