"""Block influence: what is left is what turns its input most, as computed layer by layer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from benchmark.models.checkpoint import fingerprint
from benchmark.models.donut import Donut
from benchmark.parts.sliced import Sliced
from benchmark.scales import TINY
from benchmark.slicing.options import share_of
from donutbench_strategies import shortgpt, structured_layers
from donutbench_strategies.shortgpt import ALONE
from tests.slicing.conftest import TEACHER, made
from tests.strategies.conftest import OfReceipts
from tests.strategies.test_low_rank import size

DOCUMENTS = 3


def start(**options: Any) -> Sliced:
    assert isinstance(ALONE.start, Sliced)
    return replace(ALONE.start, **{"documents": DOCUMENTS, **options})


@torch.no_grad()
def influences(model: Donut, references: OfReceipts, stack: str, span: int, draw: int = 0) -> list[float]:
    """1 - mean cosine of each `span` layers: from what the layers of a stack are given one after the other, and at
    last from what the last of them gives. Averaged over the tokens of a document, then over documents.
    """
    calibration, layers = references.calibration(DOCUMENTS, draw), model.get_submodule(stack)
    assert isinstance(layers, nn.ModuleList)
    states: list[torch.Tensor] = []

    def given(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def gives(module: nn.Module, args: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    handles: list[Any] = [layer.register_forward_pre_hook(given, with_kwargs=True) for layer in layers]
    handles.append(layers[-1].register_forward_hook(gives))
    totals = [0.0] * (len(layers) // span)
    for i, labels in enumerate(calibration.labels):
        states.clear()
        tokens = int((labels != -100).sum())
        pages, before = calibration.pixel_values[i : i + 1], calibration.decoder_input_ids[i : i + 1, :tokens]
        model(pixel_values=pages, decoder_input_ids=before, use_cache=False)
        for unit in range(len(totals)):
            first, last = states[unit * span], states[(unit + 1) * span]
            cosine = (first * last).sum(-1) / (first.square().sum(-1) * last.square().sum(-1)).sqrt()
            totals[unit] += float(1 - cosine.mean()) / DOCUMENTS
    for handle in handles:
        handle.remove()
    return totals


def highest(scores: list[float], count: int) -> list[int]:
    return sorted(sorted(range(len(scores)), key=lambda i: scores[i])[len(scores) - count :])


@pytest.mark.parametrize("draw", [0, 1])
def test_the_decoder_layers_of_the_lowest_influence_go(draw: int, references: OfReceipts) -> None:
    teacher: Any = references.load("teacher")
    scores = influences(teacher, references, "decoder.model.decoder.layers", 1, draw)
    left: Any = start(draw=draw)(references, TINY, 0)
    kept = [layer.fc1.weight for layer in left.decoder.model.decoder.layers]
    expected = highest(scores, len(kept))
    print(f"influences {[round(score, 3) for score in scores]}: layers {expected} stay")
    assert 0 < len(kept) < 4
    for place, weight in zip(expected, kept, strict=True):
        assert torch.equal(weight, teacher.decoder.model.decoder.layers[place].fc1.weight)


def test_pairs_of_blocks_of_the_lowest_influence_go(references: OfReceipts) -> None:
    """In a deeper Swin than the teacher's: of three pairs in a stage those stay that turn their cells most."""
    deep = made(replace(TEACHER, depths=(2, 6), decoder_layers=1))
    of_deep = replace(references, teacher=deep, documents=_within(references, 60))
    pairs = "encoder.encoder.layers.1.blocks"
    scores, blocks = influences(deep, of_deep, pairs, 2), deep.get_submodule(pairs)
    assert isinstance(blocks, nn.ModuleList)
    pair = sum(p.numel() for block in blocks[:2] for p in block.parameters())
    left: Any = start(ratio=1 - pair / size(deep))(of_deep, TINY, 0)
    kept = left.get_submodule(pairs)
    (gone,) = {0, 1, 2} - set(highest(scores, 2))
    stay = [block for i, block in enumerate(blocks) if i // 2 != gone]
    assert len(kept) == 4
    for ours, theirs in zip(kept, stay, strict=True):
        weights = "intermediate.dense.weight"
        assert torch.equal(ours.get_parameter(weights), theirs.get_parameter(weights))
        assert ours.shift_size == theirs.shift_size


def _within(references: OfReceipts, vocabulary: int) -> Any:
    """The same documents in fewer tokens."""
    seen = references.documents
    return replace(
        seen,
        decoder_input_ids=seen.decoder_input_ids % vocabulary,
        labels=torch.where(seen.labels == -100, -100, seen.labels % vocabulary),
    )


def test_it_compares_with_structured_layers(references: OfReceipts) -> None:
    other = structured_layers.ALONE.start
    assert isinstance(other, Sliced)
    assert share_of(start().ratio) == share_of(other.ratio)
    ours, theirs = start()(references, TINY, 0), other(references, TINY, 0)
    assert size(ours) == size(theirs)
    assert size(ours) == pytest.approx(0.7 * size(references.teacher), rel=0.02)


def test_it_is_the_same_twice_and_the_teacher_stays(references: OfReceipts) -> None:
    before = fingerprint(references.teacher)
    first, again = (start()(references, TINY, seed) for seed in (0, 1))
    assert fingerprint(first) == fingerprint(again)  # type: ignore[arg-type]
    assert fingerprint(references.teacher) == before


def test_rows() -> None:
    alone, distilled = shortgpt.donutbench_register_strategies()
    assert (alone.name, distilled.name) == ("shortgpt", "shortgpt-distill")
    assert str(alone.start) == "teacher, layers cut by activation to 70.0% of its parameters"
    assert alone.protocols == distilled.protocols == ("task",)
    assert (alone.objective, distilled.constraint) == (None, None)
