"""Checkpoints: saved and loaded exactly, broken ones refused in one line, nothing unpickled."""

from __future__ import annotations

import json
import logging
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
from benchmark.models.checkpoint import (
    PACKED,
    POINTER,
    WEIGHTS,
    fingerprint,
    load_model,
    load_processor,
    point_to_processor,
    save_model,
)
from benchmark.models.donut import Donut, build, fit_vocabulary
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.parts.starts import sparsity_of
from benchmark.scales import TINY
from benchmark.zoo.store import SHIPPED

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

    @pytest.mark.parametrize("edit", ["values", "mask", "place", "missing", "shape"])
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
        elif edit == "shape":
            name = "decoder.model.decoder.layers.0.fc1.bias"
            state[name] = state[name][1:].clone()
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

    @pytest.mark.parametrize("packed", [False, True])
    def test_what_follows_from_the_config_may_be_stored_or_not(
        self, packed: bool, plain: VisionEncoderDecoderModel, tmp_path: Path
    ) -> None:
        """It depends on the version that saved the model; so does under which of its names a tied weight is stored."""
        plain.save_pretrained(str(tmp_path / "plain"))
        save_model(load_model(tmp_path / "plain"), tmp_path / "donut", packed=packed)
        file = tmp_path / "donut" / (PACKED if packed else WEIGHTS)
        more = load_file(file)
        less = {name: tensor for name, tensor in more.items() if not name.endswith("relative_position_index")}
        more["encoder.encoder.layers.0.blocks.0.attn_mask"] = torch.zeros(4, 16, 16)
        more["encoder.embeddings.position_ids"] = torch.arange(9)
        more["decoder.lm_head.weight"] = plain.state_dict()["decoder.lm_head.weight"].clone()
        assert len(less) < len(more) - 3
        for tensors in (more, less):
            save_file(tensors, file, {"format": "pt"})
            assert torch.equal(logits(load_model(tmp_path / "donut"), (64, 96)), logits(plain, (64, 96)))

    def test_a_folder_with_a_pickle_alone_is_refused(
        self, plain: VisionEncoderDecoderModel, processor: DonutProcessor, tmp_path: Path
    ) -> None:
        plain.save_pretrained(str(tmp_path))
        processor.save_pretrained(str(tmp_path))
        (tmp_path / WEIGHTS).unlink()
        torch.save(plain.state_dict(), tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match="has its weights as a pickle, which is not opened here"):
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


def quantize(tensors: dict[str, torch.Tensor]) -> None:
    """As quantizers do: codes in the place of the weight, and their scale under a name of its own."""
    scale = tensors[FC1].abs().max() / 127
    tensors[FC1] = (tensors[FC1] / scale).round().to(torch.int8)
    tensors[f"{FC1}_scale"] = scale.reshape(1)


