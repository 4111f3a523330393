"""Linear layers as products of two: they compute what the product would, wherever a model goes."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.errors import UserError
from benchmark.measure.parameters import count_parameters
from benchmark.models.arithmetic import donut_macs
from benchmark.models.balance import balance
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, beyond_transformers, fit_vocabulary
from benchmark.models.factored import FactoredLinear, linear_layers, ranks_of
from benchmark.models.greedy import greedy, supports
from benchmark.models.macs import count_macs
from benchmark.models.parameters import prunable
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.models.shapes import sketched
from benchmark.scales import TINY
from benchmark.scoring.predict import transformers_greedy
from benchmark.slicing.donut import units_of
from benchmark.slicing.groups import cut
from benchmark.slicing.options import Kind
from benchmark.slicing.ranks import factor
from benchmark.training.muon import MuonWithAdam
from benchmark.types import Calibration
from tests.slicing.conftest import VOCABULARY, logits
from tests.slicing.test_groups import CLOSE, END, KINDS, LONGEST, START, masked, some

FC1 = "decoder.model.decoder.layers.0.fc1"
QUERY = "encoder.encoder.layers.1.blocks.2.attention.self.query"
PAGE = (TINY.height, TINY.width)


@torch.no_grad()
def factor_all(model: Donut, keep: float = 0.4) -> Donut:
    """Random products for all linear layers, of another rank each, in place; and the model with what they multiply to.

    They are as large as the weights were.
    """
    generator = torch.Generator().manual_seed(4)
    factors, whole = {}, deepcopy(model)
    for i, (name, layer) in enumerate(linear_layers(model).items()):
        outputs, inputs = layer.weight.shape
        rank = max(1, int(keep * min(outputs, inputs)) - i % 3)
        size = (layer.weight.square().mean() / rank).pow(0.25)
        down, up = (torch.randn(shape, generator=generator) * size for shape in ((rank, inputs), (outputs, rank)))
        factors[f"{name}.weight"] = down, up
        whole.get_parameter(f"{name}.weight").copy_(up @ down)
    factor(model, factors)
    return whole


class TestModel:
    def test_it_computes_what_the_products_do(self, model: Donut, calibration: Calibration) -> None:
        before = logits(model, calibration)
        whole = factor_all(model)
        assert not torch.allclose(before, logits(model, calibration), atol=0.1)
        assert (logits(model, calibration) - logits(whole, calibration)).abs().max() < CLOSE

    def test_every_linear_layer_is_one_but_the_head(self, model: Donut) -> None:
        linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
        factor_all(model)
        assert [*ranks_of(model)] == [name for name in linear if name != "decoder.lm_head"]
        assert not linear_layers(model), "the parts of a product are no layers of their own"

    def test_it_writes_what_generate_writes(self, model: Donut, calibration: Calibration) -> None:
        factor_all(model)
        assert supports(model)
        ours = greedy(model, calibration.pixel_values, START, END, LONGEST)
        assert torch.equal(ours, transformers_greedy(model, calibration.pixel_values, START, END, LONGEST))
        assert len({tuple(row) for row in ours.tolist()}) > 1

    def test_what_it_writes_is_what_the_products_would(self, model: Donut, calibration: Calibration) -> None:
        whole = factor_all(model)
        one, other = (greedy(each, calibration.pixel_values, START, END, LONGEST) for each in (model, whole))
        assert torch.equal(one, other)

    def test_a_layer_may_be_one_beside_others_that_are_not(self, plain: Donut, calibration: Calibration) -> None:
        whole = factor_all(deepcopy(plain))
        name = "decoder.model.decoder.layers.0.self_attn.k_proj"
        weight = whole.get_parameter(f"{name}.weight").detach()
        left, values, right = torch.linalg.svd(weight)
        factor(plain, {f"{name}.weight": (right[:40], left[:, :40] * values[:40])})
        assert ranks_of(plain) == {name: 40}
        ours = greedy(plain, calibration.pixel_values, START, END, LONGEST)
        assert torch.equal(ours, transformers_greedy(plain, calibration.pixel_values, START, END, LONGEST))

    @pytest.mark.parametrize("tokens", [1, 8])
    def test_its_multiplications_are_counted_by_its_shapes(self, tokens: int, model: Donut) -> None:
        whole = factor_all(model)
        counted = count_macs(model, torch.zeros(1, 3, *PAGE), 5, tokens)
        assert donut_macs(sketched(model), PAGE, tokens) == counted
        assert counted.total < donut_macs(whole, PAGE, tokens).total

    def test_its_parameters_are_those_of_its_factors(self, model: Donut) -> None:
        before = count_parameters(model)
        sides = {name: (layer.out_features, layer.in_features) for name, layer in linear_layers(model).items()}
        factor_all(model)
        saved = sum(m * n - rank * (m + n) for (m, n), rank in ((sides[k], r) for k, r in ranks_of(model).items()))
        after = count_parameters(model)
        assert (after.nonembedding, after.embedding) == (before.nonembedding - saved, before.embedding)
        parts = {f"{name}.{part}.weight" for name in sides for part in ("down", "up")}
        assert parts < prunable(model).keys()
        assert not prunable(model).keys() & {f"{name}.weight" for name in sides}

    def test_it_learns_and_its_factors_are_matrices_to_muon(self, plain: Donut, calibration: Calibration) -> None:
        factor_all(plain)
        optimizer = MuonWithAdam(plain, 1e-3)
        matrices = {id(weight) for group in optimizer._muon.param_groups for weight in group["params"]}
        before = {name: weight.detach().clone() for name, weight in plain.named_parameters()}
        cross_entropy(logits(plain, calibration).flatten(0, 1), calibration.labels.flatten()).backward()
        optimizer.step()
        for name in (f"{FC1}.down.weight", f"{FC1}.up.weight"):
            assert id(plain.get_parameter(name)) in matrices
            assert not torch.equal(plain.get_parameter(name), before[name])
        assert not torch.equal(plain.get_parameter(f"{FC1}.up.bias"), before[f"{FC1}.up.bias"])

    def test_balancing_leaves_products_alone_and_the_function_as_it_is(
        self, plain: Donut, calibration: Calibration
    ) -> None:
        factor(plain, {f"{QUERY}.weight": (torch.randn(7, 96), torch.randn(96, 7))})
        before, product = logits(plain, calibration), deepcopy(plain.get_submodule(QUERY).state_dict())
        balance(plain)
        assert torch.allclose(logits(plain, calibration), before, atol=CLOSE)
        assert all(torch.equal(value, product[key]) for key, value in plain.get_submodule(QUERY).state_dict().items())

    def test_factors_of_other_shapes_are_told(self, plain: Donut) -> None:
        for down, up in ((torch.zeros(5, 96), torch.zeros(320, 6)), (torch.zeros(5, 96), torch.zeros(96, 5))):
            told = rf"^{FC1}.weight is no product of \[{up.shape[0]}, {up.shape[1]}\] x \[5, 96\]: .* \[320, 96\]$"
            with pytest.raises(ValueError, match=told):
                factor(plain, {f"{FC1}.weight": (down, up)})

    def test_transformers_cannot_express_it(self, plain: Donut) -> None:
        plain.encoder.bridge = None
        del plain.encoder.config.bridge
        assert beyond_transformers(plain) is None
        factor_all(plain)
        assert beyond_transformers(plain) == "some of its linear layers are products of two"


class TestCut:
    """A model of products is cut as any other."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_forward_is_that_of_the_masked_one(
        self, kind: Kind, model: Donut, calibration: Calibration, tmp_path: Path
    ) -> None:
        factor_all(model)
        kept = some(units_of(model, kind))
        whole = masked(model, kept)
        cut(model, kept)
        assert (logits(model, calibration) - logits(whole, calibration)).abs().max() < CLOSE
        ours = greedy(model, calibration.pixel_values, START, END, LONGEST)
        assert torch.equal(ours, transformers_greedy(model, calibration.pixel_values, START, END, LONGEST))
        save_model(model, tmp_path / "cut")
        assert fingerprint(load_model(tmp_path / "cut")) == fingerprint(model)

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_cut_one_is_factored(self, kind: Kind, model: Donut, calibration: Calibration, tmp_path: Path) -> None:
        cut(model, some(units_of(model, kind)))
        whole = factor_all(model)
        assert (logits(model, calibration) - logits(whole, calibration)).abs().max() < CLOSE
        save_model(model, tmp_path / "cut")
        again = load_model(tmp_path / "cut")
        assert fingerprint(again) == fingerprint(model)
        assert torch.equal(logits(again, calibration), logits(model, calibration))
        macs = donut_macs(sketched(model), PAGE, 8)
        assert macs == count_macs(model, torch.zeros(1, 3, *PAGE), 5, 8)


