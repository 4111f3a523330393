"""What is left of a model computes what the whole one did with these weights at zero."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import VisionEncoderDecoderModel

from benchmark.errors import UserError
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, fit_vocabulary
from benchmark.models.greedy import greedy, supports
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.scoring.predict import transformers_greedy
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import Group, Slices, Stack, cut
from benchmark.slicing.options import Kind
from benchmark.types import Calibration
from tests.slicing.conftest import TEACHER, VOCABULARY, logits, made

KINDS: tuple[Kind, ...] = ("ffn", "heads", "width", "layers")
START, END, LONGEST = 5, 999, 12  # no model here can write such an end
CLOSE = 2e-4
"""Sums of a few hundred products of size one, in another order."""


def some(groups: list[Group], seed: int = 0) -> dict[Group, list[int]]:
    """Other units of each group, and another number of them."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in groups:
        count = int(torch.randint(max(1, group.least), group.count + 1, (1,), generator=generator))
        kept[group] = sorted(torch.randperm(group.count, generator=generator)[:count].tolist())
    return kept


class NormOver(nn.Module):
    """A layer norm over some of its features; the others give zero."""

    def __init__(self, norm: nn.LayerNorm, features: torch.Tensor) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.features = norm.weight, norm.bias, norm.eps, features

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        kept = states[..., self.features]
        centred = kept - kept.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + self.eps).sqrt()
        output = torch.zeros_like(states)
        output[..., self.features] = normed * self.weight[self.features] + self.bias[self.features]
        return output


@torch.no_grad()
def masked(model: Donut, kept: Mapping[Group, list[int]]) -> Donut:
    """The whole model with what is not kept at zero."""
    model = deepcopy(model)
    for group, units in kept.items():
        gone = torch.tensor([u for u in range(group.count) if u not in units], dtype=torch.long)
        if isinstance(group, Slices):
            for part in group.slices:
                parameter = model.get_parameter(part.parameter)
                parameter.index_fill_(part.dim, part.indices(gone, group.count), 0)
                place, _, name = part.parameter.rpartition(".")
                norm = model.get_submodule(place)
                if isinstance(norm, nn.LayerNorm) and name == "weight":
                    owner, _, attribute = place.rpartition(".")
                    stays = part.indices(torch.tensor(units), group.count)
                    setattr(model.get_submodule(owner), attribute, NormOver(norm, stays))
        elif isinstance(group, Stack):
            layers = model.get_submodule(group.modules)
            assert isinstance(layers, nn.ModuleList)
            for number in (n for unit in gone.tolist() for n in range(unit * group.span, (unit + 1) * group.span)):
                silence(layers[number])
    return model


def silence(layer: nn.Module) -> None:
    """Let a layer add nothing."""
    for name, parameter in layer.named_parameters():
        if any(part in name for part in ("out_proj", "fc2", "output.dense")):
            parameter.zero_()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
