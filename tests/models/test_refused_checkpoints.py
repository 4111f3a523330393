"""Folders that are no Donut, or a broken one: one line says what it is, and what would work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    BertConfig,
    BertModel,
    LayoutLMConfig,
    LayoutLMModel,
    Pix2StructConfig,
    Pix2StructForConditionalGeneration,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
    TrOCRConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from tests.foreign import foreign_processor
from tests.models.edits import (
    INDEX,
    Edit,
    Evaluate,
    as_pickle,
    images,
    indexed,
    rewritten,
    sharded,
    shards,
    without_decoder,
)

SIZE = '"size" takes {"height": H, "width": W}, which are the image_size in config.json'
REFUSED: dict[str, tuple[Edit, str]] = {
    "the size is one edge": (
        images(size={"shortest_edge": 128}),
        f"the processor of FOLDER has pages of the size {{'shortest_edge': 128}}, not of a height and a width: {SIZE}",
    ),
    "the size is the other edge": (
        images(size={"longest_edge": 128}),
        f"the processor of FOLDER has pages of the size {{'longest_edge': 128}}, not of a height and a width: {SIZE}",
    ),
    "the size is nothing": (
        images(size={"height": 0, "width": 9}),
        "the processor of FOLDER has pages of the size {'height': 0, 'width': 9}, not of a height and a width: " + SIZE,
    ),
    "the size is no size": (
        images(size="big"),
        "cannot load the processor of FOLDER: Could not convert size input to size dict: big",
    ),
    "the size has less than a window": (
        images(size={"height": 24, "width": 40}),
        "the pages of FOLDER have 24x40 pixels, 3x5 cells in stage 2, and windows of 4 need as many a side: "
        'a larger "size" of its processor has them',
    ),
    "pages of another model": (
        images(image_processor_type="ViTImageProcessor"),
        "the processor of FOLDER makes its pages with ViTImageProcessor, and a Donut's with DonutImageProcessor",
    ),
    "no end": (
        rewritten("tokenizer_config.json", lambda content: content.pop("eos_token")),
        "the tokenizer of FOLDER has no eos_token, without which no text has an end: tokenizer_config.json names it",
    ),
    "no padding": (
        rewritten("tokenizer_config.json", lambda content: content.pop("pad_token")),
        "the tokenizer of FOLDER has no pad_token, without which no texts make a batch: tokenizer_config.json names it",
    ),
    "a file of several is missing": (
        sharded(lambda folder: shards(folder)[1].unlink()),
        "FOLDER/model.safetensors.index.json names model-00002-of-00002.safetensors, which is not there: "
        "the weights lie in 2 files",
    ),
    "a file of several lies elsewhere": (
        sharded(indexed("../other.safetensors")),
        "FOLDER/model.safetensors.index.json names ../other.safetensors, which is no safetensors file beside it: "
        "no other is read",
    ),
    "a file of several is a pickle": (
        sharded(indexed("pytorch_model-00002.bin")),
        "FOLDER/model.safetensors.index.json names pytorch_model-00002.bin, which is no safetensors file beside it: "
        "no other is read",
    ),
    "an index that is none": (
        sharded(lambda folder: (folder / INDEX).write_text("[]")),
        'FOLDER/model.safetensors.index.json is not {"weight_map": {WEIGHT: FILE}}: '
        "list indices must be integers or slices, not str",
    ),
    "a decoder is missing": (
        without_decoder,
        "the checkpoint FOLDER lacks 110 weights: decoder.model.decoder.embed_positions.weight, ...",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_one_line(kind: str, donut: Path, evaluate: Evaluate) -> None:
    edit, line = REFUSED[kind]
    edit(donut)
    assert evaluate(donut) == (2, "", [f"donutbench: {line.replace('FOLDER', str(donut))}"])


SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def trocr() -> PreTrainedModel:
    decoder = TrOCRConfig(d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16, vocab_size=50)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(image_size=32, **SMALL), decoder)
    return VisionEncoderDecoderModel(config)


def pix2struct() -> PreTrainedModel:
    sizes: dict[str, Any] = {"hidden_size": 16, "d_kv": 8, "d_ff": 16, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 50, "num_layers": 1, "num_heads": 2}
    vision = {**sizes, "patch_embed_hidden_size": 16, "num_hidden_layers": 1}
    return Pix2StructForConditionalGeneration(Pix2StructConfig(text_config=text, vision_config=vision))


OTHERS: dict[str, tuple[Callable[[], PreTrainedModel], str]] = {
    "TrOCR": (trocr, "vision-encoder-decoder of vit and trocr"),
    "BERT": (lambda: BertModel(BertConfig(vocab_size=50, **SMALL)), "bert"),
    "LayoutLM": (lambda: LayoutLMModel(LayoutLMConfig(vocab_size=50, **SMALL)), "layoutlm"),
    "T5": (
        lambda: T5ForConditionalGeneration(T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1)),
        "t5",
    ),
    "Pix2Struct": (pix2struct, "pix2struct"),
}


@pytest.mark.parametrize("pickled", [False, True], ids=["safetensors", "pickle"])
@pytest.mark.parametrize("kind", OTHERS)
def test_another_model_is_named(kind: str, pickled: bool, tmp_path: Path, evaluate: Evaluate) -> None:
    make, name = OTHERS[kind]
    make().save_pretrained(str(tmp_path))
    foreign_processor().save_pretrained(str(tmp_path))
    if pickled:
        as_pickle(tmp_path)  # what converts a Donut would make a Donut of it
    code, out, err = evaluate(tmp_path)
    assert (code, out) == (2, "")
    assert err == [
        f"donutbench: {tmp_path} is no Donut, which is a vision-encoder-decoder of donut-swin and mbart, as what is "
        f"fine-tuned from naver-clova-ix/donut-base: it is a {name}"
    ]


def test_code_of_a_checkpoint_is_never_run(
    donut: Path, evaluate: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if somebody says yes to whatever asks."""
    ran = tmp_path / "ran"
    (donut / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass Evil: pass\n")
    images(image_processor_type="Evil", auto_map={"AutoImageProcessor": "evil.Evil"})(donut)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    code, out, err = evaluate(donut)
    assert (code, out, len(err)) == (2, "", 1)
    assert err[0].startswith(f"donutbench: cannot load the processor of {donut}: ")
    assert not ran.exists()
