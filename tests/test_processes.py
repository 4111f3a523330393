"""What the processes of a launch say to each other: values, failures that all of them know, and ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from benchmark import UserError, processes
from benchmark.cli import main
from benchmark.devices import find_device, precision
from benchmark.errors import OutputError, SharedFailure, error_line
from benchmark.processes import from_first, leads, together
from benchmark.running.setup import set_up
from benchmark.running.shared import shared_by
from benchmark.scales import Changes
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Schedule, _arguments
from tests.running.runs import config

TALK = """
import sys, time
import torch
from benchmark import processes
from benchmark.errors import OutputError, PartedError, SharedFailure
from benchmark.processes import from_first, join, leads, leave, together

def fails(kind, text):
    raise kind(text)

def told(make):
    try:
        return make()
    except (SharedFailure, PartedError) as error:
        return f"{type(error).__name__}: {error}"

join(torch.device("cpu"))
me = "first" if leads() else "second"
said = [
    told(lambda: from_first(lambda: me)),
    told(lambda: together(lambda: me)),
    told(lambda: from_first(lambda: fails(ValueError, me))),
    told(lambda: together(lambda: me if leads() else fails(KeyError, me))),
    # The failure of a step is that of what it is a part of: nobody waits for it twice.
    told(lambda: together(lambda: from_first(lambda: fails(ValueError, "within")))),
    told(lambda: from_first(lambda: "still together")),
]
print(*said, sep="|", flush=True)
if sys.argv[1] == "parts":
    leave()
elif sys.argv[1] == "full" and leads():
    together(lambda: fails(OutputError, "full"))
elif sys.argv[1] == "alone" and leads():
    processes._PATIENCE = 1
    torch.distributed.all_reduce(torch.ones(1))  # as in a training
    together(lambda: fails(MemoryError, "out of memory"))
elif sys.argv[1] == "alone":
    torch.distributed.all_reduce(torch.ones(1))
    torch.distributed.all_reduce(torch.ones(1))
else:
    print(told(lambda: from_first(lambda: me)))