BROKEN: dict[str, Edit] = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights cut short": lambda folder: cut(folder / WEIGHTS),
    "weights empty": written(WEIGHTS, ""),
    "weights are noise": written(WEIGHTS, "noise " * 500),
    "a tensor is missing": edited_tensors(lambda tensors: tensors.pop(FC1)),
    "a tensor has another shape": edited_tensors(lambda tensors: tensors.update({FC1: torch.ones(2, 2)})),
    "a weight is quantized": edited_tensors(quantize),
    "the config has fewer layers": edited_config(lambda config: config["decoder"].update(decoder_layers=1)),
    "the config has more layers": edited_config(lambda config: config["decoder"].update(decoder_layers=3)),
    "the config has no bridge": edited_config(lambda config: config["encoder"].pop("bridge")),
    "the config has a head of its own": edited_config(
        lambda config: [part.update(tie_word_embeddings=False) for part in (config, config["decoder"])]
    ),
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
    def test_it_is_refused_in_one_line_that_names_the_folder(
        self, how: str, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "donut"
        shutil.copytree(checkpoint, folder)
        load_checkpoint(folder)
        BROKEN[how](folder)
        logging.getLogger("transformers").addHandler(caplog.handler)
        try:
            with pytest.raises(UserError) as caught:
                load_checkpoint(folder)
        finally:
            logging.getLogger("transformers").removeHandler(caplog.handler)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caplog.text == "", "transformers prints a table of its own"

    @pytest.mark.parametrize(
        ("how", "what"),
        [
            ("a tensor is missing", f"lacks 1 weight: {FC1}"),
            ("a tensor has another shape", f"has 1 weight of another shape than its config says: {FC1}"),
            ("a weight is quantized", f"has 1 weight that its config has no place for: {FC1}_scale"),
            (
                "the config has fewer layers",
                "has 26 weights that its config has no place for: "
                "decoder.model.decoder.layers.1.encoder_attn.k_proj.bias, ...",
            ),
            ("the config has a head of its own", "lacks 1 weight: decoder.lm_head.weight"),
        ],
    )
    def test_weights_that_do_not_fit_are_counted_and_the_first_is_named(
        self, how: str, what: str, checkpoint: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "donut"
        shutil.copytree(checkpoint, folder)
        BROKEN[how](folder)
        with pytest.raises(UserError) as caught:
            load_model(folder)
        assert str(caught.value) == f"the checkpoint {folder} {what}"

    def test_a_missing_folder_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="nowhere is no checkpoint"):
            load_checkpoint(tmp_path / "nowhere")

    def test_a_file_is_no_checkpoint(self, checkpoint: Path) -> None:
        with pytest.raises(UserError, match="is no checkpoint"):
            load_checkpoint(checkpoint / WEIGHTS)


class TestSharedProcessor:
    @pytest.fixture
    def shared(self, processor: DonutProcessor, tmp_path: Path) -> Path:
        """A folder with a processor, and in it a folder of a checkpoint without one."""
        processor.save_pretrained(str(tmp_path / "zoo"))
        (tmp_path / "zoo" / "task" / "teacher").mkdir(parents=True)
        return tmp_path / "zoo"

    def test_what_lies_around_a_checkpoint_is_not_read(self, shared: Path) -> None:
        for folder in (shared / "task", shared / "task" / "teacher"):
            with pytest.raises(UserError, match=f"^{folder} is no checkpoint: it has no tokenizer.json$"):
                load_processor(folder)

    def test_what_the_folder_points_to_is(self, shared: Path, processor: DonutProcessor, tmp_path: Path) -> None:
        point_to_processor(shared / "task" / "teacher", shared)
        assert json.loads((shared / "task" / "teacher" / POINTER).read_text()) == {"processor": "../.."}
        shared.rename(tmp_path / "moved")
        found = load_processor(tmp_path / "moved" / "task" / "teacher")
        assert found.tokenizer.get_vocab() == processor.tokenizer.get_vocab()

    def test_a_processor_of_its_own_comes_first(self, shared: Path, processor: DonutProcessor) -> None:
        (shared / POINTER).write_text('{"processor": "nowhere"}')
        assert load_processor(shared).tokenizer.get_vocab() == processor.tokenizer.get_vocab()

    @pytest.mark.parametrize(
        "pointer",
        ["", "{", "[]", "{}", '"../.."', '{"processor": 1}', '{"processor": ".."}', '{"processor": "\\u0000"}'],
    )
    def test_a_broken_pointer_is_told_in_one_line(self, pointer: str, shared: Path) -> None:
        place = shared / "task" / "teacher" / POINTER
        place.write_text(pointer)
        with pytest.raises(UserError) as caught:
            load_processor(place.parent)
        assert str(place) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_absolute_pointer_is_told(self, shared: Path) -> None:
        (shared / "task" / POINTER).write_text(json.dumps({"processor": str(shared)}))
        with pytest.raises(UserError, match="takes a relative path"):
            load_processor(shared / "task")

    @pytest.mark.parametrize("config", sorted(SHIPPED.rglob("config.json")), ids=lambda path: path.parent.name)
    def test_every_checkpoint_of_the_zoo_says_where_its_processor_is(self, config: Path) -> None:
        assert load_processor(config.parent).tokenizer.convert_tokens_to_ids("<s_receipts-mini>") > 0


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
