"""What a strategy is trained with: the plan, the documents, what the teacher is shown, and when the constraint acts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import DonutProcessor

from benchmark.models.donut import Donut, build
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.pruning import magnitudes, prune_globally
from benchmark.parts.constraints import FixedMask
from benchmark.parts.objectives import CrossEntropy
from benchmark.parts.starts import reference
from benchmark.scales import TINY, Budget
from benchmark.training import compress
from benchmark.training.clock import Clock
from benchmark.training.compress import TrainingData, train_strategy
from benchmark.training.journal import Curve
from benchmark.training.mechanics import Mechanics
from benchmark.training.trainer import Batch, Documents, EverySteps, Loss, Schedule
from benchmark.types import Attached, Constraint, Dataset, Objective, Outputs, Span, Strategy, Teaching

BUDGET = Budget(reading_documents=6, task_documents=6, batch=4, learning_rate=0.02, evaluations=2)
LONGEST = 24


@dataclass
class FakeTrainer:
    """In place of the training loop: keeps what it is asked for."""

    model: Donut | None = None
    documents: Documents = field(init=False)
    plan: Schedule = field(init=False)
    loss: Loss = field(init=False)
    title: str = ""
    folder: Path = field(init=False)
    callbacks: list[Any] = field(init=False)
    mechanics: Mechanics = field(init=False)

    def __call__(
        self,
        model: Donut,
        documents: Documents,
        plan: Schedule,
        loss: Loss,
        title: str,
        folder: Path,
        callbacks: list[Any],
        mechanics: Mechanics,
    ) -> None:
        self.mechanics = mechanics
        self.model, self.documents, self.plan, self.loss = model, documents, plan, loss
        self.title, self.folder, self.callbacks = title, folder, callbacks

    def batch(self, *rows: int) -> Batch:
        return self.documents.collate([self.documents[row] for row in rows])


@dataclass(frozen=True)
class Listening:
    """An objective that keeps what it is given."""

    teaching: Teaching
    heard: list[tuple[Outputs, Outputs | None, torch.Tensor]] = field(default_factory=list)

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
        self.heard.append((student, teacher, labels))
        return student.logits.float().square().mean()


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    fake = FakeTrainer()
    monkeypatch.setattr(compress, "train", fake)
    return fake


@pytest.fixture
def short(pages: EncodedDocuments) -> EncodedDocuments:
    """The six receipts with labels of 4 to 24 tokens."""
    lengths = torch.tensor([12, 24, 4, 7, 20, 9])
    labels = torch.where(torch.arange(LONGEST) < lengths[:, None], pages.labels[:, :LONGEST], -100)
    return replace(pages, labels=labels, points=pages.points[:, :LONGEST])


@pytest.fixture
def data(
    short: EncodedDocuments, datasets: dict[str, Dataset], processor: DonutProcessor, model: Donut
) -> TrainingData:
    return TrainingData(datasets["receipts-mini"], processor, short, short.head(2), model, BUDGET, len(short))


@pytest.fixture
def student(processor: DonutProcessor) -> Donut:
    return build(replace(TINY, max_tokens=LONGEST), TINY.small, len(processor.tokenizer), seed=5)


def strategy(objective: Objective, constraint: Constraint | None = None) -> Strategy:
    return Strategy("mine", "", reference("small"), objective, constraint)


def nothing(model: Donut) -> float:
    return 0.0


def read(model: Donut, pages: EncodedDocuments, row: int, tokens: int, processor: DonutProcessor) -> Any:
    """What a model makes of one document, said without the code under test."""
    labels = pages.labels[row, :tokens].tolist()
    vocabulary = processor.tokenizer.get_vocab()
    before = [vocabulary["<s_receipts-mini>"], *labels[:-1]]
    inputs = torch.tensor([[vocabulary["<pad>"] if token == -100 else token for token in before]])
    pixels = (pages.pages[:][row].float() / 127.5 - 1).expand(1, 3, -1, -1)
    with torch.no_grad():
        return model(pixel_values=pixels, decoder_input_ids=inputs, output_hidden_states=True, use_cache=False)


@pytest.fixture
def shown(model: Donut) -> Iterator[list[dict[str, torch.Tensor]]]:
    """What the teacher was shown, call by call."""
    seen: list[dict[str, torch.Tensor]] = []

    def note(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        assert not module.training
        assert not torch.is_grad_enabled()
        seen.append(kwargs)

    with model.register_forward_pre_hook(note, with_kwargs=True):
        yield seen


class TestTrainingData:
    @pytest.mark.parametrize(
        ("count", "documents", "batch", "expected"),
        [
            (6, 6, 2, (3, 2)),
            (6, 6, 4, (1, 4)),
            (6, 6, 8, (1, 6)),
            (5, 5, 2, (2, 2)),
            (1, 1, 8, (1, 1)),
            (4, 21, 2, (10, 2)),
        ],
    )
    def test_documents_are_seen_in_whole_batches_however_few_pages_there_are(
        self, count: int, documents: int, batch: int, expected: tuple[int, int], data: TrainingData
    ) -> None:
        head = data.pages.head(count)
        data = replace(data, pages=head, documents=documents, budget=replace(BUDGET, batch=batch))
        assert (data.steps, data.batch) == expected

    def test_the_prompt_is_the_data_sets(self, data: TrainingData, processor: DonutProcessor) -> None:
        assert processor.tokenizer.convert_ids_to_tokens(data.prompt) == "<s_receipts-mini>"

    def test_outputs_are_those_of_the_pages_and_the_tokens_before(
        self, data: TrainingData, short: EncodedDocuments, processor: DonutProcessor, model: Donut
    ) -> None:
        rows = torch.tensor([1, 4])
        outputs = data.outputs_of(model, {"pages": short.pages[rows], "labels": short.labels[rows]})
        assert (outputs.encoder, outputs.decoder) == ((), ())
        for logits, row in zip(outputs.logits, rows.tolist(), strict=True):
            torch.testing.assert_close(logits, read(model, short, row, LONGEST, processor).logits[0], rtol=0, atol=1e-4)

    def test_features_are_every_stage_the_memory_and_every_layer(
        self, data: TrainingData, short: EncodedDocuments, processor: DonutProcessor, model: Donut
    ) -> None:
        batch = {"pages": short.pages[3:4], "labels": short.labels[3:4]}
        outputs = data.outputs_of(model, batch, "features")
        known = read(model, short, 3, LONGEST, processor)
        encoder, decoder = known.encoder_hidden_states, known.decoder_hidden_states
        assert [len(outputs.encoder), len(outputs.decoder)] == [3, 4]
        for ours, theirs in zip(
            outputs.encoder, [encoder[1], encoder[2], known.encoder_last_hidden_state], strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        for ours, theirs in zip(outputs.decoder, decoder[1:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
        torch.testing.assert_close(outputs.logits, known.logits, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("implementation", ["sdpa", "eager"])
    def test_attentions_are_what_every_head_reads_of_the_page(
        self,
        implementation: str,
        data: TrainingData,
        short: EncodedDocuments,
        processor: DonutProcessor,
        model: Donut,
    ) -> None:
        """Against the queries and keys of another pass, and the model attends afterwards as it did before."""
        model.decoder.set_attn_implementation(implementation)
        outputs = data.outputs_of(model, {"pages": short.pages[3:5], "labels": short.labels[3:5]}, "attentions")
        assert model.decoder.config._attn_implementation == implementation
        assert (outputs.encoder, outputs.decoder) == ((), ())
        assert len(outputs.cross) == 4
        for place, row in enumerate((3, 4)):
            for found, expected in zip(outputs.cross, attended(model, short, row, processor), strict=True):
                torch.testing.assert_close(found[place], expected, rtol=1e-3, atol=1e-5)


def attended(model: Donut, pages: EncodedDocuments, row: int, processor: DonutProcessor) -> list[torch.Tensor]:
    """What each layer reads of one page, (heads, tokens, cells), of its queries and keys."""
    made: list[torch.Tensor] = []
    attentions = [layer.encoder_attn for layer in model.decoder.model.decoder.layers]
    hooks = [
        part.register_forward_hook(lambda _, args, output: made.append(output[0]))
        for attention in attentions
        for part in (attention.q_proj, attention.k_proj)
    ]
    read(model, pages, row, LONGEST, processor)
    for hook in hooks:
        hook.remove()
    heads = [torch.stack(side.split(32, 1)) for side in made]
    pairs = zip(heads[::2], heads[1::2], strict=True)
    return [(queries @ keys.mT / 32**0.5).softmax(-1) for queries, keys in pairs]


def taught(data: TrainingData, teaching: Teaching) -> Outputs:
    outputs = data.taught(teaching)
    assert outputs is not None
    return outputs


class TestTaught:
    def test_each_document_has_its_own(
        self, data: TrainingData, short: EncodedDocuments, processor: DonutProcessor, model: Donut
    ) -> None:
        outputs = taught(data, "features")
        assert outputs.logits.shape == (6, LONGEST, len(processor.tokenizer))
        assert [len(outputs.encoder), len(outputs.decoder)] == [3, 4]
        for kept in (outputs.logits, *outputs.encoder, *outputs.decoder):
            assert kept.dtype == torch.half
            assert not kept.is_inference()
        for row in range(6):
            known = read(model, short, row, LONGEST, processor)
            encoder = (*known.encoder_hidden_states[1:], known.encoder_last_hidden_state)
            expected = (known.logits, *encoder, *known.decoder_hidden_states[1:])
            for ours, theirs in zip((outputs.logits, *outputs.encoder, *outputs.decoder), expected, strict=True):
                torch.testing.assert_close(ours[row].float(), theirs[0], rtol=1e-3, atol=1e-2)

    def test_also_beyond_what_is_computed_at_once(self, data: TrainingData, short: EncodedDocuments) -> None:
        """130 documents of one token, shown to a teacher that says what is on the page."""
        assert taught(saying(data, short), "logits").logits.flatten().round().tolist() == list(range(130))

    def test_what_half_precision_cannot_hold_is_not_kept(self, data: TrainingData, short: EncodedDocuments) -> None:
        assert saying(data, short, factor=500.0).taught("logits") is not None
        assert saying(data, short, factor=520.0).taught("logits") is None

    def test_they_are_computed_once_in_evaluation(
        self, data: TrainingData, model: Donut, shown: list[dict[str, torch.Tensor]]
    ) -> None:
        model.train()
        first = taught(data, "logits")
        calls = len(shown)
        assert taught(data, "logits") is first
        assert len(shown) == calls
        assert model.training

    def test_features_come_with_logits_and_not_the_other_way_round(
        self, data: TrainingData, shown: list[dict[str, torch.Tensor]]
    ) -> None:
        assert taught(data, "logits").encoder == ()
        both = taught(data, "features")
        assert len(both.encoder) == 3
        calls = len(shown)
        assert taught(data, "logits") is both
        assert len(shown) == calls

    def test_of_one_kind_at_a_time(self, data: TrainingData, monkeypatch: pytest.MonkeyPatch) -> None:
        features = taught(data, "features")
        attentions = taught(data, "attentions")
        assert data._taught == {"attentions": attentions}
        assert len(attentions.cross) == 4
        again = taught(data, "features")
        assert again is not features
        monkeypatch.setattr(compress, "_LARGEST_CACHE", 0)
        assert data.taught("attentions") is None
        assert data._taught == {"attentions": None}
        monkeypatch.setattr(compress, "_LARGEST_CACHE", 2**30)
        taught(data, "logits")
        assert data.taught("attentions") is None  # not tried again

    def test_logits_are_those_of_fused_attention_whatever_came_before(self, data: TrainingData) -> None:
        """A row's numbers do not depend on the rows before it."""
        first = taught(data, "logits").logits
        taught(data, "attentions")
        assert taught(data, "logits").logits is not first
        assert torch.equal(taught(data, "logits").logits, first)

    def test_what_is_forgotten_is_computed_again(
        self, data: TrainingData, shown: list[dict[str, torch.Tensor]]
    ) -> None:
        first = taught(data, "logits")
        calls = len(shown)
        data.forget()
        assert torch.equal(taught(data, "logits").logits, first.logits)
        assert len(shown) == 2 * calls

    @pytest.mark.parametrize("teaching", ["logits", "features", "attentions"])
    def test_they_are_kept_only_if_they_fit(
        self, teaching: Teaching, data: TrainingData, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        outputs = taught(data, teaching)
        size = sum(kept.nbytes for kept in (outputs.logits, *outputs.encoder, *outputs.decoder, *outputs.cross))
        data.forget()
        monkeypatch.setattr(compress, "_LARGEST_CACHE", size)
        assert data.taught(teaching) is not None
        data.forget()
        monkeypatch.setattr(compress, "_LARGEST_CACHE", size - 1)
        assert data.taught(teaching) is None

    def test_a_gigabyte_fits(self) -> None:
        assert compress._LARGEST_CACHE == 2**30


class Saying(nn.Module):
    """Its logits are what is on the page."""

    device = torch.device("cpu")

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> Outputs:
        return Outputs((pixel_values[:, :1, :1, 0] + 1) * 127.5 * self.factor)


def saying(data: TrainingData, short: EncodedDocuments, factor: float = 1.0) -> TrainingData:
    """130 documents of one token and a page of one pixel: its number."""
    numbers = torch.arange(130, dtype=torch.uint8)
    pages = EncodedDocuments(
        tuple(map(str, range(130))),
        numbers[:, None, None],
        short.labels[:1, :1].expand(130, 1),
        torch.zeros(130, 1, 2),
        ({},) * 130,
    )
    return replace(data, pages=pages, teacher=cast(Donut, Saying(factor)))


class TestPlan:
    def test_it_is_that_of_the_budget_at_the_given_rate(
        self, data: TrainingData, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        data = replace(data, budget=replace(BUDGET, batch=2, save_steps=11))
        train_strategy(student, strategy(CrossEntropy()), data, 0.003, nothing, 7, "a title", tmp_path / "x")
        assert trainer.plan == Schedule(steps=3, batch=2, learning_rate=0.003, seed=7, save_steps=11)
        assert trainer.model is student
        assert trainer.mechanics == Mechanics()
        assert (trainer.title, trainer.folder) == ("a title", tmp_path / "x")

    def test_it_trains_on_the_documents_of_the_course_not_on_validation(
        self, data: TrainingData, short: EncodedDocuments, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        train_strategy(student, strategy(CrossEntropy()), data, 0.02, nothing, 0, "", tmp_path)
        batch = trainer.batch(0, 1, 2, 3, 4, 5)
        assert set(batch) == {"rows", "pages", "labels", "points"}
        assert torch.equal(batch["pages"], short.pages[:])
        assert torch.equal(batch["labels"], short.labels)
        assert torch.equal(batch["points"], short.points)

    def test_validation_is_read_as_often_as_the_budget_says_and_written_down(
        self, data: TrainingData, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        read: list[Donut] = []

        def validate(model: Donut) -> float:
            read.append(model)
            return len(read) / 10

        _, curve = train_strategy(student, strategy(CrossEntropy()), data, 0.02, validate, 0, "", tmp_path)
        assert curve == []
        clock, callback = trainer.callbacks
        assert isinstance(clock, Clock)
        assert isinstance(callback, EverySteps)
        for step in (1, 2, 3, 4, 5):
            callback.on_step_end(cast(Any, None), cast(Any, State(step, 5)), cast(Any, None), model=student)
        assert read == [student, student]
        assert json.loads((tmp_path / "journal.json").read_text())["curve"] == [[3, 0.1], [5, 0.2]]
        _, curve = train_strategy(student, strategy(CrossEntropy()), data, 0.02, validate, 0, "", tmp_path)
        assert curve == [(3, 0.1), (5, 0.2)]


@dataclass
class State:
    global_step: int
    max_steps: int


class TestTeaching:
    def lesson(
        self, teaching: Teaching, data: TrainingData, student: Donut, trainer: FakeTrainer, folder: Path
    ) -> tuple[Outputs, Outputs | None, torch.Tensor]:
        """What the objective hears of documents 3 and 0, in this order."""
        listening = Listening(teaching)
        data.teacher.train()
        train_strategy(student, strategy(listening), data, 0.02, nothing, 0, "", folder)
        batch = trainer.batch(3, 0)
        loss = trainer.loss(student, batch, 0.5)
        ((ours, theirs, labels),) = listening.heard
        assert data.teacher.training
        assert loss.requires_grad
        assert float(loss.detach()) == pytest.approx(float(ours.logits.detach().square().mean()))
        return ours, theirs, labels

    def test_without_a_teacher_none_is_asked(
        self,
        data: TrainingData,
        student: Donut,
        short: EncodedDocuments,
        processor: DonutProcessor,
        trainer: FakeTrainer,
        shown: list[dict[str, torch.Tensor]],
        tmp_path: Path,
    ) -> None:
        ours, theirs, labels = self.lesson("none", data, student, trainer, tmp_path)
        assert theirs is None
        assert shown == []
        assert (ours.encoder, ours.decoder) == ((), ())
        assert torch.equal(labels, short.labels[[3, 0], :12])
        for place, row in enumerate((3, 0)):
            known = read(student, short, row, 12, processor).logits[0]
            torch.testing.assert_close(ours.logits[place].detach(), known, rtol=0, atol=1e-4)

    @pytest.mark.parametrize("kept", [True, False])
    def test_logits_are_of_the_same_documents_kept_or_not(
        self,
        kept: bool,
        data: TrainingData,
        student: Donut,
        short: EncodedDocuments,
        processor: DonutProcessor,
        model: Donut,
        trainer: FakeTrainer,
        shown: list[dict[str, torch.Tensor]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if not kept:
            monkeypatch.setattr(compress, "_LARGEST_CACHE", 0)
        ours, theirs, labels = self.lesson("logits", data, student, trainer, tmp_path)
        assert len(shown) == 2  # to see how large they are, and for all
        assert torch.equal(labels, short.labels[[3, 0], :12])
        assert theirs is not None
        assert theirs.logits.shape == ours.logits.shape
        assert not theirs.logits.requires_grad
        assert (ours.encoder, theirs.encoder, theirs.decoder) == ((), (), ())
        for place, row in enumerate((3, 0)):
            known = read_quietly(model, short, row, 12, processor).logits[0]
            torch.testing.assert_close(theirs.logits[place].float(), known, rtol=0, atol=1e-2)

    @pytest.mark.parametrize("kept", [True, False])
    def test_features_are_of_the_same_documents_kept_or_not(
        self,
        kept: bool,
        data: TrainingData,
        student: Donut,
        short: EncodedDocuments,
        processor: DonutProcessor,
        model: Donut,
        trainer: FakeTrainer,
        shown: list[dict[str, torch.Tensor]],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if not kept:
            monkeypatch.setattr(compress, "_LARGEST_CACHE", 0)
        seen: list[dict[str, torch.Tensor]] = []
        with student.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True):
            ours, theirs, labels = self.lesson("features", data, student, trainer, tmp_path)
        assert theirs is not None
        assert torch.equal(labels, short.labels[[3, 0], :12])
        ((student_saw,), (_, teacher_saw)) = seen, shown
        if not kept:
            assert torch.equal(student_saw["pixel_values"], teacher_saw["pixel_values"])
            assert torch.equal(student_saw["decoder_input_ids"], teacher_saw["decoder_input_ids"])
        assert [len(ours.encoder), len(ours.decoder)] == [3, 2]
        assert [len(theirs.encoder), len(theirs.decoder)] == [3, 4]
        assert not any(layer.requires_grad for layer in (theirs.logits, *theirs.encoder, *theirs.decoder))
        for place, row in enumerate((3, 0)):
            known = read_quietly(model, short, row, 12, processor)
            torch.testing.assert_close(theirs.logits[place], known.logits[0], rtol=1e-3, atol=1e-2)
            layer = known.decoder_hidden_states[4][0]
            torch.testing.assert_close(
                theirs.encoder[2][place], known.encoder_last_hidden_state[0], rtol=1e-3, atol=1e-2
            )
            torch.testing.assert_close(theirs.decoder[3][place], layer, rtol=1e-3, atol=1e-2)

    @pytest.mark.parametrize("kept", [True, False])
    def test_attentions_are_of_the_same_documents_kept_or_not(
        self,
        kept: bool,
        data: TrainingData,
        student: Donut,
        trainer: FakeTrainer,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if not kept:
            monkeypatch.setattr(compress, "_LARGEST_CACHE", 0)
        ours, theirs, _ = self.lesson("attentions", data, student, trainer, tmp_path)
        assert theirs is not None
        assert [layer.shape for layer in ours.cross] == [(2, 2, 12, 240)] * 2
        assert [layer.shape for layer in theirs.cross] == [(2, 3, 12, 240)] * 4
        assert all(layer.requires_grad for layer in ours.cross)
        assert not any(layer.requires_grad for layer in (theirs.logits, *theirs.cross))
        data.teacher.train(False)
        documents = {"pages": data.pages.pages[torch.tensor([3, 0])], "labels": data.pages.labels[[3, 0], :12]}
        with torch.no_grad():
            known = data.outputs_of(data.teacher, documents, "attentions")
        for found, layer in zip(theirs.cross, known.cross, strict=True):
            torch.testing.assert_close(found.float(), layer, rtol=1e-2, atol=1e-3)


def read_quietly(model: Donut, pages: EncodedDocuments, row: int, tokens: int, processor: DonutProcessor) -> Any:
    model.train(False)
    return read(model, pages, row, tokens, processor)


@dataclass
class Noting(Attached):
    """A constraint that says when it is used."""

    events: list[str]
    broken: bool = False
    finished: Donut | None = None

    def attach(self, model: nn.Module, span: Span) -> Noting:
        self.events.append(f"attach for {span.steps} steps")
        self.weight = next(model.parameters())
        return self

    def before_step(self, step: int) -> None:
        assert self.weight.grad is not None
        self.before = self.weight.detach().clone()
        self.events.append(f"before step {step}")

    def after_step(self, step: int) -> None:
        assert not torch.equal(self.before, self.weight)
        self.events.append(f"after step {step}")

    def check(self) -> None:
        self.events.append("check")
        if self.broken:
            raise RuntimeError("broken")

    def finish(self) -> Donut | None:
        self.events.append("finish")
        return self.finished


@dataclass
class Counting(Attached):
    """A constraint that adds to the loss and remembers over a kill how often it was asked."""

    count: torch.Tensor = field(default_factory=lambda: torch.zeros(()))

    def attach(self, model: nn.Module, span: Span) -> Counting:
        self.weight = next(model.parameters())
        return self

    def penalty(self) -> torch.Tensor:
        return 3.0 * self.weight.sum()

    def after_step(self, step: int) -> None:
        self.count += 1

    def state(self) -> dict[str, torch.Tensor]:
        return {"count": self.count}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        self.count = state["count"]


class TestConstraint:
    """With the real training loop, on three steps of two documents."""

    @pytest.fixture
    def data(self, data: TrainingData) -> TrainingData:
        return replace(data, budget=replace(BUDGET, batch=2, evaluations=3))

    def test_it_is_there_from_the_first_step_and_acts_before_anyone_looks(
        self, data: TrainingData, student: Donut, tmp_path: Path
    ) -> None:
        events: list[str] = []

        @dataclass(frozen=True)
        class Noted:
            teaching: Teaching = "none"

            def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor:
                events.append("loss")
                return student.logits.float().square().mean()

        def validate(model: Donut) -> float:
            events.append("validate")
            return 0.5

        mine = strategy(Noted(), constraint=cast(Constraint, Noting(events)))
        model, curve = train_strategy(student, mine, data, 0.02, validate, 0, "", tmp_path)
        steps = [event for step in "123" for event in ("loss", f"before step {step}", f"after step {step}", "validate")]
        assert events == ["attach for 3 steps", *steps, "check", "finish"]
        assert model is student
        assert curve == [(1, 0.5), (2, 0.5), (3, 0.5)]

    def test_what_it_finishes_with_is_kept(
        self, data: TrainingData, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        another = build(TINY, TINY.small, 100, seed=3)
        mine = strategy(CrossEntropy(), constraint=cast(Constraint, Noting([], finished=another)))
        model, _ = train_strategy(student, mine, data, 0.02, nothing, 0, "", tmp_path)
        assert model is another

    @pytest.mark.parametrize("wrong", ["nothing", "linear"])
    def test_what_is_no_constraint_or_no_model_is_named(
        self, wrong: str, data: TrainingData, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        @dataclass
        class Wrong:
            def attach(self, model: nn.Module, span: Span) -> Any:
                return (
                    None
                    if wrong == "nothing"
                    else Noting([], finished=cast(Donut, nn.Linear(1, 1))).attach(model, span)
                )

        message = {
            "nothing": r"^the constraint of 'mine' attached a NoneType, not an Attached$",
            "linear": r"^the constraint of 'mine' finished with a Linear, not a Donut$",
        }
        with pytest.raises(TypeError, match=message[wrong]):
            train_strategy(student, strategy(CrossEntropy(), Wrong()), data, 0.02, nothing, 0, "", tmp_path)

    @pytest.mark.parametrize(
        ("loss", "penalty", "message"),
        [
            (lambda logits: 0.5, None, "the objective of strategy 'mine' returned a float, not a tensor of one number"),
            (lambda logits: None, None, "the objective of strategy 'mine' returned a NoneType, not a tensor of one"),
            (
                lambda logits: logits[0, 0, :5],
                None,
                r"the objective of strategy 'mine' returned a tensor of shape \(5,",
            ),
            (lambda logits: logits.detach().sum(), None, "the objective of strategy 'mine' does not depend on what"),
            (torch.sum, "much", "the penalty of the constraint of strategy 'mine' returned a str, not a tensor"),
            (torch.sum, torch.ones(2), r"the penalty of the constraint of strategy 'mine' returned a tensor of shape"),
        ],
    )
    def test_what_is_no_loss_is_named(
        self, loss: Any, penalty: Any, message: str, data: TrainingData, student: Donut, tmp_path: Path
    ) -> None:
        @dataclass(frozen=True)
        class Lost(Attached):
            teaching: Teaching = "none"

            def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> Any:
                return loss(student.logits)

            def attach(self, model: nn.Module, span: Span) -> Any:
                return self

            def penalty(self) -> Any:
                return penalty

        with pytest.raises(TypeError, match=f"^{message}"):
            train_strategy(student, strategy(Lost(), cast(Constraint, Lost())), data, 0.02, nothing, 0, "", tmp_path)

    def test_a_penalty_is_learnt_from_and_what_it_knows_outlives_a_kill(
        self, data: TrainingData, student: Donut, tmp_path: Path
    ) -> None:
        """Killed after two of three steps, with and without: the same weights, and all three steps counted."""
        data = replace(data, budget=replace(data.budget, save_steps=1))
        before = {name: weight.clone() for name, weight in student.state_dict().items()}

        def trained(penalty: bool, folder: str, killed: bool = False) -> tuple[torch.Tensor, Counting]:
            student.load_state_dict(before)
            counting = Counting()

            def validate(model: Donut) -> float:
                if killed and counting.count == 3:
                    raise InterruptedError
                return 0.0

            constraint = cast(Constraint, counting) if penalty else None
            train_strategy(
                student, strategy(CrossEntropy(), constraint), data, 0.02, validate, 0, "", tmp_path / folder
            )
            return next(student.parameters()).detach().clone(), counting

        free, _ = trained(False, "free")
        whole, counted = trained(True, "whole")
        assert counted.count == 3
        assert not torch.allclose(free, whole)
        with pytest.raises(InterruptedError):
            trained(True, "killed", killed=True)
        assert load_file(tmp_path / "killed" / "constraint-2.safetensors")["count"] == 2
        again, counted = trained(True, "killed")
        assert counted.count == 3
        torch.testing.assert_close(again, whole)

    def test_a_broken_one_ends_the_training(
        self, data: TrainingData, student: Donut, trainer: FakeTrainer, tmp_path: Path
    ) -> None:
        mine = strategy(CrossEntropy(), constraint=cast(Constraint, Noting([], broken=True)))
        with pytest.raises(RuntimeError, match="broken"):
            train_strategy(student, mine, data, 0.02, nothing, 0, "", tmp_path)
        assert trainer.model is student

    def test_validation_sees_the_zeros_kept(self, data: TrainingData, student: Donut, tmp_path: Path) -> None:
        prune_globally(student, magnitudes(student), 0.6)
        pruned = zeros(student)
        assert pruned > 10_000
        before = student.decoder.model.decoder.layers[1].fc1.weight.detach().clone()
        seen: list[int] = []

        def validate(model: Donut) -> float:
            seen.append(zeros(model))
            return 0.0

        def trained(constraint: Constraint | None) -> Curve:
            mine, place = strategy(CrossEntropy(), constraint), tmp_path / str(constraint)
            return train_strategy(student, mine, data, 0.002, validate, 0, "", place)[1]

        trained(FixedMask())
        assert seen == [pruned] * 3
        assert not torch.equal(student.decoder.model.decoder.layers[1].fc1.weight, before)
        trained(None)
        assert seen[-1] < pruned / 10


def zeros(model: Donut) -> int:
    layers = model.decoder.model.decoder.layers
    return sum(int((module.weight == 0).sum()) for module in layers.modules() if isinstance(module, nn.Linear))
