"""Pretrained parts of DONUT-small, as their own libraries save them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.swin_transformer import checkpoint_filter_fn
from transformers import BartForConditionalGeneration

from benchmark import UserError
from benchmark.models.backbones import SWIN_T, stretched, take_bart, take_swin
from benchmark.models.donut import Donut, build
from benchmark.scales import PAPER, Architecture, Scale
from tests.foreign import save_bart

SMALL = Architecture(
    96, (2, 2, 6, 2), (3, 6, 12, 24), decoder_layers=2, decoder_width=32, decoder_ffn=64, decoder_heads=2, bottleneck=4
)


def scale(side: int, window: int) -> Scale:
    return replace(PAPER, height=side, width=side, window=window, max_tokens=60)


def donut(side: int, window: int, architecture: Architecture = SMALL) -> Donut:
    model = build(scale(side, window), architecture, vocabulary=50, seed=3)
    model.train(False)
    return model


@pytest.fixture(scope="module")
def swin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random, tables of relative positions too, which begin as zeros."""
    torch.manual_seed(0)
    model = timm.create_model(SWIN_T, pretrained=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    folder = tmp_path_factory.mktemp("swin")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart")
    save_bart(folder, width=32, layers=4, ffn=64, heads=2, positions=40)
    return folder


class TestSwin:
    @pytest.mark.parametrize(("side", "window"), [(224, 7), (320, 10)])
    def test_it_computes_what_timm_s_does(self, side: int, window: int, swin: Path) -> None:
        from safetensors.torch import load_file

        theirs: Any = timm.create_model(SWIN_T, pretrained=False, num_classes=0, img_size=side, window_size=window)
        theirs.load_state_dict(checkpoint_filter_fn(load_file(swin / "model.safetensors"), theirs), strict=False)
        theirs.norm = torch.nn.Identity()
        theirs.train(False)
        model = donut(side, window)
        take_swin(model.encoder, swin)
        model.encoder.bridge = None
        page = torch.randn(1, 3, side, side)
        with torch.no_grad():
            expected = theirs.forward_features(page).flatten(1, 2)
            found = model.encoder(pixel_values=page).last_hidden_state
        assert expected.std() > 0.1
        assert (found - expected).abs().max() < 1e-4 * expected.abs().max()

    def test_the_adapter_stays_as_it_was(self, swin: Path) -> None:
        model = donut(224, 7)
        assert model.encoder.bridge is not None
        before = {name: value.clone() for name, value in model.encoder.bridge.state_dict().items()}
        take_swin(model.encoder, swin)
        after = model.encoder.bridge.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert before

    def test_another_model_is_refused_in_one_line(self, bart: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=f"^{bart} has no weights of {SWIN_T} as timm names them"):
            take_swin(donut(224, 7).encoder, bart)
        with pytest.raises(UserError, match=r"has no model\.safetensors; weights in a pickle are not opened"):
            take_swin(donut(224, 7).encoder, tmp_path)


class TestBart:
    def test_the_outer_layers_are_taken(self, bart: Path) -> None:
        theirs: Any = BartForConditionalGeneration.from_pretrained(str(bart))
        core: Any = (model := donut(224, 7)).decoder.model.decoder
        words = core.embed_tokens.weight.detach().clone()
        take_bart(model.decoder, bart)
        for own, layer in ((0, 0), (1, 3)):
            expected = theirs.model.decoder.layers[layer].state_dict()
            for name, value in core.layers[own].state_dict().items():
                assert torch.equal(value, expected[name]), name
        assert torch.equal(core.embed_tokens.weight, words)

    def test_positions_are_stretched_from_end_to_end(self) -> None:
        table = torch.arange(12.0)[:, None].repeat(1, 3)
        found = stretched(table, 21)
        assert torch.equal(found[:2], table[:2])
        assert torch.allclose(found[2:, 0], torch.linspace(2, 11, 19))
        assert torch.equal(stretched(table, 12), table)

    def test_another_model_is_refused_in_one_line(self, bart: Path, swin: Path) -> None:
        with pytest.raises(UserError, match=f"^{swin} has 0 layers of a BART's decoder, and 2 are needed"):
            take_bart(donut(224, 7).decoder, swin)
        wider = donut(224, 7, replace(SMALL, decoder_width=48))
        with pytest.raises(UserError, match=f"^{bart} has no weights of such a BART"):
            take_bart(wider.decoder, bart)
