"""`--scale paper`: the paper's pages, tokens and student, with a checkpoint as the teacher."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmark import UserError
from benchmark.cli import main
from benchmark.models.backbones import SWIN_T
from benchmark.models.donut import Donut
from benchmark.running.runner import outline
from benchmark.running.setup import set_up
from benchmark.scales import PAPER, Changes
from benchmark.zoo import paper
from benchmark.zoo.find import find_zoo
from benchmark.zoo.store import SHIPPED
from tests.foreign import save_bart, save_foreign
from tests.running.runs import config

RELATIONS = """
from dataclasses import dataclass
from benchmark import Strategy, hookimpl, reference

@dataclass(frozen=True)
class Objective:
    whole_batch: bool
    teaching = "logits"

    def __call__(self, student, teacher, labels):
        return student.logits.square().mean()

@hookimpl
def donutbench_register_strategies():
    for name in ("whole", "parts"):
        yield Strategy(name, "a test", reference("teacher"), Objective(name == "whole"))
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "base"
    save_foreign(folder)
    return folder


@pytest.fixture
def cache(tmp_path: Path, foreign: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache with what the paper begins with, in the format of each library, with random weights."""
    folder = tmp_path / "cache"
    torch.manual_seed(0)
    swin = {
        name: value.contiguous() for name, value in timm.create_model(SWIN_T, pretrained=False).state_dict().items()
    }
    places = {name: _snapshot(folder, name) for name in (paper.TEACHER, paper.SWIN, paper.BART)}
    shutil.copytree(foreign, places[paper.TEACHER], dirs_exist_ok=True)
    save_file({name: value.contiguous() for name, value in swin.items()}, places[paper.SWIN] / "model.safetensors")
    save_bart(places[paper.BART], width=512, layers=3, ffn=2048, heads=8, positions=512)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(folder))
    return folder


def _snapshot(cache: Path, name: str) -> Path:
    """Where the hub's library keeps the one revision of a model."""
    model = cache / f"models--{name.replace('/', '--')}"
    revision = "0" * 40
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(revision)
    (model / "snapshots" / revision).mkdir(parents=True)
    return model / "snapshots" / revision


class TestTeacher:
    def test_a_given_one_reads_the_paper_s_pages(self, foreign: Path, tmp_path: Path) -> None:
        setup = set_up(config(tmp_path, scale="paper", teacher=str(foreign), protocol="task", changes=Changes()))
        scale = setup.scale
        assert scale.name.startswith("paper-base-")
        assert (scale.height, scale.width, scale.max_tokens) == (1280, 960, 160)
        assert (scale.small, scale.full, scale.reading) == (PAPER.small, PAPER.full, "synthdog-en")
        assert (scale.teacher.depths, scale.patch) == ((1, 2), 4)
        processor: Any = setup.zoo.processor()
        assert dict(processor.image_processor.size) == {"height": 1280, "width": 960}

    def test_what_a_user_changes_is_in_the_name(self, foreign: Path, tmp_path: Path) -> None:
        changes = Changes(documents=16, batch=2)
        setup = set_up(config(tmp_path, scale="paper", teacher=str(foreign), protocol="task", changes=changes))
        assert setup.scale.name.endswith("-documents16-batch2")
        assert setup.scale.quick.batch == 2

    def test_none_is_left_out_and_small_is_not(self, foreign: Path, tmp_path: Path) -> None:
        names = ("teacher", "none", "distill")
        run = config(tmp_path, scale="paper", teacher=str(foreign), protocol="task", strategies=names)
        lines = outline(set_up(run))
        assert lines[0] == "none is left out: it begins with the reference model 'none', which base does not bring"
        assert not any("distill is left out" in line for line in lines)

    def test_a_row_trains_on_as_many_documents_as_donut(self, foreign: Path, tmp_path: Path) -> None:
        for budget, documents in (("quick", 2400), ("full", 24_000)):
            run = config(tmp_path, scale="paper", teacher=str(foreign), protocol="task", budget=budget)
            (job,) = (job for job in set_up(run).jobs if job.scored)
            assert job.cell.resources.documents("extraction") == documents

    def test_more_tokens_than_the_paper_s_are_what_was_asked_for(self, foreign: Path) -> None:
        assert find_zoo("paper", str(foreign), Changes(max_tokens=150)).scale.max_tokens == 150

    def test_a_batch_in_parts_has_a_name_of_its_own_and_no_features(self, foreign: Path, tmp_path: Path) -> None:
        names = ("prune-finetune", "prune-distill")
        parts = Changes(accumulate=4)
        run = config(tmp_path, scale="paper", teacher=str(foreign), protocol="task", changes=parts, strategies=names)
        setup = set_up(run)
        assert setup.scale.name.endswith("-accumulate4")
        assert outline(setup)[0].startswith("prune-distill is left out: it compares over a whole batch")
        assert {job.cell.strategy.name for job in setup.jobs if job.scored} == {"prune-finetune"}

    def test_nor_has_it_what_says_that_it_needs_a_whole_batch(self, foreign: Path, tmp_path: Path) -> None:
        plugin = tmp_path / "relations.py"
        plugin.write_text(RELATIONS)
        run = config(
            tmp_path,
            scale="paper",
            teacher=str(foreign),
            protocol="task",
            changes=Changes(accumulate=4),
            strategies=("whole", "parts"),
            plugins=(plugin,),
        )
        setup = set_up(run)
        assert outline(setup)[0].startswith("whole is left out: it compares over a whole batch, which --accumulate")
        assert {job.cell.strategy.name for job in setup.jobs if job.scored} == {"parts"}

    def test_one_that_knows_its_own_pages_alone_is_refused(self, tmp_path: Path) -> None:
        tiny = tmp_path / "tiny"
        shutil.copytree(SHIPPED / "tiny" / "teacher", tiny)
        for path in (SHIPPED / "tiny").glob("*.json"):
            shutil.copy(path, tiny)
        with pytest.raises(UserError, match="knows the places of its own 96x160 pages alone"):
            find_zoo("paper", str(tiny), Changes())


class TestHub:
    def test_the_paper_s_own_models_are_found_in_the_cache(self, cache: Path) -> None:
        zoo = find_zoo("paper", None, Changes())
        assert zoo.scale.name == "paper"
        assert zoo.given == paper.TEACHER
        small = zoo.load("small")
        assert isinstance(small, Donut)
        stages: Any = small.encoder.encoder.layers
        assert [len(stage.blocks) for stage in stages] == [2, 2, 6, 2]
        assert small.longest == 160
        assert small.encoder.bridge is not None
        assert small.encoder.bridge.norm is None
        words = len(zoo.processor().tokenizer)
        page = torch.zeros(1, 3, 320, 320)
        with torch.no_grad():
            logits = small(pixel_values=page, decoder_input_ids=torch.zeros(1, 2, dtype=torch.long)).logits
        assert logits.shape == (1, 2, words)

    def test_what_is_not_there_is_told_with_what_would_put_it_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        code = main(["run", "--scale", "paper", "--protocol", "task", "--dry-run", "--output", str(tmp_path / "out")])
        told = capsys.readouterr().err
        assert code == 2
        assert "`hf download naver-clova-ix/donut-base` puts it there" in told
        assert told.count("\n") == 1

    def test_a_part_of_the_student_that_is_not_there_is_named(self, cache: Path) -> None:
        shutil.rmtree(cache / f"models--{paper.BART.replace('/', '--')}")
        with pytest.raises(UserError, match=f"hf download {paper.BART}"):
            find_zoo("paper", None, Changes()).load("small")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["--accumulate", "3"],
            "--accumulate 3, or so many processes: a batch of 8 documents does not fall into as many equal parts",
        ),
        (["--protocol", "paper"], "--teacher goes with --protocol task"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_runs(
    arguments: list[str], reason: str, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = ["run", "--scale", "paper", "--teacher", str(foreign), "--output", str(tmp_path / "out")]
    assert main([*begin, *arguments]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_scales_take_no_teacher(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--scale", "mini", "--teacher", str(foreign), "--dry-run"]) == 2
    assert "--scale mini: the scale is that of the given teacher, or paper" in capsys.readouterr().err
