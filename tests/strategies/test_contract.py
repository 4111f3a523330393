"""What holds of every strategy, whoever wrote it: what it promises is read off its parts, or said in `PROMISES`.

The strategies are those of pyproject.toml, installed or not: a new one is tested by being there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
import torch
from torch import nn
from transformers import DonutProcessor

from benchmark import FixedMask, Strategy, UserError
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.parts.starts import Reference, sparsity_of
from benchmark.plugin.identity import identity
from benchmark.running.cells import _options, describe, options_of, parts_of, with_options
from benchmark.scales import TINY, Budget
from benchmark.scoring.predict import mean_ted
from benchmark.slicing.budget import TOLERANCE
from benchmark.slicing.options import share_of
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.journal import Curve
from benchmark.types import Calibration, Dataset
from tests.slicing.test_budget import TABLES, macs, parameters
from tests.strategies.conftest import OfReceipts
from tests.test_packaging import ENTRY_POINTS

pytestmark = pytest.mark.long
MODULES: dict[str, ModuleType] = {}
STRATEGIES: dict[str, Strategy] = {}
for place in ENTRY_POINTS.values():
    if place.startswith("donutbench_strategies."):
        module = import_module(place)
        for registered in module.donutbench_register_strategies():
            MODULES[registered.name], STRATEGIES[registered.name] = module, registered

DOCUMENTS, LONGEST = 4, 24
BUDGET = Budget(reading_documents=4, task_documents=DOCUMENTS, batch=2, learning_rate=0.002, evaluations=2)
WRONG = [
    pytest.param(strategy, option, value, id=f"{name}-{option}={value}")
    for name, strategy in STRATEGIES.items()
    for option, value in {"target": "x", "ratio": "x", "documents": "0"}.items()
    if option in options_of(strategy)
]


@dataclass(frozen=True)
class Promise:
    """The share of a kind of weights that stays of the teacher; `within` is relative, 0 is to the last weight."""

    count: Callable[[Donut], int]
    share: float
    within: float = 0.0

    def check(self, model: Donut, teacher: Donut) -> None:
        dense = deepcopy(teacher)
        for weight in matrices(dense).values():
            weight[weight == 0] = 1.0
        expected = self.share * self.count(dense)
        most = max(0.5, self.within * expected)
        # A trained teacher has a zero or two of its own, which need not be among those that were pruned.
        assert -most - zeros(teacher) <= self.count(model) - expected <= most


def zeros(model: Donut) -> int:
    return sum(int((weight == 0).sum()) for weight in matrices(model).values())


def nonzero(model: Donut) -> int:
    return parameters(model) - zeros(model)


def matrices(model: Donut) -> dict[str, torch.Tensor]:
    """What can be pruned, said by name: matrices and kernels that are no tables."""
    named = model.named_parameters()
    return {n: p.detach() for n, p in named if n.endswith(".weight") and p.dim() > 1 and not n.endswith(TABLES)}


def in_fours(model: Donut) -> int:
    """The nonzero weights of matrices that fall into groups of 4 inputs."""
    rows = (weight.flatten(1) for weight in matrices(model).values())
    return sum(int((row != 0).sum()) for row in rows if row.shape[1] % 4 == 0)


def decoder_layers(model: Donut) -> int:
    layers = cast(nn.Module, model.decoder.model.decoder.layers)
    return sum(weight.numel() for weight in layers.parameters())


def cells_read(model: Donut) -> int:
    """Of a page, by the decoder."""
    pixels = torch.zeros(1, 3, TINY.height, TINY.width)
    return int(model.encoder(pixel_values=pixels).last_hidden_state.shape[1])


PROMISES = {
    "two-four": Promise(in_fours, 0.5),
    "two-four-distill": Promise(in_fours, 0.5),
    "distil-whisper": Promise(decoder_layers, 0.5),
    "mixed-prune-distill-int8": Promise(macs, 0.5, TOLERANCE),
    "vocabulary-trim": Promise(parameters, 1.0),
    "vocabulary-trim-distill": Promise(parameters, 1.0),
    **dict.fromkeys(
        ("drop-blank", "drop-blank-distill", "drop-random", "drop-random-distill"), Promise(cells_read, 0.5)
    ),
}
"""Of strategies whose start has another way to say what it leaves than `target`, the share that is pruned, or `ratio`,
the share of the parameters, or of the measure named `of`, that stays."""


def promise_of(part: object) -> Promise | None:
    """What the options of a part say, if they say it."""
    options = _options(part)
    if "target" in options:
        ratio = options.get("ratio")
        return Promise(nonzero, 1 - sparsity_of(options["target"]) if ratio is None else share_of(ratio))
    if "ratio" in options:
        return Promise(macs if options.get("of") == "macs" else parameters, share_of(options["ratio"]), TOLERANCE)
    return None


def promise_of_start(strategy: Strategy) -> Promise | None:
    """None of a reference as it is."""
    if strategy.name in PROMISES:
        return PROMISES[strategy.name]
    found = promise_of(strategy.start)
    if found is None and not isinstance(strategy.start, Reference):
        pytest.fail(
            f"nobody knows what {strategy.name} leaves of its teacher: give its start a `target` or a `ratio`, or say "
            "it in PROMISES of tests/strategies/test_contract.py"
        )
    return found


@dataclass
class Noting:
    """References that note for how many documents they were asked, and may have none."""

    references: OfReceipts
    empty: bool = False
    asked: list[int] = field(default_factory=list)

    def load(self, name: str) -> Donut:
        return self.references.load(name)

    def calibration(self, count: int, draw: int = 0) -> Calibration:
        self.asked.append(count)
        found = self.references.calibration(count, draw)
        most = 0 if self.empty else count
        return Calibration(found.pixel_values[:most], found.decoder_input_ids[:most], found.labels[:most])

    def tokens(self, count: int) -> frozenset[int]:
        self.asked.append(count)
        if self.empty:
            raise UserError("this split holds no documents")
        return self.references.tokens(count)


@dataclass(frozen=True)
class Started:
    """What a start gives, what it gives again, and whether it has looked at documents."""

    model: Donut
    again: str
    looked: bool


@dataclass(frozen=True)
class Finished:
    """What it becomes by two steps of training, if it trains."""

    model: Donut
    curve: Curve


def begun(strategy: Strategy, references: Noting, noise: int) -> Donut:
    torch.manual_seed(noise)  # the cell's seed is all that a start may draw from
    model = deepcopy(strategy.start)(references, TINY, 0)
    assert isinstance(model, Donut)
    return model


@pytest.fixture(scope="module", params=list(STRATEGIES.values()), ids=list(STRATEGIES))
def strategy(request: pytest.FixtureRequest) -> Strategy:
    """Each, with few documents to look at."""
    chosen: Strategy = request.param
    if "documents" in options_of(chosen):
        ((chosen, _),) = with_options([chosen], {"documents": str(DOCUMENTS)})
    return chosen


@pytest.fixture(scope="module")
def teacher(references: OfReceipts) -> str:
    """What it was before any strategy has seen it."""
    return fingerprint(references.teacher)


@pytest.fixture(scope="module")
def kept() -> dict[str, Started]:
    """By what the start is: a strategy alone and distilled begin with the same model."""
    return {}


@pytest.fixture(scope="module")
def started(strategy: Strategy, references: OfReceipts, kept: dict[str, Started], teacher: str) -> Started:
    same = json.dumps(identity(strategy.start, strategy.name), sort_keys=True)
    if same not in kept:
        noting = Noting(references)
        model = begun(strategy, noting, noise=1)
        looked = bool(noting.asked)
        kept[same] = Started(model, fingerprint(begun(strategy, noting, noise=2)), looked)
    return kept[same]


@pytest.fixture(scope="module")
def data(
    receipts: EncodedDocuments, references: OfReceipts, datasets: dict[str, Dataset], processor: DonutProcessor
) -> TrainingData:
    """Four receipts, of which the first tokens are learnt."""
    few = receipts.head(DOCUMENTS)
    pages = replace(few, labels=few.labels[:, :LONGEST], points=few.points[:, :LONGEST])
    return TrainingData(
        datasets["receipts-mini"], processor, pages, pages.head(2), references.load("teacher"), BUDGET, DOCUMENTS
    )


@pytest.fixture(scope="module")
def finished(
    strategy: Strategy, started: Started, data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """Raises what the constraint's check raises."""
    if strategy.objective is None:
        return Finished(started.model, [])

    def validate(model: Donut) -> float:
        return mean_ted(model, data.processor, data.validation, data.dataset, LONGEST)

    rate, folder = BUDGET.learning_rate * strategy.rate, tmp_path_factory.mktemp("training")
    torch.manual_seed(0)
    model, curve = train_strategy(
        deepcopy(started.model), deepcopy(strategy), data, rate, validate, 0, strategy.name, folder
    )
    model.train(False)
    return Finished(model, curve)


