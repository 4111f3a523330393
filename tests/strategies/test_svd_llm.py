"""Whitened SVD, against the principal components of what a layer gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmark import UserError, prunable
from benchmark.models.checkpoint import fingerprint
from benchmark.models.donut import Donut
from benchmark.models.factored import ranks_of
from benchmark.parts.factored import Factored
from benchmark.scales import TINY
from donutbench_strategies import svd_llm
from donutbench_strategies.low_rank import Truncated
from donutbench_strategies.svd_llm import ALONE, Whitened
from tests.strategies.conftest import OfReceipts
from tests.strategies.test_low_rank import matrix, size

FEW = replace(Whitened(), documents=2)


def inputs(rows: int, width: int) -> torch.Tensor:
    """Rows of inputs of which some are larger than others, and which go together."""
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) @ mixed * torch.linspace(0.1, 2, width)


@pytest.mark.parametrize("rank", [1, 5, 9])
def test_what_is_lost_are_the_singular_values_that_go(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of W S, which are those of the outputs: the eigenvalues of what they multiply to."""
    monkeypatch.setattr(svd_llm, "_DAMPING", 1e-12)
    weight, given = matrix(10, 14, seed=2), inputs(50, 14)
    down, up = FEW.factors(weight, given.T @ given / 50, rank)
    lost = (given @ (weight - up @ down).T).square().sum() / 50
    outputs = given @ weight.T
    values = torch.linalg.eigvalsh(outputs.T @ outputs / 50)
    assert float(lost) == pytest.approx(float(values[: 10 - rank].sum()), rel=1e-6)


@pytest.mark.parametrize("rank", [1, 5, 9])
def test_it_is_what_the_principal_components_of_the_outputs_leave(rank: int) -> None:
    """Reduced-rank regression: the outputs projected on their first components, S or its inverse never made."""
    weight, given = matrix(10, 14, seed=2), inputs(50, 14)
    products = given.T @ given / 50
    down, up = FEW.factors(weight, products, rank)
    damped = products + svd_llm._DAMPING * products.diagonal().mean() * torch.eye(14, dtype=torch.float64)
    components = torch.linalg.eigh(weight @ damped @ weight.T).eigenvectors[:, -rank:]
    assert torch.allclose(up @ down, components @ components.T @ weight, atol=1e-9)


def test_inputs_of_one_size_that_do_not_go_together_are_plain_truncation() -> None:
    weight = matrix(10, 14, seed=2)
    for scaling in ("whitening", "diagonal"):
        down, up = Whitened(scaling=scaling).factors(weight, 3 * torch.eye(14, dtype=torch.float64), 4)
        plain, first = Truncated().factors(weight, 4)
        assert torch.allclose(up @ down, first @ plain)


def test_the_diagonal_scales_by_the_root_of_a_size() -> None:
    """An input that is 16 times as large counts 4 times as much, whatever it goes together with."""
    weight = matrix(6, 5, seed=1)
    sizes = torch.tensor([1, 16, 1, 4, 9], dtype=torch.float64)
    products = torch.outer(sizes, sizes)  # inputs that are one input
    down, up = Whitened(scaling="diagonal").factors(weight, products, 2)
    # The damping counts for every input.
    roots = (sizes.square() + svd_llm._DAMPING * sizes.square().mean()).pow(0.25)
    left, values, right = torch.linalg.svd(weight * roots, full_matrices=False)
    assert torch.allclose(up @ down, (left[:, :2] * values[:2]) @ right[:2] / roots)


def test_no_more_is_lost_than_by_plain_truncation_on_what_was_seen(references: OfReceipts) -> None:
    """Of every layer of the teacher, on the inputs that it really has."""
    seen: dict[str, list[torch.Tensor]] = {}
    low = Factored(FEW, 0.5)(references, TINY, 0)
    teacher, calibration = references.load("teacher"), references.calibration(2)
    plain = Factored(Truncated(), 0.5)(references, TINY, 0)
    for name in ranks_of(low):
        module = teacher.get_submodule(name)
        module.register_forward_pre_hook(lambda module, args, name=name: seen.setdefault(name, []).append(args[0]))
    with torch.no_grad():
        for i, labels in enumerate(calibration.labels):
            tokens = int((labels != -100).sum())
            teacher(
                pixel_values=calibration.pixel_values[i : i + 1],
                decoder_input_ids=calibration.decoder_input_ids[i : i + 1, :tokens],
            )
        shares = []
        for name, found in seen.items():
            rows = torch.cat([part.flatten(0, -2) for part in found]).double()
            weight = prunable(teacher)[f"{name}.weight"].double()
            ours, theirs = (float((rows @ (weight - product(model, name)).T).norm()) for model in (low, plain))
            assert ours <= theirs * (1 + 1e-5), name
            shares.append(ours / theirs)
    print(f"of the error of plain truncation {min(shares):.2f} to {max(shares):.2f} is left")
    assert min(shares) < 0.7


def product(model: Any, name: str) -> torch.Tensor:
    layer = model.get_submodule(name)
    found: torch.Tensor = layer.up.weight.double() @ layer.down.weight.double()
    return found


@pytest.mark.parametrize("scaling", ["whitening", "diagonal"])
def test_a_start_is_of_its_documents_meets_its_budget_and_leaves_the_teacher(
    scaling: str, references: OfReceipts
) -> None:
    before = fingerprint(references.teacher)

    def made(draw: int = 0) -> Donut:
        model = Factored(replace(FEW, scaling=scaling, draw=draw), 0.5)(references, TINY, 0)
        assert isinstance(model, Donut)
        return model

    first, again, other = made(), made(), made(draw=1)
    assert size(first) == pytest.approx(0.5 * size(references.teacher), rel=0.02)
    assert fingerprint(first) == fingerprint(again)
    assert fingerprint(first) != fingerprint(other)
    assert fingerprint(references.teacher) == before
    assert not any(module._forward_pre_hooks for module in first.modules())


def test_inputs_that_never_occur_are_no_end() -> None:
    """Fewer rows than inputs, and one input that is always zero."""
    weight, given = matrix(10, 14, seed=2), inputs(6, 14)
    given[:, 3] = 0
    for scaling in ("whitening", "diagonal"):
        down, up = Whitened(scaling=scaling).factors(weight.float(), given.T @ given / 6, 5)
        assert torch.isfinite(up @ down).all()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scaling": "half"}, r"^unknown scaling 'half': choose from whitening, diagonal$"),
        ({"documents": 0}, r"^what looks at data needs at least 1 document, not 0$"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Whitened(**options)


def test_rows() -> None:
    alone, distilled = svd_llm.donutbench_register_strategies()
    assert (alone.name, distilled.name) == ("svd-llm", "svd-llm-distill")
    assert str(alone.start) == "teacher, linear layers factored by SVD-LLM to 75.0% of its parameters"
    assert (
        str(Factored(Whitened(scaling="diagonal"), 2))
        == "teacher, linear layers factored by ASVD to 50.0% of its parameters"
    )
    assert alone.protocols == distilled.protocols == ("task",)
    assert (alone.objective, distilled.constraint) == (None, None)
    assert alone == ALONE
