"""Checkpoints of other people that are read: as `transformers` reads them, with their own tokens and prompts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import DonutProcessor, VisionEncoderDecoderModel

from benchmark import UserError
from benchmark.cli import main
from benchmark.models.checkpoint import load_checkpoint, load_processor
from benchmark.models.encoded import encode_documents
from benchmark.models.pages import stacked
from benchmark.models.processor import fit_page, needed_tokens
from benchmark.scales import TINY
from benchmark.scoring.evaluator import Evaluator
from benchmark.scoring.predict import written_tokens
from benchmark.types import Dataset
from tests.foreign import foreign_processor, save_foreign
from tests.models.edits import (
    RECEIPTS,
    Edit,
    Evaluate,
    begins_with,
    images,
    more_tokens,
    of_characters,
    of_pieces,
    processor_with,
    sharded,
    tokenizer_of,
)

READ: dict[str, Edit] = {
    "subwords": lambda folder: None,
    "pieces": tokenizer_of(of_pieces),
    "characters": tokenizer_of(of_characters),
    "in several files": sharded(),
    "tokens without a row": more_tokens(f"<s_{RECEIPTS}>", "<s_menu>", "</s_menu>"),
    "the size is one number": images(size=128),
    "the size is a list, the width first": images(size=[192, 128]),
    "the size fills no windows": images(size={"height": 100, "width": 164}),
    "the size fills no patches": images(size={"height": 101, "width": 163}),
    "pages are not filled up": images(do_pad=False),
}


@pytest.mark.parametrize("kind", READ)
def test_it_is_scored_with_what_transformers_reads(
    kind: str, donut: Path, evaluate: Evaluate, datasets: dict[str, Dataset]
) -> None:
    READ[kind](donut)
    code, out, err = evaluate(donut)
    assert code == 0, err
    scores = json.loads(out)
    assert (scores["prompt"], scores["test_documents"], scores["shifted_documents"]) == ("<s>", 1, 1)
    assert 0 <= scores["ted"] <= scores["ted_ceiling"] <= 1
    first, second = err
    assert first == f"the checkpoint does not know <s_{RECEIPTS}>: it reads with its own prompt <s>"
    assert "a perfect reader scores" in second

    page = datasets[RECEIPTS].open(TINY, "test", 0, 1)[0].page
    loaded = load_checkpoint(donut)
    ours = written_tokens(loaded.model, loaded.processor, stacked([fit_page(loaded.processor, page)], False), "<s>", 12)
    assert ours == [read_by_transformers(donut, page, 12)]


def read_by_transformers(folder: Path, page: Any, longest: int) -> list[int]:
    model: Any = VisionEncoderDecoderModel.from_pretrained(str(folder))
    processor: Any = DonutProcessor.from_pretrained(str(folder), backend="pil")
    pixels = processor(Image.fromarray(page).convert("RGB"), return_tensors="pt").pixel_values
    found = model.generate(
        pixels,
        decoder_input_ids=torch.tensor([[processor.tokenizer.bos_token_id]]),
        max_length=longest,
        eos_token_id=processor.tokenizer.eos_token_id,
        pad_token_id=processor.tokenizer.pad_token_id,
        forced_eos_token_id=None,
    )
    tokens: list[int] = found[0, 1:].tolist()
    return tokens


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("make", [of_pieces, lambda: foreign_processor().tokenizer.backend_tokenizer])
def test_a_perfect_reader_of_subwords_loses_nothing(
    make: Callable[[], Tokenizer], clean: bool, datasets: dict[str, Dataset]
) -> None:
    for name in (RECEIPTS, "parcels-mini"):
        dataset = datasets[name]
        processor = processor_with(make(), *needed_tokens(dataset), clean_up_tokenization_spaces=clean)
        pages = encode_documents(dataset.open(TINY, "test", 0, 20), processor, 500)
        assert Evaluator(dataset, processor, pages, [], 500).ceiling == 1.0


class TestPrompts:
    @pytest.mark.parametrize("own", ["<s_CORD-v2>", "<s_my_task>", "<s_cord-v2>"])
    def test_one_of_another_task_is_the_checkpoint_s_own(self, own: str, evaluate: Evaluate, tmp_path: Path) -> None:
        save_foreign(tmp_path / "donut", own, "<s_menu>", "</s_menu>")
        code, out, err = evaluate(tmp_path / "donut")
        assert (code, json.loads(out)["prompt"]) == (0, own)
        assert err[0] == f"the checkpoint does not know <s_{RECEIPTS}>: it reads with its own prompt {own}"

    def test_that_of_the_data_set_comes_first(self, evaluate: Evaluate, tmp_path: Path) -> None:
        save_foreign(tmp_path / "donut", "<s_cord-v2>", f"<s_{RECEIPTS}>")
        begins_with("<s_cord-v2>")(tmp_path / "donut")
        code, out, err = evaluate(tmp_path / "donut")
        assert (code, json.loads(out)["prompt"], len(err)) == (0, f"<s_{RECEIPTS}>", 1)

    def test_of_several_it_is_the_one_that_its_configuration_begins_with(
        self, evaluate: Evaluate, tmp_path: Path
    ) -> None:
        save_foreign(tmp_path / "donut", "<s_iitcdip>", "<s_synthdog>")
        code, out, err = evaluate(tmp_path / "donut")
        assert (code, out) == (2, "")
        assert err == [
            f"donutbench: it does not know the prompt <s_{RECEIPTS}>, and --prompt TOKEN takes another; "
            "this checkpoint knows the data sets: iitcdip, synthdog"
        ]
        begins_with("<s_synthdog>")(tmp_path / "donut")
        assert json.loads(evaluate(tmp_path / "donut")[1])["prompt"] == "<s_synthdog>"

    def test_it_can_be_said(self, evaluate: Evaluate, tmp_path: Path) -> None:
        save_foreign(tmp_path / "donut", "<s_a>", "<s_b>")
        code, out, err = evaluate(tmp_path / "donut", "--prompt", "<s_b>")
        assert (code, json.loads(out)["prompt"], len(err)) == (0, "<s_b>", 1)
        code, out, err = evaluate(tmp_path / "donut", "--prompt", "<s_c>")
        assert (code, out) == (2, "")
        assert err == ["donutbench: the prompt '<s_c>' is no token of this checkpoint, which knows the data sets: a, b"]

    def test_one_without_a_row_is_told(self, donut: Path, evaluate: Evaluate) -> None:
        more_tokens("<s_b>")(donut)
        code, _, err = evaluate(donut, "--prompt", "<s_b>")
        rows = len(foreign_processor().tokenizer)
        assert code == 2
        assert err[-1].startswith(
            f"donutbench: the tokenizer has {rows + 1} tokens and the model rows for {rows} alone"
        )

    def test_images_are_read_with_it_too(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        save_foreign(tmp_path / "donut", "<s_a>", "<s_My_Task>")
        Image.new("L", (60, 40), 255).save(tmp_path / "page.png")
        arguments = ["predict", str(tmp_path / "donut"), str(tmp_path / "page.png"), "--device", "cpu"]
        capfd.readouterr()
        for option in (["--prompt", "<s>"], ["--prompt", "<s_My_Task>"], ["--dataset", "My_Task"]):
            assert main([*arguments, *option]) == 0
            out, err = capfd.readouterr()
            assert "prediction" in json.loads(out)
            assert err == ""
        assert main(arguments) == 2
        assert capfd.readouterr().err == (
            "donutbench: say with --dataset or --prompt what to read; this checkpoint knows the data sets: My_Task, a\n"
        )


def test_pages_that_are_not_filled_up_make_no_batch(donut: Path, datasets: dict[str, Dataset]) -> None:
    images(do_pad=False)(donut)
    first, second = datasets[RECEIPTS].open(TINY, "test", 0, 2)
    square = replace(second, page=second.page[:, :96])
    line = "the processor makes pages of 115x192 and of 128x128 pixels: with do_pad all have one size"
    with pytest.raises(UserError, match=line):
        encode_documents([first, square], load_processor(donut), TINY.max_tokens)