def test_it_says_what_it_is(strategy: Strategy) -> None:
    module = MODULES[strategy.name]
    base = module.__name__.rpartition(".")[2].replace("_", "-")
    assert strategy.name in (base, f"{base}-distill")
    assert module.__doc__
    assert strategy.summary
    assert strategy.paper or strategy.summary.startswith("control: ")


def test_its_parts_are_described_in_words(strategy: Strategy) -> None:
    for part in parts_of(strategy).values():
        if part is not None:
            assert re.search("[a-z]{3}", text := describe(part))
            assert not re.search(r"^\w+\(| at 0x|<", text), f"{text}: give it a __str__"


def test_a_start_is_the_same_every_time(started: Started) -> None:
    assert started.again == fingerprint(started.model)


def test_the_references_are_left_alone(
    teacher: str, started: Started, finished: Finished, references: OfReceipts, data: TrainingData
) -> None:
    """By its start, and by its training those that it learns from."""
    assert fingerprint(references.teacher) == fingerprint(references.load("teacher")) == teacher
    assert fingerprint(data.teacher) == teacher


def test_a_start_leaves_nothing_but_a_model_to_train(started: Started) -> None:
    assert all(weight.requires_grad and weight.grad is None for weight in started.model.parameters())
    assert all(weight.isfinite().all() for weight in started.model.parameters())


