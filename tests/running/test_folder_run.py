"""One's own documents in a run: read in every process, part of the key, and told above the table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from benchmark.folders.folder import Folder
from benchmark.models.checkpoint import save_model
from benchmark.models.donut import build
from benchmark.models.processor import build_processor
from benchmark.records.files import read_predictions, read_records
from benchmark.running.setup import set_up
from benchmark.scales import TINY
from tests.folders.papers import bills, draw, line, write_split, write_truths
from tests.running.runs import config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five documents a split; in test are a key that training lacks, an unknown letter, and one with two truths."""
    known = [{"company": "Ltd", "total": str(number)} for number in range(5)]
    test: list[Any] = [*known[:3], {"company": "Ltd €", "total": "4", "tip": "1"}]
    path = write_truths(tmp_path / "bills", {"train": known, "validation": known, "test": test})
    several = {"file_name": "4.png", "ground_truth": {"gt_parses": [{"total": "5"}, {"total": "five"}]}}
    lines = [*(line(f"{number}.png", truth) for number, truth in enumerate(test)), json.dumps(several)]
    write_split(path / "test", "\n".join(lines), [f"{number}.png" for number in range(5)])
    return path


def command(output: Path, folder: Path, *more: str) -> list[str]:
    fixed = ["run", "--data", f"bills={folder}", "--protocol", "task", "--device", "cpu", "--output", str(output)]
    return [*fixed, "--strategies", "teacher,prune", *more]