"""


def talk(how: str, folder: Path) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of two processes that talk and end so."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    script = folder / "talk.py"
    script.write_text(TALK)
    launched = []
    for rank in ("0", "1"):
        place = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]))
        launched.append(
            subprocess.Popen(
                [sys.executable, str(script), how],
                env={**os.environ, **place, "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    ended = [process.communicate(timeout=120) for process in launched]
    return [(process.returncode, *texts) for process, texts in zip(launched, ended, strict=True)]


def launched(monkeypatch: pytest.MonkeyPatch, number: int, rank: int = 0) -> None:
    """As one of so many processes, none of which it meets."""
    for name, value in {"WORLD_SIZE": number, "RANK": rank, "LOCAL_WORLD_SIZE": number, "LOCAL_RANK": rank}.items():
        monkeypatch.setenv(name, str(value))


class TestTalk:
    def test_all_have_what_the_first_makes_and_raise_what_one_raises(self, tmp_path: Path) -> None:
        first, second = talk("parts", tmp_path)
        common = [
            "SharedFailure: ValueError: first",
            "SharedFailure: KeyError: 'second'",
            "SharedFailure: ValueError: within",
            "still together\n",
        ]
        assert first[:2] == (0, "|".join(["first", "first", *common]))
        assert second[:2] == (0, "|".join(["first", "second", *common]))

    def test_what_ends_the_first_ends_the_others(self, tmp_path: Path) -> None:
        first, second = talk("full", tmp_path)
        assert first[0] == 1
        assert "OutputError: full" in first[2]
        assert second[0] == 0
        assert "PartedError: another process of this launch is gone" in second[1]

    def test_one_that_fails_alone_does_not_wait_for_ever(self, tmp_path: Path) -> None:
        first, second = talk("alone", tmp_path)
        assert first[0] == 2
        line = "donutbench: one process of this launch failed and the others did not: MemoryError: out of memory\n"
        assert first[2].endswith(line)
        assert second[0] == 1, "its gradient never came"


class TestAlone:
    def test_it_leads_and_meets_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        assert leads()
        assert (from_first(lambda: 3), together(lambda: 4)) == (3, 4)
        with pytest.raises(ValueError, match="nothing"):
            together(lambda: int("nothing"))
        processes.join(torch.device("cpu"))
        processes.leave()
        assert not dist.is_initialized()

    @pytest.mark.parametrize(("rank", "first"), [(0, True), (1, False)])
    def test_of_two_the_first_leads(self, rank: int, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        launched(monkeypatch, 2, rank)
        assert leads() == first

    def test_an_error_is_told_as_it_was_raised(self) -> None:
        assert error_line(ValueError("no\n luck")) == "ValueError: no luck"
        assert error_line(SharedFailure("ValueError: no luck")) == "ValueError: no luck"
        assert error_line(OutputError()) == "OutputError: no message"
        assert error_line(OSError("no \udc80.png")) == r"OSError: no \udc80.png", "what a record can hold"


class TestLaunch:
    def test_the_processes_of_a_batch_are_parts_in_the_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = ("prune-finetune", "prune-distill")
        plan = config(tmp_path, strategies=names, protocol="task", changes=Changes(accumulate=2))
        alone = set_up(config(tmp_path, strategies=names, protocol="task", changes=Changes(accumulate=4)))
        launched(monkeypatch, 2)
        both = set_up(plan)
        assert both.scale.name == "tiny-accumulate4"
        assert [(job.name, job.key) for job in both.jobs] == [(job.name, job.key) for job in alone.jobs]
        assert both.remarks == alone.remarks
        assert both.remarks[0].startswith("prune-distill is left out: it compares over a whole batch")
        assert shared_by(both).mechanics.accumulate == 2
        assert not both.console.quiet

    def test_alone_nothing_is_in_the_name(self, tmp_path: Path) -> None:
        assert set_up(config(tmp_path)).scale.name == "tiny"

    def test_the_others_say_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        launched(monkeypatch, 2, rank=1)
        assert set_up(config(tmp_path)).console.quiet

    @pytest.mark.parametrize(("batch", "accumulate", "seen"), [(8, 1, (4, 1)), (8, 2, (2, 2)), (6, 2, (3, 1))])
    def test_each_sees_its_share_in_parts(
        self, batch: int, accumulate: int, seen: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        launched(monkeypatch, 2)
        monkeypatch.setattr("transformers.TrainingArguments._setup_devices", torch.device("cpu"))
        monkeypatch.setattr("transformers.TrainingArguments.n_gpu", 0)
        arguments = _arguments(Schedule(1, batch, 1e-3), tmp_path, "cpu", Mechanics(accumulate))
        assert (arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps) == seen

    def test_a_batch_that_cannot_be_shared_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        launched(monkeypatch, 3)
        with pytest.raises(UserError, match="or so many processes: a batch of 8 documents does not fall into"):
            set_up(config(tmp_path))
        with pytest.raises(UserError, match="a batch of 4 documents does not fall into equal parts for 3 processes"):
            _arguments(Schedule(1, 4, 1e-3), tmp_path, "cpu", Mechanics())

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["run", "--jobs", "2"], "--jobs 2: the 2 processes of this launch train each cell together"),
            (["rates"], "a launch of several processes is for run alone"),
            (["run", "--device", "cuda"], "this machine has 1 CUDA devices for the 2 processes of the launch"),
        ],
    )
    def test_what_does_not_go_with_it_is_one_line(
        self, arguments: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        launched(monkeypatch, 2)
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
        assert main(arguments) == 2
        assert capsys.readouterr().err == f"donutbench: {line}\n"

    def test_each_has_its_own_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        launched(monkeypatch, 2, rank=1)
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
        assert find_device("cuda") == find_device("auto") == torch.device("cuda", 1)
        assert find_device("cpu") == torch.device("cpu")


def test_a_precision_is_named_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DONUTBENCH_PRECISION", "bfloat16")
    assert precision("cpu") == torch.bfloat16
    monkeypatch.setenv("DONUTBENCH_PRECISION", "half")
    with pytest.raises(UserError, match="DONUTBENCH_PRECISION='half': choose from float32, bfloat16"):
        find_device("cpu")
