"""What a cell gave: the versioned record, its parts, and the name of the cell."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, SupportsFloat
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from benchmark.types import Failure, Json, ProtocolName

SCHEMA_VERSION = 3
_LONGEST_NAME = 200
"""Bytes of a cell's name: file systems take 255, and endings come after it."""


def _finite_or_none(value: Any) -> Any:
    try:
        return None if isinstance(value, SupportsFloat) and not math.isfinite(value) else value
    except OverflowError:  # a whole number that no float holds, which is refused with the rest
        return value


Score = Annotated[float, Field(ge=0, le=1)]
Maybe = Annotated[float | None, BeforeValidator(_finite_or_none)]
"""A number that may not exist, such as the CKA of constant features: NaN and infinity become None."""


class _Frozen(BaseModel):
    # Elsewhere NaN is refused: JSON has no word for it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Counts(_Frozen):
    """Fields that were found, missed, and invented."""

    tp: int
    fn: int
    fp: int


class Agreement(_Frozen):
    """What changed against the teacher, over all documents.

    `ted` is the mean N-TED accuracy of what the model reads when what the teacher reads is taken as the truth. Of the
    ground truth's `fields` the teacher has some right that the model has not, and the other way round.
    """

    ted: Score
    fields: int
    right_to_wrong: int
    wrong_to_right: int


class Metrics(_Frozen):
    """Scores on the test split.

    `ted_cannot_read` is what a reader gets that ignores the page. `ted_ceiling` is what one gets that makes no mistake:
    its answers, as tokens, are cut in `truncated_documents` and hold `unknown_characters`. `several_truths` documents
    have several ground truths, the best of which counts. `cka` is the paper's biased form, `cka_null_floor` its mean
    when the documents of these very features are permuted, `cka_self_ceiling` the most that a student of this depth can
    reach, all over `cka_documents` documents; `cka_index_matched` and `cka_blocks` are its other readings for decoders
    of unequal depth (`benchmark.metrics.networks`). `layerwise` holds the CKA of each of `layers_student` (rows) with
    each of `layers_teacher` (columns), `layerwise_debiased` its debiased form, which an old record does not have.

    `fields` has what `f1` is made of, at each key path; `failures` in how many documents each kind of failure occurs
    (`benchmark.metrics.failures`). `agreement` is that with the teacher's row of the same seed, if it was run.
    """

    ted: Score
    f1: Score | None = None
    fields: dict[str, Counts] = {}
    failures: dict[Failure, int] = {}
    agreement: Agreement | None = None
    ted_cannot_read: Score | None = None
    ted_ceiling: Score | None = None
    truncated_documents: int | None = None
    unknown_characters: int | None = None
    several_truths: int | None = None
    cka: Maybe = None
    cka_index_matched: Maybe = None
    cka_blocks: Maybe = None
    cka_debiased: Maybe = None
    cka_null_floor: Maybe = None
    cka_self_ceiling: Maybe = None
    cka_documents: int | None = None
    layerwise: list[list[Maybe]] = []
    layerwise_debiased: list[list[Maybe]] = []
    layers_student: list[str] = []
    layers_teacher: list[str] = []

    @model_validator(mode="after")
    def _matrix_fits_its_names(self) -> Metrics:
        rows, columns = len(self.layers_student), len(self.layers_teacher)
        for name, matrix in (("layerwise", self.layerwise), ("layerwise_debiased", self.layerwise_debiased)):
            absent = name == "layerwise_debiased" and not matrix
            if not absent and (len(matrix) != rows or any(len(row) != columns for row in matrix)):
                raise ValueError(f"{name} is not {rows} x {columns}, the number of its layer names")
        return self


class Interval(_Frozen):
    """A measured number and its 95 % interval, None where too little was measured for one."""

    value: float
    low: float | None = None
    high: float | None = None


class Timing(_Frozen):
    """A part of a reading: quantiles over rounds in milliseconds; the median ratio to the teacher's in the same."""

    p50: Interval
    p95: Interval
    ratio: Interval