class TestCut:
    def test_forward_is_that_of_the_masked_one(
        self, kind: Kind, seed: int, model: Donut, calibration: Calibration
    ) -> None:
        kept = some(units_of(model, kind), seed)
        whole, before = masked(model, kept), logits(model, calibration)
        cut(model, kept)
        assert sum(p.numel() for p in model.parameters()) < sum(p.numel() for p in whole.parameters())
        assert not torch.allclose(before, logits(model, calibration), atol=0.1), "nothing was cut that matters"
        difference = (logits(model, calibration) - logits(whole, calibration)).abs().max()
        print(f"{kind}: {difference:.1e}")
        assert difference < CLOSE

    def test_decoding_is_that_of_the_masked_one_cached_uncached_and_ours(
        self, kind: Kind, seed: int, model: Donut, calibration: Calibration
    ) -> None:
        kept = some(units_of(model, kind), seed)
        whole = masked(model, kept)
        cut(model, kept)
        pixels = calibration.pixel_values
        ours = greedy(model, pixels, START, END, LONGEST) if supports(model) else None
        cached = transformers_greedy(model, pixels, START, END, LONGEST)
        uncached = _without_cache(model, pixels)
        assert ours is not None
        assert torch.equal(ours, cached)
        assert torch.equal(ours, uncached)
        assert torch.equal(ours, _without_cache(whole, pixels))

    def test_gradients_are_those_of_the_masked_one(
        self, kind: Kind, seed: int, model: Donut, calibration: Calibration
    ) -> None:
        kept = some(units_of(model, kind), seed)
        whole = masked(model, kept)
        cut(model, kept)
        for one in (model, whole):
            cross_entropy(logits(one, calibration).flatten(0, 1), calibration.labels.flatten()).backward()
        # Tables of positions have no unit in common with any kind but the width, and are there in every model.
        for name in ("encoder.bridge.rows", "decoder.model.decoder.embed_positions.weight"):
            theirs = whole.get_parameter(name).grad
            assert theirs is not None
            for group, units in kept.items():
                for part in group.slices if isinstance(group, Slices) else ():
                    if part.parameter == name:
                        theirs = theirs.index_select(part.dim, part.indices(torch.tensor(units), group.count))
            ours = model.get_parameter(name).grad
            assert ours is not None
            assert torch.allclose(ours, theirs, atol=1e-3 * float(theirs.abs().max()))


def _without_cache(model: Donut, pixels: torch.Tensor) -> torch.Tensor:
    tokens = torch.full((len(pixels), 1), START)
    with torch.inference_mode():
        for _ in range(LONGEST - 1):
            output = model(pixel_values=pixels, decoder_input_ids=tokens, use_cache=False)
            tokens = torch.cat([tokens, output.logits[:, -1:].argmax(-1)], 1)
    written = tokens[:, 1:]
    ended = (written == END).cumsum(1) > 0
    return written.masked_fill(ended, END)


class TestModel:
    def test_tied_tables_stay_tied(self, model: Donut) -> None:
        cut(model, some(units_of(model, "width")))
        assert model.decoder.lm_head.weight is model.decoder.get_input_embeddings().weight

    def test_modules_say_what_they_are(self, model: Donut) -> None:
        for kind in KINDS:
            cut(model, some(units_of(model, kind)))
        for module in model.modules():
            if isinstance(module, nn.Linear):
                assert (module.out_features, module.in_features) == module.weight.shape

    def test_a_model_is_cut_again_and_again(self, model: Donut, calibration: Calibration) -> None:
        for kind in (*KINDS, *KINDS):
            cut(model, some(units_of(model, kind), seed=3))
        assert torch.isfinite(logits(model, calibration)).all()

    def test_blocks_keep_their_windows(self, plain: Donut) -> None:
        (pairs,) = (group for group in units_of(plain, "layers") if group.name.endswith("layers.1.blocks"))
        cut(plain, {pairs: [1]})
        blocks = plain.encoder.encoder.layers[1].blocks
        assert [block.shift_size for block in blocks] == [0, 2]  # type: ignore[union-attr]
        assert plain.encoder.config.depths == [2, 2]

    def test_a_block_without_a_partner_stays(self, calibration: Calibration) -> None:
        """The tiny teacher has stages of one and of three blocks."""
        model = made(replace(TEACHER, depths=(1, 3)))
        (pair,) = (group for group in units_of(model, "layers") if group.name.startswith("encoder"))
        whole = masked(model, {pair: []})
        cut(model, {pair: []})
        assert model.encoder.config.depths == [1, 1]
        assert (logits(model, calibration) - logits(whole, calibration)).abs().max() < CLOSE

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_head_of_its_own_is_cut_with_the_rest(
        self, kind: Kind, plain: Donut, calibration: Calibration, tmp_path: Path
    ) -> None:
        plain.decoder.config.tie_word_embeddings = plain.config.tie_word_embeddings = False
        untied = Donut(plain.config)
        assert untied.decoder.lm_head.weight is not untied.decoder.get_input_embeddings().weight
        untied.train(False)
        kept = some(units_of(untied, kind))
        whole = masked(untied, kept)
        cut(untied, kept)
        assert (logits(untied, calibration) - logits(whole, calibration)).abs().max() < CLOSE
        save_model(untied, tmp_path / "cut")
        assert fingerprint(load_model(tmp_path / "cut")) == fingerprint(untied)


