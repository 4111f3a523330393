"""What is taken away from a run: a folder that loads without it, and what its card says."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DonutProcessor

from benchmark.cli import main
from benchmark.models.checkpoint import fingerprint, load_checkpoint, save_model
from benchmark.models.donut import build
from benchmark.models.encoded import EncodedDocuments
from benchmark.records.files import read_record, write_record
from benchmark.records.record import Record
from benchmark.report.card import model_card
from benchmark.running.runner import run
from benchmark.scales import TINY
from benchmark.scoring.predict import decode
from benchmark.slicing.donut import stacks, units_of
from benchmark.slicing.groups import cut
from tests.running.runs import config, quick_measurements, read_by_transformers


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one cell, four documents; not to be changed."""
    output = tmp_path_factory.mktemp("run")
    with quick_measurements():
        (record,) = run(config(output, strategies=("structured-layers",), protocol="task", options={"ratio": "0.76"}))
    assert record.status == "ok"
    return output


@pytest.fixture
def output(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def record_of(output: Path) -> Record:
    (path,) = (output / "results").glob("*.json")
    return read_record(path)


@pytest.mark.long
def test_what_is_exported_is_what_was_scored(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = record_of(finished)
    target = tmp_path / "mine"
    assert main(["export", str(finished), record.cell, str(target)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"see {target / 'README.md'}; transformers alone cannot load it: between its encoder and")
    assert fingerprint(load_checkpoint(target).model) == record.model_hash
    card = (target / "README.md").read_text()
    assert record.metrics is not None
    assert f"\nOn 4 test documents of receipts-mini, seed 0:\n\n- N-TED accuracy: {record.metrics.ted:.3f}\n" in card
    rows = "--strategies structured-layers --datasets receipts-mini --scale tiny"
    how = "--protocol task --budget quick --seeds 0 --set ratio=0.76 --limit 4"
    assert f"python -m benchmark run {rows} {how}\n" in card
    assert "x the teacher's" in card
    assert "load_checkpoint(FOLDER)" in card
    assert str(finished) not in card


def test_transformers_loads_what_it_can_express(
    output: Path, processor: DonutProcessor, pages: EncodedDocuments, tmp_path: Path
) -> None:
    """Fewer layers and blocks, and narrower feed-forward layers: the same tokens in a process that knows only it."""
    model = build(replace(TINY, bridge=False), TINY.teacher, len(processor.tokenizer), seed=3).train(False)
    halves = {group: range(group.count // 2) for group in units_of(model, "ffn")}
    cut(model, halves)
    cut(model, {stack: range(1, stack.count) for stack in stacks(model)})
    record = record_of(output)
    folder = output / "checkpoints" / record.cell
    save_model(model, folder)
    processor.save_pretrained(str(folder))
    write_record(output, record.model_copy(update={"model_hash": fingerprint(model)}))
    target, page = tmp_path / "mine", tmp_path / "page.png"
    assert main(["export", str(output), record.cell, str(target)]) == 0
    Image.fromarray(np.asarray(pages.pages[:][0])).save(page)
    (expected,) = decode(model, processor, pages.pages[:1], "<s_receipts-mini>", model.longest)
    assert read_by_transformers(target, page, processor) == expected.text
    assert "VisionEncoderDecoderModel.from_pretrained" in (target / "README.md").read_text()


def test_packed_it_is_the_same_model(finished: Path, tmp_path: Path) -> None:
    record, target = record_of(finished), tmp_path / "mine"
    assert main(["export", str(finished), record.cell, str(target), "--packed"]) == 0
    assert not list(target.glob("model*.safetensors"))
    assert fingerprint(load_checkpoint(target).model) == record.model_hash
    assert "cannot express this model: its zeros are left out of the file." in (target / "README.md").read_text()


def test_the_card_has_the_options_of_a_folder(finished: Path) -> None:
    how = {"key-order": "file", "split": "80,10,10"}
    changes = {"dataset": "bills", "dataset_source": "the folder bills", "dataset_options": how}
    card = model_card(record_of(finished).model_copy(update=changes), None)
    assert "--strategies structured-layers --data bills=DIR --key-order file --split 80,10,10 --scale tiny" in card


def test_the_card_has_the_parts_of_a_batch_beside_its_scale(finished: Path) -> None:
    changes = {"scale": "tiny-accumulate2", "teacher_changes": {"accumulate": 2}}
    card = model_card(record_of(finished).model_copy(update=changes), None)
    assert "--datasets receipts-mini --scale tiny --accumulate 2 --protocol task" in card


def complaint(output: Path, cell: str, target: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["export", str(output), cell, str(target)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_what_cannot_be_exported_is_told(output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = record_of(output)
    target = tmp_path / "mine"
    assert f"did you mean {record.cell}?" in complaint(output, record.cell.replace("layers", "layer"), target, capsys)

    folder = output / "checkpoints" / record.cell
    other = load_checkpoint(folder)
    with torch.no_grad():
        other.model.decoder.model.decoder.layer_norm.weight.add_(1)
    save_model(other.model, folder)
    other.processor.save_pretrained(str(folder))
    assert "is not the model that was scored: remove it too, remove" in complaint(output, record.cell, target, capsys)
    shutil.rmtree(folder)
    assert "is not there: remove " in complaint(output, record.cell, target, capsys)
    gone = {"status": "failed", "error": "boom", "metrics": None, "efficiency": None}
    write_record(output, record.model_copy(update=gone))
    assert "it failed: boom" in complaint(output, record.cell, target, capsys)
    assert not target.exists()


@pytest.mark.parametrize("full", [True, False])
def test_a_target_is_a_folder_of_its_own(
    full: bool, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    if full:
        (target / "note").write_text("mine")
        assert complaint(finished, record_of(finished).cell, target, capsys).endswith(
            f"{target} exists and is not an empty folder"
        )
        assert [path.name for path in target.iterdir()] == ["note"]
    else:
        assert main(["export", str(finished), record_of(finished).cell, str(target)]) == 0


def test_graphs_are_read_as_the_card_says(finished: Path, pages: EncodedDocuments, tmp_path: Path) -> None:
    """By onnxruntime and a processor; what stands in the card is run as it is."""
    pytest.importorskip("onnxruntime")
    record, target = record_of(finished), tmp_path / "mine"
    assert main(["export", str(finished), record.cell, str(target), "--onnx", "fp32"]) == 0
    assert not list(target.glob("*.safetensors"))
    card = (target / "README.md").read_text()
    assert "\nThe graphs compute what the model in torch does, up to rounding. The scores and costs below were " in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    page = np.asarray(pages.pages[:][0])
    names = {"FOLDER": str(target), "image": Image.fromarray(page)}
    exec(code, names)
    kept = load_checkpoint(finished / "checkpoints" / record.cell)
    (expected,) = decode(kept.model, kept.processor, pages.pages[:1], "<s_receipts-mini>", kept.model.longest)
    assert names["text"] == expected.text + kept.processor.tokenizer.eos_token * expected.ended


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--onnx", "int4"], "unknown precision 'int4'"),
        (["--onnx", "int8", "--packed"], "--packed and --onnx exclude each other"),
    ],
)
def test_graphs_that_there_are_not_are_refused(
    options: list[str], wanted: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(finished), record_of(finished).cell, str(tmp_path / "mine"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert wanted in line
    assert not (tmp_path / "mine").exists()


def test_without_the_extra_nothing_is_exported(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.models.onnx_graphs.find_spec", lambda name: None)
    assert main(["export", str(finished), record_of(finished).cell, str(tmp_path / "mine"), "--onnx", "int8"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("pip install 'donutbench[onnx]'")
    assert [*tmp_path.iterdir()] == []