def test_a_start_keeps_its_promise(strategy: Strategy, started: Started, references: OfReceipts) -> None:
    promise = promise_of_start(strategy)
    if promise is not None:
        promise.check(started.model, references.teacher)
    else:
        assert isinstance(strategy.start, Reference)
        assert fingerprint(started.model) == fingerprint(references.load(strategy.start.name))


def test_a_training_ends_with_a_model_that_was_validated(strategy: Strategy, finished: Finished) -> None:
    assert all(weight.isfinite().all() for weight in finished.model.parameters())
    assert [step for step, _ in finished.curve] == ([1, 2] if strategy.objective else [])
    assert all(0 <= score <= 1 for _, score in finished.curve)


def test_a_training_moves_the_weights(strategy: Strategy, started: Started, finished: Finished) -> None:
    assert (fingerprint(finished.model) == fingerprint(started.model)) is (strategy.objective is None)


def test_a_constraint_keeps_its_promise(
    strategy: Strategy, started: Started, finished: Finished, references: OfReceipts
) -> None:
    promise = promise_of(strategy.constraint)
    if promise is not None:
        promise.check(finished.model, references.teacher)
    if isinstance(strategy.constraint, FixedMask):
        after = matrices(finished.model)
        assert all(not after[name][weight == 0].any() for name, weight in matrices(started.model).items())


def test_it_is_the_same_when_it_is_loaded_again(
    strategy: Strategy, finished: Finished, references: OfReceipts, tmp_path: Path
) -> None:
    """Without its zeros, and if nothing is trained with them too: a training changes values, and no kind of model."""
    for packed in (True, False) if strategy.objective is None else (True,):
        save_model(finished.model, tmp_path / f"packed-{packed}", packed=packed)
        again = load_model(tmp_path / f"packed-{packed}")
        assert fingerprint(again) == fingerprint(finished.model)
        assert torch.equal(logits(again, references), logits(finished.model, references))


@torch.no_grad()
def logits(model: Donut, references: OfReceipts) -> torch.Tensor:
    """Of one document, by the attention that training takes: the fused one rounds in another way."""
    page = references.calibration(1)
    model.decoder.set_attn_implementation("eager")
    inputs = page.decoder_input_ids[:, :LONGEST]
    found: torch.Tensor = model(pixel_values=page.pixel_values, decoder_input_ids=inputs, use_cache=False).logits
    return found


def test_a_start_without_documents_says_so(strategy: Strategy, started: Started, references: OfReceipts) -> None:
    if started.looked:
        with pytest.raises(UserError) as caught:
            begun(strategy, Noting(references, empty=True), noise=1)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("strategy", "option", "value"), WRONG)
def test_an_option_that_means_nothing_is_refused(strategy: Strategy, option: str, value: str) -> None:
    with pytest.raises(UserError, match=rf"\b{value}\b") as caught:
        with_options([strategy], {option: value})
    assert len(str(caught.value).splitlines()) == 1