Part = Literal["whole", "encoder", "first_token", "per_token"]


class Efficiency(_Frozen):
    """Sizes in weights and bytes, `macs` and the encoder's share of them, latency (milliseconds) and memory of reading
    one document.

    `params_nonzero` counts the non-embedding weights that are not zero; `density` is their share. Latencies are those
    of a fixed number of tokens, timed in turns with the teacher: `latency_ratio` is the median over `latency_rounds` of
    the model's time by the teacher's in the same round, `latency_encoder_ratio` and `latency_decoder_ratio` those of
    its two parts, `latency_control` that of the teacher's second entry, which computes the same as the first; each with
    a 95 % interval. `timings` have the whole reading and its parts: to the end of the encoder, to the first token, both
    from the page on, and each token after that. Models of the same `computation` are timed once in a run.

    `peak_memory_bytes` are tensors: the weights and what operators hold beside them. `peak_resident_bytes` is what a
    process of its own grows by, in resident memory without the code of libraries, that loads a model of this
    computation and reads with it. `energy_mj` is the median of a reading, None without a counter.
    """

    params_total: int
    params_embedding: int
    params_nonembedding: int
    params_nonzero: int
    density: Score
    macs: int | None = None
    macs_encoder: int | None = None
    size_dense_bytes: int
    size_packed_bytes: int
    latency_ms_p50: Maybe = None
    latency_ms_p95: Maybe = None
    latency_encoder_ms_p50: Maybe = None
    latency_ratio: Maybe = None
    latency_ratio_low: Maybe = None
    latency_ratio_high: Maybe = None
    latency_encoder_ratio: Maybe = None
    latency_encoder_ratio_low: Maybe = None
    latency_encoder_ratio_high: Maybe = None
    latency_decoder_ratio: Maybe = None
    latency_decoder_ratio_low: Maybe = None
    latency_decoder_ratio_high: Maybe = None
    latency_control: Maybe = None
    latency_control_low: Maybe = None
    latency_control_high: Maybe = None
    latency_rounds: int | None = None
    timings: dict[Part, Timing] = {}
    computation: str | None = None
    peak_memory_bytes: int | None = None
    peak_resident_bytes: int | None = None
    energy_mj: Interval | None = None