class TestCheckpoint:
    """Sizes are data in config.json; what is loaded is what was saved."""

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("kind", [*KINDS, "all"])
    def test_it_is_exact(
        self, kind: Kind | str, packed: bool, model: Donut, calibration: Calibration, tmp_path: Path
    ) -> None:
        for each in KINDS if kind == "all" else (kind,):
            cut(model, some(units_of(model, each)))  # type: ignore[arg-type]
        prune_globally(model, magnitudes(model), 0.5)
        save_model(model, tmp_path / "cut", packed=packed)
        again = load_model(tmp_path / "cut")
        assert fingerprint(again) == fingerprint(model)
        assert torch.equal(logits(again, calibration), logits(model, calibration))
        assert {path.suffix for path in (tmp_path / "cut").iterdir()} == {".json", ".safetensors"}

    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize("kind", KINDS)
    def test_its_vocabulary_may_grow(self, kind: Kind, packed: bool, plain: Donut, tmp_path: Path) -> None:
        cut(plain, some(units_of(plain, kind)))
        save_model(fit_vocabulary(plain, VOCABULARY + 10), tmp_path / "cut", packed=packed)
        assert fingerprint(load_model(tmp_path / "cut")) == fingerprint(plain)

    def test_the_size_of_a_page_may_be_a_number(self, plain: Donut, tmp_path: Path) -> None:
        plain.encoder.config.image_size = 96
        del plain.encoder.config.bridge  # which has the rows of a page of another shape
        square = Donut(plain.config)
        cut(square, some(units_of(square, "heads")))
        save_model(square, tmp_path / "cut")
        assert fingerprint(load_model(tmp_path / "cut")) == fingerprint(square)

    @pytest.mark.parametrize("kind", ["layers", "ffn"])
    def test_what_transformers_can_say_it_says(
        self, kind: Kind, plain: Donut, calibration: Calibration, tmp_path: Path
    ) -> None:
        plain.encoder.bridge = None
        del plain.encoder.config.bridge
        cut(plain, {group: list(range(0, group.count, 2)) for group in units_of(plain, kind)})
        assert not hasattr(plain.config, "shapes")
        save_model(plain, tmp_path / "cut")
        theirs: Any = VisionEncoderDecoderModel.from_pretrained(str(tmp_path / "cut"))
        assert torch.equal(logits(theirs, calibration), logits(plain, calibration))

    @pytest.mark.parametrize(
        ("name", "shape", "reason"),
        [
            ("encoder.what.weight", [4], "gives a shape to encoder.what.weight, which the model does not have"),
            ("decoder.model.decoder.layers.0.fc1.bias", [400], "the shape [400], cut from [320]"),
            ("decoder.model.decoder.layers.0.fc1.bias", [0], "the shape [0], cut from [320]"),
            ("decoder.model.decoder.layers.0.fc1.bias", [8, 8], "the shape [8, 8], cut from [320]"),
            ("decoder.model.decoder.layers.0.fc1.bias", [1.5], "the shape [1.5], cut from [320]"),
            ("decoder.model.decoder.layers.0.fc1.weight", [8, 96], "do not fit together"),
            ("decoder.model.decoder.layers.0.self_attn.q_proj.weight", [40, 96], "40 features, which are no heads"),
        ],
    )
    @pytest.mark.parametrize("packed", [False, True])
    def test_shapes_that_cannot_be_are_told_in_a_line(
        self, name: str, shape: object, reason: str, packed: bool, plain: Donut, tmp_path: Path
    ) -> None:
        save_model(plain, tmp_path / "cut", packed=packed)
        config = json.loads((tmp_path / "cut" / "config.json").read_text())
        (tmp_path / "cut" / "config.json").write_text(json.dumps({**config, "shapes": {name: shape}}))
        with pytest.raises(UserError) as told:
            load_model(tmp_path / "cut")
        assert reason in str(told.value)
        assert "\n" not in str(told.value)
