"""Int8 layers: their definition and error, and that a model of them is saved, loaded, counted and read right."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DonutProcessor

from benchmark import UserError
from benchmark.devices import environment
from benchmark.measure.computation import signature
from benchmark.measure.parameters import count_parameters
from benchmark.models.arithmetic import donut_macs
from benchmark.models.checkpoint import PACKED, WEIGHTS, fingerprint, load_model, save_model
from benchmark.models.donut import Donut, beyond_transformers, build, fit_vocabulary
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import supports
from benchmark.models.macs import count_macs
from benchmark.models.packed import dense_bytes, dense_state, packed_bytes
from benchmark.models.parameters import prunable
from benchmark.models.processor import prompt_of
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.models.quantized import Int8Linear, int8_layers, joined, quantize, rounded
from benchmark.models.shapes import check_shapes
from benchmark.scales import TINY
from benchmark.scoring.predict import decode, transformers_greedy
from benchmark.scoring.representations import represent
from benchmark.types import Dataset
from benchmark.zoo.given import open_teacher
from benchmark.zoo.store import open_zoo

Array = NDArray[np.float64]
INPUTS = st.integers(1, 70), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31)


def layer(inputs: int, outputs: int, seed: int = 0, bias: bool = True) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs, bias=bias)


def drawn(rows: int, inputs: int, seed: int = 0, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(seed)) + shift


def dynamic(states: torch.Tensor, whole: nn.Linear) -> Array:
    """Dynamic quantization by its definition, each step of it in double precision."""
    x, weight = states.double().numpy(), whole.weight.detach().double().numpy()
    step = np.abs(weight).max(1, keepdims=True) / 127
    codes = np.rint(weight / step)
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    width = (high - low) / 127
    zero = np.rint(-low / width)
    inputs = np.clip(np.rint(x / width) + zero, 0, 127)
    product: Array = width * (inputs - zero) @ (step * codes).T
    bias = whole.state_dict().get("bias")
    return product if bias is None else product + bias.double().numpy()


class TestLayer:
    @pytest.mark.parametrize("shift", [0.0, 1.5, -4.0])
    @pytest.mark.parametrize("bias", [True, False])
    def test_it_is_dynamic_quantization(self, shift: float, bias: bool) -> None:
        whole, states = layer(96, 40, bias=bias), drawn(50, 96, shift=shift)
        found = rounded(whole)(states).detach().double().numpy()
        assert np.abs(found - dynamic(states, whole)).max() < 1e-4

    def test_large_products_do_not_overflow(self) -> None:
        """Two products of 8 bits are more than 16 bits hold, in which processors without VNNI add them up."""
        whole, states = layer(64, 8, bias=False), drawn(4, 64).abs() * 0.01 + 1
        with torch.no_grad():
            whole.weight.copy_(1 - 0.01 * whole.weight.abs())
        assert np.abs(rounded(whole)(states).detach().numpy() / dynamic(states, whole) - 1).max() < 1e-5

    @settings(max_examples=40, deadline=None)
    @given(*INPUTS)
    def test_its_error_is_at_most_half_a_step_of_each_weight_and_input(
        self, inputs: int, outputs: int, rows: int, seed: int
    ) -> None:
        whole, states = layer(inputs, outputs, seed), drawn(rows, inputs, seed, shift=seed % 3 - 1.0)
        x, weight = states.abs().double(), whole.weight.detach().abs().double()
        half = weight.amax(1) / 127 / 2
        half_input = (states.amax().clamp(min=0) - states.amin().clamp(max=0)).double() / 127 / 2
        most = x.sum(1, keepdim=True) * half + weight.sum(1) * half_input + inputs * half * half_input
        error = (rounded(whole)(states) - whole(states)).abs()
        assert bool((error <= most * (1 + 1e-5) + 1e-5).all())

    def test_codes_reach_from_end_to_end_and_zeros_stay(self) -> None:
        whole = layer(30, 12)
        with torch.no_grad():
            whole.weight[:, ::2] = 0
            whole.weight[3] = 0
        codes = rounded(whole).weight
        assert codes.dtype == torch.int8
        assert codes.abs().amax(1).tolist() == [127] * 3 + [0] + [127] * 8
        assert bool((codes[:, ::2] == 0).all())

    def test_an_output_without_weights_is_its_bias(self) -> None:
        whole = layer(8, 3)
        with torch.no_grad():
            whole.weight.zero_()
        assert torch.equal(rounded(whole)(drawn(5, 8)), whole.bias.expand(5, 3))

    def test_inputs_of_nothing_give_the_bias(self) -> None:
        whole = layer(8, 3)
        assert torch.allclose(rounded(whole)(torch.zeros(2, 4, 8)), whole.bias.expand(2, 4, 3))

    def test_any_number_of_dimensions(self) -> None:
        small, states = rounded(layer(8, 3)), drawn(24, 8)
        assert torch.equal(small(states.view(2, 3, 4, 8)), small(states).view(2, 3, 4, 3))

    def test_the_layer_that_it_was_made_of_is_not_touched(self) -> None:
        whole = layer(8, 3)
        before = deepcopy(whole.state_dict())
        small = rounded(whole)
        with torch.no_grad():
            small.bias.zero_()  # type: ignore[union-attr]
            small.weight.zero_()
        assert all(torch.equal(whole.state_dict()[name], tensor) for name, tensor in before.items() if name != "bias")

    def test_what_changes_is_packed_again(self) -> None:
        small, states = rounded(layer(8, 3)), drawn(5, 8)
        before = small(states)
        with torch.no_grad():
            small.scales.mul_(2)
            small.bias.mul_(2)  # type: ignore[union-attr]
        assert torch.allclose(small(states), 2 * before, atol=1e-6)
        small.weight = nn.Parameter(torch.zeros_like(small.weight), requires_grad=False)
        assert torch.equal(small(states), small.bias.expand(5, 3))  # type: ignore[union-attr]

    def test_a_copy_is_its_own(self) -> None:
        small, states = rounded(layer(8, 3)), drawn(5, 8)
        before = small(states)
        again = deepcopy(small)
        with torch.no_grad():
            small.scales.zero_()
        assert torch.equal(again(states), before)
        assert small.state_dict().keys() == {"weight", "scales", "bias"}

    def test_layers_side_by_side_write_the_same_numbers(self) -> None:
        parts = [rounded(layer(8, n, seed=n)) for n in (3, 5, 2)]
        states = drawn(5, 8)
        assert torch.equal(joined(parts)(states), torch.cat([part(states) for part in parts], -1))

    def test_torch_says_nothing_of_what_it_will_drop(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            rounded(layer(8, 3))(drawn(5, 8))

    def test_without_an_engine_it_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class NoEngine:
            engine = "none"

        monkeypatch.setattr("torch.backends.quantized", NoEngine())
        with pytest.raises(UserError, match=r"^int8 layers need an engine of quantized products"):
            rounded(layer(8, 3))(drawn(5, 8))

    def test_elsewhere_than_on_the_cpu_it_is_told(self) -> None:
        class Elsewhere(torch.Tensor):
            is_cpu: Any = False
            device: Any = torch.device("cuda")

        with pytest.raises(
            UserError, match=r"^int8 layers are computed on the CPU, and not on cuda: use --device cpu$"
        ):
            rounded(layer(8, 3))(drawn(5, 8).as_subclass(Elsewhere))


def logits(model: Donut) -> torch.Tensor:
    pixels = torch.randn(2, 3, TINY.height, TINY.width, generator=torch.Generator().manual_seed(0))
    inputs = torch.randint(0, 60, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found: torch.Tensor = model(pixel_values=pixels, decoder_input_ids=inputs).logits
    return found


@pytest.fixture
def small(model: Donut) -> Donut:
    quantize(model)
    return model


class TestModel:
    def test_all_linear_layers_but_the_head(self, small: Donut) -> None:
        head = small.decoder.lm_head
        assert [module for module in small.modules() if isinstance(module, nn.Linear)] == [head]
        assert head.weight is small.decoder.get_input_embeddings().weight
        assert head.weight.dtype == torch.float32
        layers = [name for name, module in small.named_modules() if isinstance(module, Int8Linear)]
        assert small.config.int8 == {"layers": layers}
        assert len(layers) == 4 * 10 + 4 * 6 + 1  # of the decoder, of encoder blocks, downsampling

    @pytest.mark.parametrize("packed", [False, True])
    def test_it_comes_back_to_the_bit_without_a_pickle(self, packed: bool, small: Donut, tmp_path: Path) -> None:
        save_model(small, tmp_path / "a", packed=packed)
        again = load_model(tmp_path / "a")
        assert torch.equal(logits(again), logits(small))
        assert fingerprint(again) == fingerprint(small)
        before, after = small.state_dict(), again.state_dict()
        assert before.keys() == after.keys()
        assert all(
            torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before
        )
        names = {path.name for path in (tmp_path / "a").iterdir()}
        assert all(name.endswith((".json", ".safetensors")) for name in names)
        stored = load_file(tmp_path / "a" / (PACKED if packed else WEIGHTS))
        assert {stored[f"{name}.weight"].dtype for name in int8_layers(small)} == {torch.int8}

    def test_zeros_stay_zeros_and_are_left_out(self, model: Donut, tmp_path: Path) -> None:
        prune_globally(model, magnitudes(model), 0.75)
        zeros = {name: weight == 0 for name, weight in prunable(model).items()}
        quantize(model)
        codes = prunable(model)
        assert codes.keys() == zeros.keys()
        assert all(bool((codes[name][gone] == 0).all()) for name, gone in zeros.items())
        save_model(model, tmp_path / "a", packed=True)
        again = load_model(tmp_path / "a")
        assert fingerprint(again) == fingerprint(model)
        size = (tmp_path / "a" / PACKED).stat().st_size
        assert size == packed_bytes(model) < 0.62 * dense_bytes(model)
        assert {w.dtype for n, w in again.named_parameters() if n in zeros and "projection" not in n} == {torch.int8}

    def test_its_layers_take_a_quarter_of_the_bytes(self, model: Donut, tmp_path: Path) -> None:
        whole = deepcopy(model)
        quantize(model)
        save_model(model, tmp_path / "a")
        assert dense_bytes(model) == (tmp_path / "a" / WEIGHTS).stat().st_size

        def layers(of: Donut) -> int:
            names = tuple(f"{name}." for name in int8_layers(model))
            return sum(tensor.nbytes for name, tensor in dense_state(of).items() if name.startswith(names))

        saved = layers(whole) - layers(model)
        assert 0.25 < layers(model) / layers(whole) < 0.28
        assert dense_bytes(whole) - dense_bytes(model) == pytest.approx(saved, rel=0.01)

    def test_its_parameters_are_those_of_the_whole_model(self, model: Donut) -> None:
        whole = deepcopy(model)
        quantize(model)
        before, after = count_parameters(whole), count_parameters(model)
        assert (after.total, after.embedding, after.nonembedding) == (
            before.total,
            before.embedding,
            before.nonembedding,
        )
        rounded_off = sum(int((weight == 0).sum()) for weight in prunable(model).values())
        assert 0 < rounded_off < 0.02 * before.nonembedding
        assert after.nonzero == before.nonzero - rounded_off

    def test_its_multiply_accumulates_are_those_of_the_whole_model(self, model: Donut) -> None:
        pixels = torch.zeros(1, 3, TINY.height, TINY.width)
        before = count_macs(model, pixels, 0, 64)
        quantize(model)
        assert count_macs(model, pixels, 0, 64) == before
        assert donut_macs(model, (TINY.height, TINY.width), 64) == before

    def test_it_is_another_computation(self, model: Donut, processor: DonutProcessor, pages: EncodedDocuments) -> None:
        before = signature(model, processor, pages.pages[:1], 5)
        quantize(model)
        again = deepcopy(model)
        with torch.no_grad():
            again.decoder.model.decoder.layers[0].fc1.scales.mul_(2)
        now = signature(model, processor, pages.pages[:1], 5)
        assert now != before
        assert signature(again, processor, pages.pages[:1], 5) == now

    def test_its_features_are_those_of_documents_alone(
        self, small: Donut, processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        whole = represent(small, processor, pages, prompt=5)
        assert len(whole.names) == 6
        one = represent(small, processor, EncodedDocuments(**{**vars_of(pages), **row(pages, 2)}), prompt=5)
        for layers, alone in zip(whole.layers, one.layers, strict=True):
            assert np.allclose(layers[2:3], alone, atol=1e-6)

    def test_transformers_cannot_express_it(self, processor: DonutProcessor) -> None:
        scale = TINY
        model = build(scale, scale.teacher, len(processor.tokenizer), seed=0)
        model.encoder.bridge = None
        assert beyond_transformers(model) is None
        quantize(model)
        assert beyond_transformers(model) == "its linear layers are int8"

    def test_its_shapes_can_be_checked(self, small: Donut) -> None:
        check_shapes(small)

    def test_new_tokens_leave_its_layers_alone(self, small: Donut) -> None:
        before = fingerprint(small)
        size = small.decoder.get_input_embeddings().weight.shape[0]
        fit_vocabulary(small, size + 3)
        assert fingerprint(small) != before
        assert logits(small).shape[-1] == size + 3

    def test_it_is_no_teacher_to_compress(self, small: Donut, processor: DonutProcessor, tmp_path: Path) -> None:
        save_model(small, tmp_path / "mine")
        processor.save_pretrained(str(tmp_path / "mine"))
        from benchmark.scales import Changes

        with pytest.raises(UserError, match=r"^mine has int8 layers, which nothing trains or compresses"):
            open_teacher(str(tmp_path / "mine"), Changes())


def vars_of(pages: EncodedDocuments) -> dict[str, Any]:
    return {name: getattr(pages, name) for name in pages.__dataclass_fields__}


def row(pages: EncodedDocuments, number: int) -> dict[str, Any]:
    place = slice(number, number + 1)
    return {"pages": pages.pages[place], "labels": pages.labels[place]}


class TestReading:
    def test_it_writes_what_generate_writes_page_by_page(
        self, datasets: dict[str, Dataset], processor: DonutProcessor, pages: EncodedDocuments
    ) -> None:
        """The shipped teacher in int8, whose documents end apart."""
        folder = open_zoo(TINY).task_teacher(datasets["receipts-mini"])
        assert folder is not None
        model = fit_vocabulary(load_model(folder), len(processor.tokenizer))
        quantize(model)
        assert supports(model)
        prompt, longest = prompt_of(datasets["receipts-mini"]), 60
        texts = [text for text, _ in decode(model, processor, pages.pages[:3], prompt, longest, batch=3)]
        from benchmark.models.processor import to_pixels

        start, end = processor.tokenizer.convert_tokens_to_ids(prompt), processor.tokenizer.eos_token_id
        for text, page in zip(texts, pages.pages[:3].split(1), strict=True):
            (tokens,) = transformers_greedy(model, to_pixels(processor, page), start, end, longest).tolist()
            tokens = tokens[: [*tokens, end].index(end)]
            assert text == processor.tokenizer.decode(tokens, skip_special_tokens=False)
            assert len(tokens) > 20

    def test_its_projections_are_one_product(self, small: Donut, processor: DonutProcessor) -> None:
        calls: list[object] = []
        attention = small.decoder.model.decoder.layers[0].self_attn
        for part in (attention.q_proj, attention.k_proj, attention.v_proj):
            setattr(part, "forward", lambda *_: calls.append(1))  # noqa: B010
        page = torch.zeros(1, TINY.height, TINY.width, dtype=torch.uint8)
        decode(small, processor, page, "<s_receipts-mini>", longest=6)
        assert not calls


Edit = Callable[[dict[str, torch.Tensor], dict[str, Any]], object]
FC1 = "decoder.model.decoder.layers.0.fc1"
BROKEN: dict[str, tuple[Edit, str]] = {
    "floats": (lambda t, c: t.update({f"{FC1}.weight": t[f"{FC1}.weight"].float()}), f"{FC1}.weight is F32, not I8"),
    "no scales": (lambda t, c: t.pop(f"{FC1}.scales"), f"lacks 1 weight: {FC1}.scales"),
    "a scale of zero": (lambda t, c: t[f"{FC1}.scales"].zero_(), f"has 1 weight that cannot be a scale: {FC1}.scales"),
    "a scale that is no number": (
        lambda t, c: t[f"{FC1}.scales"].fill_(torch.nan),
        f"has 1 weight that cannot be a scale: {FC1}.scales",
    ),
    "scales of another shape": (lambda t, c: t.update({f"{FC1}.scales": torch.ones(3)}), f"1 weight.*{FC1}.scales"),
    "codes of another shape": (
        lambda t, c: t.update({f"{FC1}.weight": torch.ones(3, 3, dtype=torch.int8)}),
        f"1 weight.*{FC1}.weight",
    ),
    "no word of it in the config": (lambda t, c: c.pop("int8"), r"has 65 weights that its config has no place for"),
    "a layer less in the config": (lambda t, c: c["int8"]["layers"].remove(FC1), f"no place for: {FC1}.scales"),
    "a layer that is not there": (lambda t, c: c["int8"]["layers"].append("decoder.no"), "'decoder.no' in int8"),
    "the head": (lambda t, c: c["int8"]["layers"].append("decoder.lm_head"), "'decoder.lm_head' in int8"),
    "a layer twice": (lambda t, c: c["int8"]["layers"].append(FC1), f"'{FC1}' in int8, .* or twice"),
    "a number for a layer": (lambda t, c: c["int8"].update(layers=[3]), "3 in int8"),
    "no layers": (lambda t, c: c.update(int8={"layers": []}), "for int8, and not the names of layers"),
    "a list": (lambda t, c: c.update(int8=[FC1]), "for int8, and not the names of layers"),
    "a word": (lambda t, c: c.update(int8="all"), "its config has 'all' for int8"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_one_is_told_in_one_line(how: str, packed: bool, small: Donut, tmp_path: Path) -> None:
    edit, wanted = BROKEN[how]
    folder = tmp_path / "a"
    save_model(small, folder, packed=packed)
    file = folder / (PACKED if packed else WEIGHTS)
    tensors, config = load_file(file), json.loads((folder / "config.json").read_text())
    edit(tensors, config)
    save_file(tensors, file, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=wanted) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_an_environment_says_what_multiplies() -> None:
    engine, vnni = str(environment(torch.device("cpu"))["int8"]).split(", ")
    assert engine == torch.backends.quantized.engine
    assert vnni in ("VNNI", "no VNNI")