class Record(_Frozen):
    """What one cell gave: strategy x data set x scale x protocol x budget x options x limit x device x seed.

    `summary` and `paper` are the strategy's own words on what it is and where it comes from; `options` are those that
    differ from its own. `teacher` is the checkpoint that was given in the place of
    the zoo's, whose sizes are the scale then, `teacher_changes` what was asked to be other than it brings it
    (`benchmark.scales.Changes`), `teacher_documents` what the task's teacher was fine-tuned on first, None if it knew
    the task. `start` describes what training began from; `start_documents` are those that the reference models in it
    had been trained on (None: an old record does not say), `documents` those of the strategy's own training, upstream
    and on the task; `test_documents` were scored. `shifted` are the scores on `shifted_documents` of the data set's
    second test split, which looks as nothing in training does; None if it has none, or the record is older.
    `calibration_hash` is that of the training documents that the start has looked at, None if at none. `model_hash` is
    that of the checkpoint that was scored. `finish` is what was done to it when nothing was trained any more, None if
    nothing was. `rate` is the strategy's multiplier of the learning rate on a task, None
    upstream; `learning_rate` the peak of the last training; both None where nothing trains. The curves hold (step,
    validation N-TED accuracy). `dataset_notes` say what to know of the documents, `dataset_options` how they were
    divided and read (``--split``, ``--key-order``), where that is not usual. `seed_changes` and `seed_keeps` say what
    another seed would change of the model's way, and what not. `key` changes
    with everything that would change the result.
    """

    schema_version: Literal[3] = 3
    strategy: str
    summary: str = ""
    paper: str = ""
    paper_name: str | None = None
    reference: bool = False
    dataset: str
    stands_for: str | None = None
    task: Literal["reading", "extraction"]
    scale: str
    teacher: str | None = None
    teacher_changes: dict[str, int | float] = {}
    protocol: ProtocolName
    seed: int
    seed_changes: list[str] = []
    seed_keeps: list[str] = []
    budget: Literal["quick", "full"]
    options: dict[str, str] = {}
    limit: int | None = None
    device: Literal["cpu", "cuda"] = "cpu"
    status: Literal["ok", "failed"]
    error: str | None = None
    package: str | None = None
    source: str | None = None
    dataset_source: str | None = None
    dataset_notes: list[str] = []
    dataset_options: dict[str, str] = {}
    start: str
    start_hash: str | None = None
    calibration_hash: str | None = None
    model_hash: str | None = None
    objective: str | None = None
    constraint: str | None = None
    finish: str | None = None
    optimizer: str | None = None
    rate: float | None = None
    learning_rate: float | None = None
    start_documents: int | None = 0
    teacher_documents: int | None = None
    steps: int
    documents: int
    test_documents: int
    seconds_train: float
    seconds_total: float
    metrics: Metrics | None = None
    shifted: Metrics | None = None
    shifted_documents: int = 0
    efficiency: Efficiency | None = None
    curve: list[tuple[int, float]] = []
    upstream_curve: list[tuple[int, float]] = []
    environment: dict[str, str | int | float] = {}
    key: str

    @property
    def unmeasured(self) -> bool:
        """It is scored, and its costs are not known yet."""
        return self.status == "ok" and self.efficiency is None

    @model_validator(mode="after")
    def _status_says_what_is_there(self) -> Record:
        if self.status == "ok" and (self.metrics is None or self.error is not None):
            raise ValueError("a cell that is ok has metrics and no error")
        if self.status == "failed" and not self.error:
            raise ValueError("a failed cell has an error")
        return self

    @property
    def cell(self) -> str:
        return self._name(self.protocol)

    @property
    def old_cell(self) -> str:
        """The name that versions 1 and 2 gave to its files."""
        return self._name(None)

    def _name(self, protocol: str | None) -> str:
        return cell_name(
            self.strategy, self.dataset, self.scale, protocol, self.budget, self.seed,
            options=self.options, limit=self.limit, device=self.device,
        )  # fmt: skip


class Prediction(_Frozen):
    """What a model read from one document, and the counts that the micro-averaged F1 is the sum of.

    `text` is the decoded string, before it was parsed, `ended` whether the model came to its end (None: an old file
    does not say).
    """

    id: str
    prediction: Json
    ground_truth: Json
    ted: Score
    tp: int
    fn: int
    fp: int
    text: str
    ended: bool | None = None
    failures: list[Failure] = []


def cell_name(
    strategy: str,
    dataset: str,
    scale: str,
    protocol: str | None,
    budget: str,
    seed: int,
    *,
    options: Mapping[str, str] | None = None,
    limit: int | None = None,
    device: str = "cpu",
) -> str:
    """The name of a cell, which is the stem of its files: all that changes a result, no two cells the same.

    Options are in it as ``key=value``, percent-encoded; in a name that would be too long, as their hash. Versions 1 and
    2 knew no protocol: None gives the names of their files.
    """
    cell = [strategy, dataset, scale, *([protocol] if protocol else []), budget]
    chosen = [f"{_encoded(key)}={_encoded(value)}" for key, value in sorted((options or {}).items())]
    rest = [f"limit{limit}"] if limit is not None else []
    rest += [device] if device != "cpu" else []
    rest += [f"seed{seed}"]
    name = "__".join([*cell, *chosen, *rest])
    if chosen and len(name) > _LONGEST_NAME:
        digest = hashlib.sha256("__".join(chosen).encode()).hexdigest()
        name = "__".join([*cell, f"options-{digest}", *rest])
    return name


def _encoded(text: str) -> str:
    """`text` in letters of a file name: it has no "__", and no "_" at an end, which would join with another part."""
    return re.sub(r"(?<![^_])_|_(?![^_])", "%5F", quote(text, safe=""))
