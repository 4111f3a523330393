"""Checkpoints: saved and loaded exactly, broken ones refused in one line, nothing unpickled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DonutProcessor,
    DonutSwinConfig,
    DonutSwinModel,
    GPT2Config,
    MBartConfig,
    MBartForCausalLM,
    PreTrainedModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

from benchmark import UserError, load_checkpoint
from benchmark.models.checkpoint import PACKED, WEIGHTS, fingerprint, load_model, save_model
from benchmark.models.donut import Donut, build, fit_vocabulary
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.parts.starts import sparsity_of
from benchmark.scales import TINY

Edit = Callable[[Path], None]


def logits(model: PreTrainedModel, size: tuple[int, int] = (TINY.height, TINY.width)) -> torch.Tensor:
    pixels = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    inputs = torch.randint(0, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: torch.Tensor = model(pixel_values=pixels, decoder_input_ids=inputs).logits
    return found


class TestRoundTrip:
    def test_every_weight_comes_back(self, model: Donut, tmp_path: Path) -> None:
        save_model(model, tmp_path / "a")
        again = load_model(tmp_path / "a")
        before, after = model.state_dict(), again.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[name], after[name]) for name in before)
        assert torch.equal(logits(again), logits(model))
        assert fingerprint(again) == fingerprint(model)
        assert not again.training

    def test_zeros_stay_zeros(self, model: Donut, tmp_path: Path) -> None:
        prune_globally(model, magnitudes(model), 0.7)
        save_model(model, tmp_path / "a")
        again = dict(load_model(tmp_path / "a").named_parameters())
        for name, weight in model.named_parameters():
            assert torch.equal(again[name] == 0, weight == 0)

    def test_the_student_with_its_adapter_comes_back(self, processor: DonutProcessor, tmp_path: Path) -> None:
        student = build(TINY, TINY.small, len(processor.tokenizer), seed=0)
        student.train(False)
        save_model(student, tmp_path / "a")
        again = load_model(tmp_path / "a")
        assert again.encoder.bridge is not None
        assert again.encoder.bridge.adapter is not None
        assert torch.equal(logits(again), logits(student))

    def test_a_model_with_new_tokens_comes_back(self, model: Donut, tmp_path: Path) -> None:
        size = model.decoder.get_input_embeddings().weight.shape[0]
        fit_vocabulary(model, size + 5)
        save_model(model, tmp_path / "a")
        again = load_model(tmp_path / "a")
        assert again.decoder.get_input_embeddings().weight.shape[0] == size + 5
        assert torch.equal(logits(again), logits(model))
        assert logits(model).shape[-1] == size + 5

    def test_half_is_half_the_bytes_and_close(self, model: Donut, tmp_path: Path) -> None:
        save_model(model, tmp_path / "whole")
        save_model(model, tmp_path / "half", half=True)
        whole, half = ((tmp_path / name / WEIGHTS).stat().st_size for name in ("whole", "half"))
        assert half < 0.52 * whole
        again = load_model(tmp_path / "half")
        assert {p.dtype for p in again.parameters()} == {torch.float32}
        before = model.state_dict()
        assert all(
            torch.equal(v, before[n].half().float()) if v.is_floating_point() else torch.equal(v, before[n])
            for n, v in again.state_dict().items()
        )
        assert next(model.parameters()).dtype == torch.float32

    @pytest.mark.parametrize("half", [False, True])
    def test_packed_leaves_the_zeros_out_and_brings_them_back(self, half: bool, model: Donut, tmp_path: Path) -> None:
        prune_globally(model, magnitudes(model), sparsity_of("paper-table"))
        save_model(model, tmp_path / "dense", half)
        save_model(model, tmp_path / "packed", half, packed=True)
        dense, packed = (tmp_path / "dense" / WEIGHTS, tmp_path / "packed" / PACKED)
        assert packed.stat().st_size < (0.37 if half else 0.33) * dense.stat().st_size
        again = load_model(tmp_path / "packed")
        assert fingerprint(again) == fingerprint(load_model(tmp_path / "dense"))
        assert torch.equal(logits(again), logits(load_model(tmp_path / "dense")))
        assert again.decoder.lm_head.weight is again.decoder.get_input_embeddings().weight
        assert {weight.dtype for weight in again.parameters()} == {torch.float32}

    @pytest.mark.parametrize("edit", ["values", "mask", "place", "missing"])
    def test_a_packed_file_that_does_not_fit_is_told(self, edit: str, model: Donut, tmp_path: Path) -> None:
        prune_globally(model, magnitudes(model), 0.7)
        save_model(model, tmp_path / "a", packed=True)
        file = tmp_path / "a" / PACKED
        state = load_file(file)
        name = next(key for key in state if key.endswith(".values")).removesuffix(".values")
        if edit == "values":
            state[f"{name}.values"] = state[f"{name}.values"][1:]
        elif edit == "mask":
            state[f"{name}.mask"] = state[f"{name}.mask"][1:]
        elif edit == "place":
            state["decoder.nowhere.values"] = state[f"{name}.values"].clone()
        else:
            del state[f"{name}.values"], state[f"{name}.mask"]
        save_file(state, file)
        with pytest.raises(UserError, match="nowhere" if edit == "place" else name) as caught:
            load_model(tmp_path / "a")
        assert str(tmp_path / "a") in str(caught.value)

    def test_saving_again_replaces_the_whole_folder(self, model: Donut, tmp_path: Path) -> None:
        save_model(model, tmp_path / "a")
        (tmp_path / "a" / "training.json").write_text("of the old model")
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.weight.mul_(2)
        save_model(model, tmp_path / "a")
        assert fingerprint(load_model(tmp_path / "a")) == fingerprint(model)
        assert not (tmp_path / "a" / "training.json").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["a"]

    def test_nothing_of_a_folder_is_a_pickle(self, checkpoint: Path) -> None:
        names = {path.name for path in checkpoint.iterdir()}
        assert WEIGHTS in names
        assert all(name.endswith((".json", ".safetensors")) for name in names)

    def test_the_processor_comes_back(self, checkpoint: Path, processor: DonutProcessor) -> None:
        again = load_checkpoint(checkpoint).processor
        assert again.tokenizer.get_vocab() == processor.tokenizer.get_vocab()
        text = "<s_menu><s_nm>A b,c</s_nm></s_menu>"
        assert again.tokenizer(text)["input_ids"] == processor.tokenizer(text)["input_ids"]
        assert again.image_processor.size == processor.image_processor.size

    def test_a_fingerprint_is_that_of_the_weights(self, model: Donut) -> None:
        before = fingerprint(model)
        assert fingerprint(model) == before
        with torch.no_grad():
            model.decoder.model.decoder.layers[3].fc2.bias[0] += 1e-6
        assert fingerprint(model) != before


@pytest.fixture(scope="module")
def plain() -> VisionEncoderDecoderModel:
    """What plain `transformers` code makes: no class of ours, no bridge."""
    torch.manual_seed(0)
    encoder = DonutSwinConfig(
        image_size=[64, 96], patch_size=4, embed_dim=16, depths=[1, 2], num_heads=[1, 2], window_size=4
    )
    # What Donut sets, and its configuration class does not list.
    more: dict[str, Any] = {"add_cross_attention": True, "add_final_layer_norm": True}
    decoder = MBartConfig(
        vocab_size=60,
        d_model=32,
        decoder_layers=2,
        decoder_ffn_dim=48,
        decoder_attention_heads=2,
        max_position_embeddings=40,
        is_decoder=True,
        is_encoder_decoder=False,
        scale_embedding=True,
        **more,
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    model = VisionEncoderDecoderModel(config=config, encoder=DonutSwinModel(encoder), decoder=MBartForCausalLM(decoder))
    model.train(False)
    return model


class TestPlainDonut:
    """What plain `transformers` code saves, the form of every published Donut."""

    def test_it_loads_with_equal_logits(
        self, plain: VisionEncoderDecoderModel, processor: DonutProcessor, tmp_path: Path
    ) -> None:
        plain.save_pretrained(str(tmp_path))
        processor.save_pretrained(str(tmp_path))
        loaded = load_checkpoint(tmp_path).model
        assert torch.equal(logits(loaded, (64, 96)), logits(plain, (64, 96)))
        assert sum(p.numel() for p in loaded.parameters()) == sum(p.numel() for p in plain.parameters())

    def test_it_loads_back_into_plain_code(self, plain: VisionEncoderDecoderModel, tmp_path: Path) -> None:
        plain.save_pretrained(str(tmp_path / "plain"))
        save_model(load_model(tmp_path / "plain"), tmp_path / "ours")
        config: Any = VisionEncoderDecoderConfig.from_pretrained(str(tmp_path / "ours"))
        again = VisionEncoderDecoderModel(
            config=config, encoder=DonutSwinModel(config.encoder), decoder=MBartForCausalLM(config.decoder)
        )
        again.load_state_dict(load_file(tmp_path / "ours" / WEIGHTS), strict=False)
        again.decoder.tie_weights()
        again.train(False)
        assert torch.equal(logits(again, (64, 96)), logits(plain, (64, 96)))

    def test_a_folder_with_a_pickle_alone_is_refused(
        self, plain: VisionEncoderDecoderModel, processor: DonutProcessor, tmp_path: Path
    ) -> None:
        plain.save_pretrained(str(tmp_path))
        processor.save_pretrained(str(tmp_path))
        (tmp_path / WEIGHTS).unlink()
        torch.save(plain.state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match=r"no model\.safetensors"):
            load_checkpoint(tmp_path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edited_tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Edit:
    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS, {"format": "pt"})

    return change


def edited_config(edit: Callable[[dict[str, Any]], object]) -> Edit:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        edit(config)
        (folder / "config.json").write_text(json.dumps(config))

    return change


def written(name: str, content: str) -> Edit:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)

    return change


FC1 = "decoder.model.decoder.layers.0.fc1.weight"
BROKEN: dict[str, Edit] = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights cut short": lambda folder: cut(folder / WEIGHTS),
    "weights empty": written(WEIGHTS, ""),
    "weights are noise": written(WEIGHTS, "noise " * 500),
    "a tensor is missing": edited_tensors(lambda tensors: tensors.pop(FC1)),
    "a tensor has another shape": edited_tensors(lambda tensors: tensors.update({FC1: torch.ones(2, 2)})),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "config cut short": lambda folder: cut(folder / "config.json"),
    "config is a list": written("config.json", "[]"),
    "config is empty": written("config.json", "{}"),
    "config has text for a number": edited_config(lambda config: config["decoder"].update(d_model="wide")),
    "another encoder": edited_config(lambda config: config.update(encoder=ViTConfig().to_dict())),
    "another decoder": edited_config(lambda config: config.update(decoder=GPT2Config().to_dict())),
    "generation config is a list": written("generation_config.json", "[]"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "tokenizer cut short": lambda folder: cut(folder / "tokenizer.json"),
    "tokenizer is a list": written("tokenizer.json", "[]"),
    "tokenizer config is a list": written("tokenizer_config.json", "[]"),
    "no processor config": lambda folder: (folder / "processor_config.json").unlink(),
    "processor config is a list": written("processor_config.json", "[]"),
}


class TestBroken:
    @pytest.mark.parametrize("how", BROKEN)
    def test_it_is_refused_in_one_line_that_names_the_folder(self, how: str, checkpoint: Path, tmp_path: Path) -> None:
        folder = tmp_path / "donut"
        shutil.copytree(checkpoint, folder)
        load_checkpoint(folder)
        BROKEN[how](folder)
        with pytest.raises(UserError) as caught:
            load_checkpoint(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="nowhere is no checkpoint"):
            load_checkpoint(tmp_path / "nowhere")

    def test_a_file_is_no_checkpoint(self, checkpoint: Path) -> None:
        with pytest.raises(UserError, match="is no checkpoint"):
            load_checkpoint(checkpoint / WEIGHTS)


class TestUnwritable:
    def test_a_file_in_the_way_is_told(self, model: Donut, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UserError, match="cannot write the checkpoint"):
            save_model(model, tmp_path / "file" / "donut")
        assert (tmp_path / "file").read_text() == "mine"

    def test_a_full_disk_is_told_and_leaves_what_was_there(
        self, model: Donut, tmp_path: Path, small_files: Callable[[int], None]
    ) -> None:
        save_model(model, tmp_path / "donut")
        before = fingerprint(model)
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.weight.mul_(2)
        small_files(500_000)
        with pytest.raises(UserError, match="cannot write the checkpoint"):
            save_model(model, tmp_path / "donut")
        assert [path.name for path in tmp_path.iterdir()] == ["donut"]
        assert fingerprint(load_model(tmp_path / "donut")) == before
