"""The start: options, what it leaves, and what it says when it cannot."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from benchmark import UserError, sliced
from benchmark.models.donut import Donut
from benchmark.models.parameters import non_embeddings
from benchmark.parts.sliced import Sliced
from benchmark.scales import TINY
from benchmark.slicing.options import Importance
from benchmark.types import Calibration
from tests.slicing.conftest import TEACHER, made


@dataclass
class Teacher:
    """References of which there is one, and three documents."""

    model: Donut
    documents: Calibration
    asked: list[tuple[int, int]] = field(default_factory=list)
    """How many documents, and which draw of them."""

    def load(self, name: str) -> Donut:
        assert name == "teacher"
        return self.model

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        self.asked.append((count, draw))
        return self.documents

    def tokens(self, count: int) -> frozenset[int]:
        raise AssertionError("these starts look at no text")


def size(model: Any) -> int:
    return sum(parameter.numel() for parameter in non_embeddings(model).values())


@pytest.mark.parametrize("ratio", [0.7, 1 / 0.7])
def test_a_ratio_is_a_share_or_a_factor(ratio: float, plain: Donut, calibration: Calibration) -> None:
    before = size(plain)
    assert size(sliced("ffn", ratio)(Teacher(plain, calibration), TINY, 0)) == pytest.approx(0.7 * before, rel=0.02)


@pytest.mark.parametrize(("importance", "looks"), [("magnitude", []), ("taylor", [(7, 2)]), ("activation", [(7, 2)])])
def test_only_some_look_at_data(
    importance: Importance, looks: list[tuple[int, int]], plain: Donut, calibration: Calibration
) -> None:
    teacher = Teacher(plain, calibration)
    Sliced("heads", 0.8, importance, documents=7, draw=2)(teacher, TINY, 0)
    assert teacher.asked == looks


def test_a_seed_changes_what_is_random_alone(calibration: Calibration) -> None:
    def weight(importance: Importance, seed: int) -> torch.Tensor:
        model: Any = sliced("ffn", 0.9, importance)(Teacher(made(TEACHER), calibration), TINY, seed)
        found: torch.Tensor = model.decoder.model.decoder.layers[0].fc2.weight
        return found

    assert torch.equal(weight("magnitude", 0), weight("magnitude", 1))
    assert not torch.equal(weight("random", 0), weight("random", 1))


def test_half_of_the_decoder_is_its_ends(calibration: Calibration) -> None:
    teacher: Any = made(replace(TEACHER, depths=(1, 1)))
    layers = teacher.decoder.model.decoder.layers
    ends = [layers[0].fc1.weight, layers[-1].fc1.weight]
    two = 2 * sum(parameter.numel() for parameter in layers[0].parameters())
    start = sliced("layers", 1 - two / size(teacher), "spacing")
    model: Any = start(Teacher(teacher, calibration), TINY, 0)
    kept = [layer.fc1.weight for layer in model.decoder.model.decoder.layers]
    assert len(kept) == 2
    assert torch.equal(kept[0], ends[0])
    assert torch.equal(kept[1], ends[1])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"kind": "neurons"}, "unknown kind of unit 'neurons': choose from ffn, heads, width, layers"),
        ({"importance": "size"}, "unknown importance 'size'"),
        ({"of": "bytes"}, "unknown measure of a budget 'bytes': choose from parameters, macs"),
        ({"allocation": "even"}, "unknown allocation 'even'"),
        ({"importance": "spacing"}, "importance spacing is for layers, and not for FFN units"),
        ({"ratio": 0.0}, "ratio 0 is neither"),
        ({"ratio": 1.0}, "ratio 1 is neither"),
        ({"ratio": -0.5}, "ratio -0.5 is neither"),
        ({"ratio": float("nan")}, "ratio nan is neither"),
        ({"ratio": float("inf")}, "ratio inf is neither"),
        ({"documents": 0}, "at least 1 document, not 0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        Sliced(**{"kind": "ffn", "ratio": 0.5, **options})


def test_a_budget_that_cannot_be_met_is_told(plain: Donut, calibration: Calibration) -> None:
    with pytest.raises(UserError, match=r"cutting attention heads alone: \d+.\d% of the parameters stay at least"):
        sliced("heads", 0.1)(Teacher(plain, calibration), TINY, 0)


def test_nothing_to_cut_is_told(calibration: Calibration) -> None:
    shallow = made(replace(TEACHER, depths=(1, 1), decoder_layers=1))
    with pytest.raises(UserError, match=r"cutting layers alone: 100\.0% of the parameters stay at least"):
        sliced("layers", 0.5, "spacing")(Teacher(shallow, calibration), TINY, 0)


def test_a_whole_number_is_a_ratio_too() -> None:
    assert isinstance(sliced("ffn", 2).ratio, float)


def test_its_text_says_what_is_left() -> None:
    assert str(sliced("ffn", 0.75)) == "teacher, FFN units cut by magnitude to 75.0% of its parameters"
    assert str(Sliced("layers", 4, "spacing", of="macs")) == "teacher, layers cut to 25.0% of its macs"