class TestCheckpoint:
    """Ranks are data in config.json; what is loaded is what was saved."""

    @pytest.mark.parametrize("packed", [False, True])
    def test_it_is_exact(self, packed: bool, model: Donut, calibration: Calibration, tmp_path: Path) -> None:
        factor_all(model)
        prune_globally(model, magnitudes(model), 0.5)
        save_model(model, tmp_path / "low", packed=packed)
        again = load_model(tmp_path / "low")
        assert (
            ranks_of(again) == ranks_of(model) == json.loads((tmp_path / "low" / "config.json").read_text())["factored"]
        )
        assert fingerprint(again) == fingerprint(model)
        assert torch.equal(logits(again, calibration), logits(model, calibration))
        assert {path.suffix for path in (tmp_path / "low").iterdir()} == {".json", ".safetensors"}

    def test_a_layer_without_a_bias_is_one_too(self, plain: Donut, tmp_path: Path) -> None:
        name = "encoder.encoder.layers.0.downsample.reduction"
        factor(plain, {f"{name}.weight": (torch.randn(3, 192), torch.randn(96, 3))})
        assert isinstance(plain.get_submodule(name), FactoredLinear)
        assert not any(place.startswith(name) and place.endswith("bias") for place, _ in plain.named_parameters())
        save_model(plain, tmp_path / "low")
        assert fingerprint(load_model(tmp_path / "low")) == fingerprint(plain)

    def test_its_vocabulary_may_grow(self, plain: Donut, tmp_path: Path) -> None:
        factor_all(plain)
        save_model(fit_vocabulary(plain, VOCABULARY + 10), tmp_path / "low")
        assert fingerprint(load_model(tmp_path / "low")) == fingerprint(plain)

    def test_a_whole_model_says_nothing_of_ranks(self, plain: Donut, tmp_path: Path) -> None:
        cut(plain, some(units_of(plain, "heads")))
        save_model(plain, tmp_path / "cut")
        assert "factored" not in json.loads((tmp_path / "cut" / "config.json").read_text())

    @pytest.mark.parametrize(
        ("factored", "reason"),
        [
            ({"decoder.what": 4}, "its config factors decoder.what, which is no linear layer of the model"),
            ({"decoder.lm_head": 4}, "its config factors decoder.lm_head, which is no linear layer"),
            ({"encoder.embeddings.patch_embeddings.projection": 4}, "projection, which is no linear layer"),
            ({"encoder.embeddings.norm": 4}, "norm, which is no linear layer"),
            ({f"{FC1}.weight": 4}, "fc1.weight, which is no linear layer"),
            ({FC1: 0}, f"gives {FC1} the rank 0, factored from [320, 96]"),
            ({FC1: 96}, f"gives {FC1} the rank 96, factored from [320, 96]"),
            ({FC1: -3}, f"gives {FC1} the rank -3, factored from [320, 96]"),
            ({FC1: 4.0}, f"gives {FC1} the rank 4.0, factored from [320, 96]"),
            ({FC1: True}, f"gives {FC1} the rank True, factored from [320, 96]"),
            ({FC1: "4"}, f"gives {FC1} the rank '4', factored from [320, 96]"),
            ({FC1: [4]}, f"gives {FC1} the rank [4], factored from [320, 96]"),
            ([FC1], f"its config has ['{FC1}'] for factored"),
            (None, "its config has None for factored"),
            (12, "its config has 12 for factored"),
        ],
    )
    def test_ranks_that_cannot_be_are_told_in_a_line(
        self, factored: Any, reason: str, plain: Donut, tmp_path: Path
    ) -> None:
        save_model(plain, tmp_path / "low", packed=isinstance(factored, dict))
        config = json.loads((tmp_path / "low" / "config.json").read_text())
        (tmp_path / "low" / "config.json").write_text(json.dumps({**config, "factored": factored}))
        with pytest.raises(UserError) as told:
            load_model(tmp_path / "low")
        assert reason in str(told.value)
        assert str(tmp_path / "low") in str(told.value)
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("packed", [False, True])
    def test_weights_of_another_rank_are_told(self, packed: bool, plain: Donut, tmp_path: Path) -> None:
        factor(plain, {f"{FC1}.weight": (torch.randn(12, 96), torch.randn(320, 12))})
        save_model(plain, tmp_path / "low", packed=packed)
        config = json.loads((tmp_path / "low" / "config.json").read_text())
        (tmp_path / "low" / "config.json").write_text(json.dumps({**config, "factored": {FC1: 11}}))
        with pytest.raises(UserError, match=rf"has 2 weights of another shape than its config says: {FC1}.down.weight"):
            load_model(tmp_path / "low")
