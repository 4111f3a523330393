"""`run --teacher`: a checkpoint of other people as the teacher, its sizes as the scale, Adam as the optimizer."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, VisionEncoderDecoderConfig, VisionEncoderDecoderModel, ViTConfig

from benchmark import UserError
from benchmark.cli import main
from benchmark.models.checkpoint import load_checkpoint, load_model
from benchmark.models.hub import find_checkpoint
from benchmark.models.processor import needed_tokens
from benchmark.records.files import predictions_path, read_predictions, read_records
from benchmark.records.record import Record
from benchmark.running.config import RunConfig
from benchmark.running.runner import outline, run
from benchmark.running.setup import set_up
from benchmark.scales import Changes
from benchmark.types import Dataset
from benchmark.zoo.given import content_of
from tests.foreign import HEIGHT, POSITIONS, WIDTH, save_foreign
from tests.running.runs import config, quick_measurements, read_by_transformers

FEW = Changes(documents=16, batch=2, learning_rate=1e-3)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign") / "My Donut"
    save_foreign(folder)
    return folder


def given(teacher: Path, output: Path, **changes: Any) -> RunConfig:
    base = config(output, teacher=str(teacher), protocol="task", changes=FEW, limit=4)
    return replace(base, **changes)


@pytest.fixture(scope="module")
def records(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    names = ("teacher", "none", "small", "prune", "prune-distill", "structured-layers")
    with quick_measurements():
        found = run(given(foreign, tmp_path_factory.mktemp("given"), strategies=names))
    return {record.strategy: record for record in found}


class TestSizes:
    def test_they_are_the_checkpoint_s(self, foreign: Path, tmp_path: Path) -> None:
        scale = set_up(given(foreign, tmp_path)).scale
        assert re.fullmatch("own-my-donut-[0-9a-f]{6}-documents16-batch2-rate0.001", scale.name)
        assert (scale.height, scale.width, scale.max_tokens, scale.bridge) == (HEIGHT, WIDTH, POSITIONS, False)
        assert (scale.teacher.decoder_layers, scale.teacher.depths) == (4, (1, 2))
        for budget in (scale.quick, scale.full, scale.task_teacher):
            assert (budget.task_documents, budget.batch, budget.learning_rate) == (16, 2, 1e-3)
            assert budget.optimizer == "adam"

    def test_without_changes_the_budget_is_donut_s(self, foreign: Path, tmp_path: Path) -> None:
        scale = set_up(given(foreign, tmp_path, changes=Changes())).scale
        assert (scale.full.task_documents, scale.full.batch) == (24_000, 8)
        assert (scale.full.learning_rate, scale.full.reading_documents) == (3e-5, 0)

    def test_more_tokens_than_it_has_positions_are_refused(self, foreign: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"--max-tokens 161: .*My Donut has {POSITIONS} positions"):
            set_up(given(foreign, tmp_path, changes=Changes(max_tokens=161)))


@pytest.mark.long
class TestRun:
    def test_what_needs_another_reference_is_left_out_by_name(self, foreign: Path, tmp_path: Path) -> None:
        names = ("teacher", "none", "distill")
        assert outline(set_up(given(foreign, tmp_path, strategies=names)))[:2] == [
            "none is left out: it begins with the reference model 'none', which My Donut does not bring",
            "distill is left out: it begins with the reference model 'small', which My Donut does not bring",
        ]

    def test_nothing_left_is_refused(self, foreign: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="small is left out"):
            set_up(given(foreign, tmp_path, strategies=("small",)))

    def test_all_others_have_their_rows(self, records: dict[str, Record]) -> None:
        assert set(records) == {"teacher", "prune", "prune-distill", "structured-layers"}
        assert {(record.status, record.error) for record in records.values()} == {("ok", None)}
        assert all(record.efficiency for record in records.values())

    def test_a_teacher_that_does_not_know_the_task_is_fine_tuned_first(self, records: dict[str, Record]) -> None:
        assert {record.teacher_documents for record in records.values()} == {4}
        assert {record.start_documents for record in records.values()} == {4}

    def test_it_trains_with_adam_at_the_rate_that_was_asked(self, records: dict[str, Record]) -> None:
        trained = records["prune-distill"]
        assert (trained.optimizer, trained.learning_rate, trained.documents) == ("Adam", 1e-3, 4)

    def test_one_that_knows_the_task_is_the_teacher_as_it_is(
        self, datasets: dict[str, Dataset], tmp_path: Path
    ) -> None:
        saved = save_foreign(tmp_path / "knows", *needed_tokens(datasets["receipts-mini"]))
        with quick_measurements():
            (record,) = run(given(tmp_path / "knows", tmp_path / "out"))
        assert (record.status, record.teacher_documents, record.steps) == ("ok", None, 0)
        (kept,) = (tmp_path / "out" / "checkpoints").iterdir()
        ours = load_model(kept)
        assert all(torch.equal(value, ours.state_dict()[name]) for name, value in saved.state_dict().items())

    def test_what_it_does_not_know_is_said(self, foreign: Path, tmp_path: Path) -> None:
        (line, *_) = outline(set_up(given(foreign, tmp_path)))
        known = "<s_receipts-mini>, <sep/>, <s_menu>"
        assert re.fullmatch(
            rf"My Donut does not know {known} and \d+ more: it is fine-tuned on receipts-mini first", line
        )

    def test_another_checkpoint_of_the_same_name_is_another_teacher(self, foreign: Path, tmp_path: Path) -> None:
        other = tmp_path / "My Donut"

        def cell(teacher: Path) -> tuple[str, str]:
            (found,) = ((job.name, job.key) for job in set_up(given(teacher, tmp_path)).jobs if job.scored)
            return found

        shutil.copytree(foreign, other)
        assert cell(other) == cell(foreign)
        (other / "README.md").write_text("what it is")
        assert cell(other) == cell(foreign), "only what makes the model counts"
        settings = json.loads((other / "processor_config.json").read_text())
        settings["image_processor"]["do_align_long_axis"] = True
        (other / "processor_config.json").write_text(json.dumps(settings))
        assert cell(other)[0] != cell(foreign)[0]
        assert cell(other)[1] != cell(foreign)[1]

    def test_a_processor_that_it_points_to_belongs_to_it(self, foreign: Path, tmp_path: Path) -> None:
        apart, place = tmp_path / "apart", tmp_path / "processor"
        shutil.copytree(foreign, apart)
        place.mkdir()
        for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
            (apart / name).rename(place / name)
        (apart / "processor.json").write_text('{"processor": "../processor"}')
        before = content_of(apart)
        text = (place / "processor_config.json").read_text()
        (place / "processor_config.json").write_text(text.replace("false", "true"))
        assert content_of(apart) != before


@pytest.mark.long
def test_from_a_checkpoint_and_a_folder_to_a_model_that_plain_transformers_reads(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bills, output, target = tmp_path / "bills", tmp_path / "out", tmp_path / "mine"
    assert main(["generate", "receipts-mini", str(bills), "--documents", "10"]) == 0
    arguments = [
        *("run", "--teacher", str(foreign), "--data", f"bills={bills}", "--strategies", "teacher,none,prune-distill"),
        *("--documents", "8", "--batch", "4", "--learning-rate", "0.001", "--output", str(output)),
    ]
    with quick_measurements():
        assert main(arguments) == 0
    told = capsys.readouterr()
    assert "none is left out" in told.err
    assert "which takes at least 30." in told.out
    assert "The teacher did not know the task: it was fine-tuned on 8 documents first." in told.out
    records = {record.strategy: record for record in read_records(output)}
    assert set(records) == {"teacher", "prune-distill"}
    record = records["prune-distill"]
    assert (record.teacher, record.teacher_changes) == (
        "My Donut",
        {"documents": 8, "batch": 4, "learning_rate": 0.001},
    )
    assert str(tmp_path) not in record.model_dump_json()

    assert main(["export", str(output), record.cell, str(target)]) == 0
    (prediction,) = read_predictions(predictions_path(output, record.cell))
    processor = load_checkpoint(target).processor
    assert read_by_transformers(target, bills / prediction.id, processor) == prediction.text
    card = (target / "README.md").read_text()
    assert "--data bills=DIR --teacher 'My Donut' --documents 8 --batch 4 --learning-rate 0.001 --protocol task" in card
    assert "the teacher was fine-tuned on 8 documents of bills" in card


class TestUnfit:
    """Told once, before anything is run."""

    @pytest.fixture
    def broken(self, foreign: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(foreign, tmp_path / "broken"))

    def told(self, broken: Path, tmp_path: Path) -> str:
        with pytest.raises(UserError) as caught:
            set_up(given(broken, tmp_path / "out"))
        return str(caught.value)

    def test_pages_without_height_and_width(self, broken: Path, tmp_path: Path) -> None:
        path = broken / "processor_config.json"
        settings = json.loads(path.read_text())
        settings["image_processor"]["size"] = {"shortest_edge": 128}
        path.write_text(json.dumps(settings))
        assert "has pages of the size {'shortest_edge': 128}, not of a height and a width" in self.told(
            broken, tmp_path
        )

    def test_a_tokenizer_without_an_end(self, broken: Path, tmp_path: Path) -> None:
        path = broken / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        del settings["eos_token"]
        path.write_text(json.dumps(settings))
        assert "has no eos_token, without which no text has an end: " in self.told(broken, tmp_path)

    @pytest.mark.parametrize(
        ("part", "data"), [(None, {"kept_tokens": [0, 1]}), ("encoder", {"selection": {"keep": 0.5}})]
    )
    def test_one_that_lacks_tokens_or_cells(
        self, part: str | None, data: dict[str, Any], broken: Path, tmp_path: Path
    ) -> None:
        path = broken / "config.json"
        settings = json.loads(path.read_text())
        (settings if part is None else settings[part]).update(data)
        path.write_text(json.dumps(settings))
        lacks = "broken has only some of its tokens or cells left, and a teacher needs them all"
        assert self.told(broken, tmp_path) == lacks

    def test_no_weights(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert self.told(tmp_path / "empty", tmp_path).endswith("empty is no checkpoint: it has no model.safetensors")

    def test_no_name(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="nothing is no checkpoint"):
            set_up(replace(given(tmp_path, tmp_path), teacher=""))


class TestForms:
    """However `transformers` writes it, it is the same model."""

    @pytest.mark.parametrize(
        ("half", "options"),
        [(False, {}), (True, {}), (False, {"max_shard_size": "60KB"})],
        ids=["plain", "half", "sharded"],
    )
    def test_weights(self, half: bool, options: dict[str, Any], tmp_path: Path) -> None:
        saved = save_foreign(tmp_path, half=half, **options)
        assert len(list(tmp_path.glob("*.safetensors"))) == (1 if not options else 7)
        ours = load_model(tmp_path)
        pixels = torch.rand(1, 3, HEIGHT, WIDTH)
        inputs = torch.arange(5, 15)[None]
        with torch.no_grad():
            found = ours(pixel_values=pixels, decoder_input_ids=inputs).logits
            expected = saved.float()(pixel_values=pixels, decoder_input_ids=inputs).logits
        assert torch.equal(found, expected)

    def test_old_names_of_processor_files_and_no_generation_config(self, tmp_path: Path) -> None:
        save_foreign(tmp_path)
        (tmp_path / "generation_config.json").unlink()
        settings = json.loads((tmp_path / "processor_config.json").read_text())
        (tmp_path / "processor_config.json").unlink()
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings["image_processor"]))
        checkpoint = load_checkpoint(tmp_path)
        size = checkpoint.processor.image_processor.size
        assert (size["height"], size["width"]) == (HEIGHT, WIDTH)

    def test_a_missing_shard_is_named(self, tmp_path: Path) -> None:
        save_foreign(tmp_path, max_shard_size="60KB")
        shard = sorted(tmp_path.glob("model-*.safetensors"))[3]
        shard.unlink()
        with pytest.raises(UserError, match=shard.name):
            load_model(tmp_path)

    def test_a_pickle_is_not_opened_and_the_line_says_what_converts_it(self, tmp_path: Path) -> None:
        save_foreign(tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"as a pickle, which is not opened here; this converts them: python -c"):
            load_model(tmp_path)

    def test_another_model_is_named(self, tmp_path: Path) -> None:
        decoder = GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=50, add_cross_attention=True)
        vit = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
        config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, decoder)
        VisionEncoderDecoderModel(config).save_pretrained(str(tmp_path))
        with pytest.raises(UserError, match=r"is no Donut.*: it is a vision-encoder-decoder of vit and gpt2"):
            load_model(tmp_path)

    def test_what_it_brings_is_not_executed(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
        (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
        (tmp_path / "model.safetensors").touch()
        with pytest.raises(UserError, match="contains custom code"):
            load_model(tmp_path)
        assert not (tmp_path / "executed").exists()


class TestHub:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refused(*_: object, **__: object) -> None:
            raise AssertionError("a network call that nobody asked for")

        monkeypatch.setattr("socket.getaddrinfo", refused)
        monkeypatch.setattr("socket.socket.connect", refused)

    def test_an_id_is_looked_up_in_the_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        place = tmp_path / "models--someone--donut"
        save_foreign(place / "snapshots" / "abc123")
        (place / "refs").mkdir()
        (place / "refs" / "main").write_text("abc123")
        assert find_checkpoint("someone/donut") == place / "snapshots" / "abc123"
        assert "<s>" in load_checkpoint("someone/donut").processor.tokenizer.get_vocab()

    def test_what_is_not_there_is_not_fetched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UserError, match=r"`hf download someone/donut` puts it there; a folder does as well"):
            load_checkpoint("someone/donut")

    @pytest.mark.parametrize("name", ["nowhere", "/no/such/folder", "a b/c", ""])
    def test_what_is_no_id_is_a_folder_that_is_missing(self, name: str) -> None:
        with pytest.raises(UserError, match="is no checkpoint"):
            find_checkpoint(name)


class TestCommand:
    @pytest.mark.parametrize(
        ("options", "line"),
        [
            (["--teacher", "x", "--protocol", "paper"], "--teacher goes with --protocol task"),
            (["--documents", "5"], "go with --teacher or --scale paper"),
            (["--teacher", "x", "--learning-rate", "-1"], "--learning-rate -1 is not above 0"),
            (["--teacher", "x", "--learning-rate", "nan"], "--learning-rate nan is not above 0"),
            (["--teacher", "nowhere"], "nowhere is no checkpoint: there is no such folder"),
        ],
    )
    def test_wrong_use_is_one_line(
        self, options: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["run", "--strategies", "teacher", "--output", str(tmp_path), *options]) == 2
        told = capsys.readouterr().err
        assert line in told
        assert told.count("\n") == 1