@pytest.mark.long
def test_a_run_side_by_side_reads_it_and_says_what_to_know(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert main(command(output, folder, "--limit", "5", "--jobs", "2")) == 0
    out, err = capfd.readouterr()
    unseen = "1 document has keys that training never has: 'tip' (test/metadata.jsonl, line 4)"
    several = "1 of 5 documents has several ground truths: the best counts"
    few = "No ranks: 5 test documents allow no ranking, which takes at least 30."
    assert err.count(f"bills: {unseen}\n") == 1
    assert f"bills: {several}\n" in err
    assert few in " ".join(out.split())
    teacher, prune = sorted(read_records(output), key=lambda record: record.strategy != "teacher")
    for record in (teacher, prune):
        assert (record.status, record.dataset, record.task) == ("ok", "bills", "extraction")
        assert (record.dataset_source, record.dataset_notes) == (f"the folder {folder.name}", [unseen])
        assert record.metrics is not None
        assert (record.metrics.several_truths, record.metrics.unknown_characters) == (1, 1)
        assert record.test_documents == 5
    predictions = read_predictions(output / "results" / f"{teacher.cell}.predictions.jsonl")
    assert [line.id for line in predictions] == [f"test/{number}.png" for number in range(5)]
    board = (output / "leaderboard.md").read_text()
    for sentence in (f"Mind that {unseen}.", f"Mind that {several}.", "1 character is unknown to the model", few):
        assert board.count(sentence) == 1
        assert board.index(sentence) < board.index("| strategy")


def test_all_are_those_that_are_brought_and_names_may_mix(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(command(tmp_path, folder, "--dry-run")) == 0
    assert capfd.readouterr().out.splitlines() == [
        "1. task-teacher on bills, seed 0 for other cells: to do",
        "2. teacher on bills, seed 0: to do, needs task-teacher on bills, seed 0",
        "3. prune on bills, seed 0: to do, needs task-teacher on bills, seed 0",
        "At last 2 of these cells would be measured.",
    ]
    second = ["--data", f"other={folder}", "--datasets", "other,receipts-mini", "--strategies", "teacher"]
    assert main(command(tmp_path, folder, *second, "--dry-run")) == 0
    out = capfd.readouterr().out
    assert "teacher on other" in out
    assert "teacher on receipts-mini" in out
    assert "on bills" not in out


WRONG: dict[str, tuple[list[str], str]] = {
    "no name": (["--data", "{folder}"], "--data '{folder}' is not NAME=DIR"),
    "no folder": (["--data", "mine="], "--data 'mine=' is not NAME=DIR"),
    "a name that is none": (["--data", "My Bills={folder}"], "data set name 'My Bills' must be lower-case"),
    "a name twice": (["--data", "bills={folder}"], "--data bills={folder}: the name is that of {folder} already"),
    "the name of another": (
        ["--data", "receipts-mini={folder}"],
        "--data receipts-mini={folder}: a data set of that name comes from donutbench",
    ),
    "no such folder": (["--data", "mine={folder}/x"], "data set mine: {folder}/x is not a folder"),
    "another order": (["--key-order", "alphabet"], "unknown key order 'alphabet': "),
    "other shares": (["--split", "80,30"], "--split '80,30' is not the percent of train, validation and test"),
    "an unknown name": (["--datasets", "bill"], "unknown dataset 'bill': did you mean bills?"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_use_is_one_line(kind: str, folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options, told = WRONG[kind]
    assert main(command(tmp_path / "out", folder, *(option.format(folder=folder) for option in options))) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"donutbench: {told.format(folder=folder)}")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", [["--split", "80,10,10"], ["--key-order", "file"]])
def test_options_of_documents_that_nobody_brings_are_refused(
    option: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *option]) == 2
    assert capfd.readouterr().err == f"donutbench: {option[0]} is about the documents of --data, and there are none\n"


class TestKey:
    def key(self, path: Path, **options: Any) -> str:
        data = (Folder("bills", path, **options),)
        return set_up(config(path.parent / "out", datasets=("bills",), data=data)).jobs[-1].key

    def test_it_is_that_of_the_documents_wherever_they_lie(self, folder: Path) -> None:
        before = self.key(folder)
        moved = shutil.copytree(folder, folder.parent / "moved" / "x")
        assert self.key(moved) == before
        draw(moved / "test" / "0.png", 99)
        assert self.key(moved) != before

    def test_it_has_what_is_chosen_of_the_folder(self, folder: Path) -> None:
        keys = {
            self.key(folder),
            self.key(folder, key_order="file"),
            self.key(folder, shares=(60, 40, 0)),
            self.key(folder, shares=(40, 60, 0)),
        }
        assert len(keys) == 4


class TestEvaluate:
    @pytest.fixture
    def checkpoint(self, folder: Path, tmp_path: Path) -> Path:
        processor = build_processor(TINY, [bills(folder)])
        save_model(build(TINY, TINY.small, len(processor.tokenizer), seed=0), tmp_path / "donut")
        processor.save_pretrained(str(tmp_path / "donut"))
        return tmp_path / "donut"

    def test_one_folder_needs_no_other_name(
        self, checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["evaluate", str(checkpoint), "--data", f"bills={folder}", "--device", "cpu"]) == 0
        out, err = capfd.readouterr()
        scores = json.loads(out)
        assert (scores["dataset"], scores["test_documents"], scores["several_truths"]) == ("bills", 5, 1)
        assert scores["unknown_characters"] == 1
        said = ("keys that training never has", "a perfect reader", "several ground truths")
        lines = [row for row in err.splitlines() if row.startswith("bills: ")]
        assert all(what in row for what, row in zip(said, lines, strict=True))

    def test_test_documents_alone_are_enough(
        self, checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for split in ("train", "validation"):
            shutil.rmtree(folder / split)
        assert main(["evaluate", str(checkpoint), "--data", f"bills={folder}", "--limit", "2", "--device", "cpu"]) == 0
        assert json.loads(capfd.readouterr().out)["test_documents"] == 2

    def test_of_two_folders_one_has_to_be_named(
        self, checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        both = ["--data", f"bills={folder}", "--data", f"other={folder}"]
        assert main(["evaluate", str(checkpoint), *both]) == 2
        assert capfd.readouterr().err.startswith("donutbench: say with --dataset which data set is read")

    def test_a_broken_image_is_one_line_with_its_place(
        self, checkpoint: Path, folder: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "test" / "2.png").write_bytes(b"no image")
        assert main(["evaluate", str(checkpoint), "--data", f"bills={folder}", "--device", "cpu"]) == 2
        *_, last = capfd.readouterr().err.splitlines()
        assert last.startswith("donutbench: data set bills, test: test/metadata.jsonl, line 3: cannot read the image")
