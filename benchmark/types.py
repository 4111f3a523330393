"""The words of the benchmark: what a plugin yields and what the harness passes around.

Nothing here imports torch, so that ``list`` and ``--help`` stay quick.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmark.errors import UserError
from benchmark.steps import Step, check_order, steps_of
from benchmark.truth import check_keys, plain

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import VisionEncoderDecoderModel

    from benchmark.scales import Scale

Json = Any
"""What ``json.loads`` returns."""

Page = NDArray[np.uint8]
"""A page: height x width (grey) or height x width x 3 (RGB), one byte a value."""

Split = Literal["train", "validation", "test", "shifted"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
"""Those that every data set has; some have a second test split, ``shifted``, too."""

ProtocolName = Literal["paper", "task"]
PROTOCOLS: tuple[ProtocolName, ...] = ("paper", "task")
"""The ways on which a strategy is applied and trained (`benchmark.running.protocols`)."""

Allocation = Literal["global", "uniform", "rows", "erk"]
"""Which weights pruning compares with each other: all, those of one matrix, those of one output of it. With ``erk``
those of one matrix, of which the smaller ones lose less (`benchmark.models.pruning.by_erdos_renyi`)."""

By = Literal["ink", "chance"]
"""What says which of a page's cells the decoder reads (`benchmark.models.cells`)."""

Precision = Literal["fp32", "int8"]
"""What onnxruntime computes linear layers in (`benchmark.models.runtime`)."""

Failure = Literal["unparseable", "looping", "truncated", "missing field", "wrong value", "invented key"]
"""Ways in which an answer is wrong (`benchmark.metrics.failures`)."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def check_name(kind: str, name: str) -> None:
    """Raise `UserError` unless `name` is lower-case words joined by hyphens: it becomes a file name."""
    if not _NAME.fullmatch(str(name)):
        raise UserError(f"{kind} name {name!r} must be lower-case letters and digits joined by hyphens")


@dataclass(frozen=True, slots=True)
class Glyph:
    """One printed character: what it is and the centre of its box, in pixels of the page."""

    character: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Document:
    """A page with its ground truth (Donut's ``gt_parse``).

    `glyphs` lists the printed characters of the ground truth in the order in which they occur in it, where the
    renderer knows them (embedded data); real documents have none. `source` says where the ground truth stands, such as
    ``metadata.jsonl, line 3``: messages about it name that in place of the id. `alternatives` are further ground truths
    that are as right: a model learns the first one and is scored by the best.
    """

    id: str
    page: Page
    ground_truth: Json
    glyphs: tuple[Glyph, ...] = ()
    source: str = ""
    alternatives: tuple[Json, ...] = ()


class OpenSplit(Protocol):
    """Opens `count` documents of one split, the same ones for the same arguments."""

    def __call__(self, scale: Scale, split: Split, seed: int, count: int | None) -> Sequence[Document]: ...


@dataclass(frozen=True, slots=True)
class Dataset:
    """Documents with ground truth in train, validation and test.

    `task` is ``reading`` for the upstream task (``text_sequence``), else ``extraction``. `keys` are the keys that its
    ground truth uses: each becomes a pair of tokens. `stands_for` names the paper's data set that its rows are printed
    beside, if any; embedded data never carries a real data set's name. One that is `shifted` opens a second test split
    of that name too: documents that look as none in training does. `version` changes whenever the documents do; if
    it is `hashed` from all of them, how and from where they are opened changes no result. `notes` say what to know of
    the documents beside every score; `options` are those of the command that are not its defaults. One that is run
    `on_request` is not among ``all``: its documents have to be brought here first. Raises `UserError` for keys that
    tags cannot carry.
    """

    name: str
    summary: str
    task: Literal["reading", "extraction"]
    keys: tuple[str, ...]
    open: OpenSplit
    embedded: bool = False
    shifted: bool = False
    stands_for: str | None = None
    version: str = "1"
    hashed: bool = False
    notes: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    on_request: bool = False

    def __post_init__(self) -> None:
        check_name("data set", self.name)
        where = f"data set {self.name}"
        check_keys(plain(dict.fromkeys(self.keys), where), where)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Documents of the training split, as a model reads them, for a start that looks at data.

    `pixel_values` (documents, 3, height, width), `decoder_input_ids` and `labels` (documents, tokens), -100 beyond the
    end; all on the CPU.
    """

    pixel_values: torch.Tensor
    decoder_input_ids: torch.Tensor
    labels: torch.Tensor


class References(Protocol):
    """The reference models of one data set and scale: ``references.load("teacher")`` gives a fresh copy.

    ``references.calibration(128)`` gives the first documents of the seed's training split, as many or all there are,
    and with ``draw=1`` the 128 after these: sets of different draws share no document while there are enough.
    ``references.tokens(1280)`` gives the numbers of the tokens that the ground truths of the first documents are
    written with, and of those that have to be there whatever they are: prompt, tags, padding, end.
    """

    def load(self, name: str) -> VisionEncoderDecoderModel: ...

    def calibration(self, count: int, draw: int = 0) -> Calibration: ...

    def tokens(self, count: int) -> frozenset[int]: ...


class Start(Protocol):
    """The model that a strategy begins with: (reference models, scale, seed) -> model."""

    def __call__(self, references: References, scale: Scale, seed: int) -> VisionEncoderDecoderModel: ...


Teaching = Literal["none", "logits", "features", "attentions", "answers"]
"""What an objective takes from the teacher: of its outputs, or as labels what it writes on the training pages."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model computes from pages and the tokens before each token.

    `logits` (documents, tokens, vocabulary). With features, `encoder` has the cells after every stage and at last
    the memory that the decoder reads, each (documents, cells, width), and `decoder` the tokens after every layer,
    each (documents, tokens, width). With attentions, `cross` has how much of each cell every head of every decoder
    layer reads at a token, each (documents, heads, tokens, cells): a sum of 1 over the cells. `page` is the height and
    width in pixels of what the cells lie on, row by row.
    """

    logits: torch.Tensor
    encoder: tuple[torch.Tensor, ...] = ()
    decoder: tuple[torch.Tensor, ...] = ()
    cross: tuple[torch.Tensor, ...] = ()
    page: tuple[int, int] = (0, 0)

    @property
    def maps(self) -> tuple[torch.Tensor, ...]:
        """`encoder` as it lies on the page, each (documents, width, rows, columns)."""
        return tuple(self._map(cells) for cells in self.encoder)

    def _map(self, cells: torch.Tensor) -> torch.Tensor:
        count, (height, width) = cells.shape[1], self.page
        # Of the grids of as many cells the one that is shaped most like the page.
        divisors = (rows for rows in range(1, count + 1) if count % rows == 0)
        rows = min(divisors, key=lambda rows: abs(rows**2 * width - count * height))
        found: torch.Tensor = cells.mT.unflatten(-1, (rows, count // rows))
        return found


class Objective(Protocol):
    """A training loss: (student outputs, teacher outputs, labels) -> scalar.

    `labels` are (documents, tokens) with -100 where nothing is predicted. `teacher` is None where `teaching` is
    ``none`` or ``answers``; both have features only where it is ``features``, attentions where it is ``attentions``.
    The teacher's may have been kept in half precision.

    With ``answers`` the labels are what the teacher writes. Pages on which that is no whole answer, or agrees less with
    the ground truth (N-TED accuracy) than an `agreement` that the objective may have, are replaced by others.

    One that compares the documents of a batch with each other and has no features says so by a `whole_batch` that is
    true: it has no place where a batch is seen in parts (``--accumulate``).
    """

    @property
    def teaching(self) -> Teaching: ...

    def __call__(self, student: Outputs, teacher: Outputs | None, labels: torch.Tensor) -> torch.Tensor: ...


class LearntObjective(Protocol):
    """A training loss with `parts` of its own that learn too, at a rate of their own, and are dropped at the end."""

    @property
    def teaching(self) -> Teaching: ...

    @property
    def parts_rate(self) -> float:
        """Adam's, constant."""
        ...

    def parts(self, student: Outputs, teacher: Outputs) -> nn.Module:
        """Made once, for the shapes of the first batch."""
        ...

    def __call__(self, student: Outputs, teacher: Outputs, labels: torch.Tensor, parts: Any) -> torch.Tensor:
        """The loss, by what `parts` has made."""
        ...


@dataclass(frozen=True, slots=True)
class Span:
    """The training that a constraint is attached for: on the reading set (`upstream`) or a task, and its steps."""

    upstream: bool
    steps: int


class Attached:
    """A constraint bound to one model for the length of a training: what it has no use for does nothing.

    Steps are those of the optimizer, from 1 on. A training that was killed goes on from a step whose `state` was kept:
    `attach` is called anew, on the model as it was in the beginning, then `restore`, and the weights come back.
    """

    def before_step(self, step: int) -> None:
        """Called when the gradients are there, clipped, and nothing has moved."""

    def after_step(self, step: int) -> None:
        """Called when the weights have moved, before anyone looks at the model."""

    def penalty(self) -> torch.Tensor | None:
        """What is added to the loss of a batch, or None."""
        return None

    def state(self) -> Mapping[str, torch.Tensor]:
        """What it has learnt or decided on its way, by a name of its own."""
        return {}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take back what `state` gave."""

    def check(self) -> None:
        """Called at the end. Raises `RuntimeError` if the model breaks the constraint."""

    def finish(self) -> VisionEncoderDecoderModel | None:
        """The model to keep, if that is another: sliced, merged. Called at last; the constraint is gone then."""
        return None


class Constraint(Protocol):
    """What must hold of the model while it trains."""

    def attach(self, model: VisionEncoderDecoderModel, span: Span) -> Attached: ...


class Finish(Protocol):
    """What is done to a model at the very end: it may be another one, or the same, changed in place."""

    def __call__(self, model: VisionEncoderDecoderModel) -> VisionEncoderDecoderModel: ...


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to compress: a start, an objective and a constraint.

    With `objective` None nothing is trained: `start` is applied to the references of each data set. `paper_name` is
    the row of the paper's tables that it reproduces, if any; `reference` marks a row that others are compared with,
    which is not ranked.

    `protocols` are those that it is defined for. Under ``paper`` its model is made on the reading set and then
    fine-tuned on the task, under the same objective and constraint both times; if not `trains_upstream`, it does no
    more reading than its start has done. Under ``task`` its start is applied to the references of the
    task, whose teacher is the task's own, and trained on the task.

    `rate` multiplies the learning rate of the budget on a task: a model that is near an optimum is thrown out of it by
    steps that a pruned one needs. `task_rate` is that of the protocol ``task``, if it is another. Rates are chosen on
    the validation split (``python -m benchmark rates``); upstream, everything learns at the budget's own.

    `finish` is applied once, when nothing is trained any more: not to what it has become upstream. Parts may name their
    `steps`, whose order is checked then (`benchmark.steps`).
    """

    name: str
    summary: str
    start: Start
    objective: Objective | LearntObjective | None = None
    constraint: Constraint | None = None
    paper: str = ""
    paper_name: str | None = None
    reference: bool = False
    protocols: tuple[ProtocolName, ...] = PROTOCOLS
    trains_upstream: bool = True
    rate: float = 1.0
    task_rate: float | None = None
    finish: Finish | None = None

    def __post_init__(self) -> None:
        check_name("strategy", self.name)
        if self.objective is None and self.constraint is not None:
            raise UserError(f"strategy {self.name!r} keeps a constraint but trains nothing")
        if not self.protocols or not set(self.protocols) <= set(PROTOCOLS):
            known = " and ".join(PROTOCOLS)
            raise UserError(f"strategy {self.name!r} has the protocols {self.protocols!r}, but there are {known}")
        for rate in (self.rate, self.task_rate):
            if rate is not None and not 0 < rate < float("inf"):
                raise UserError(f"strategy {self.name!r} needs a rate above 0, not {rate:g}")
        trained: tuple[Step, ...] = () if self.objective is None else ("train",)
        parts = ("start", steps_of(self.start)), ("training", trained), ("finish", steps_of(self.finish))
        check_order(f"strategy {self.name!r}", parts)

    def refusal(self, protocol: ProtocolName) -> str | None:
        """Why it has no place in a protocol; None if it has one."""
        if protocol in self.protocols:
            return None
        defined = " and ".join(self.protocols)
        return f"strategy {self.name} has no place in protocol {protocol}: it is defined for {defined}"

    def under(self, protocol: ProtocolName) -> Strategy:
        """The strategy with the rate of a protocol. Raises `UserError` for one that it has no place in."""
        refusal = self.refusal(protocol)
        if refusal is not None:
            raise UserError(refusal)
        rate = self.task_rate if protocol == "task" and self.task_rate is not None else self.rate
        return replace(self, rate=rate, task_rate=None)
