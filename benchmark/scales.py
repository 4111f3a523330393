"""The scales: the same code with other sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from benchmark.errors import UserError

OptimizerName = Literal["muon", "adam"]

TASK_TEACHER = "teaching"
"""The name of the budget that task teachers are made with."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of a Donut: a Swin encoder and an MBART decoder, an adapter between them if `bottleneck`."""

    embed_dim: int
    depths: tuple[int, ...]
    encoder_heads: tuple[int, ...]
    decoder_layers: int
    decoder_width: int
    decoder_ffn: int
    decoder_heads: int
    bottleneck: int | None = None

    @property
    def encoder_width(self) -> int:
        return int(self.embed_dim * 2 ** (len(self.depths) - 1))


@dataclass(frozen=True, slots=True)
class Budget:
    """What every trained row gets: the same documents, in the same order, in batches of the same size.

    Documents are counted each time they are seen: a smaller training split is seen again until they are all spent.
    """

    reading_documents: int
    task_documents: int
    batch: int
    learning_rate: float
    evaluations: int
    """How often the validation split is read while training."""
    save_steps: int = 0
    """After how many steps an unfinished training is kept; 0: never, it takes a minute."""
    optimizer: OptimizerName = "muon"

    def documents(self, task: str) -> int:
        return self.reading_documents if task == "reading" else self.task_documents

    def for_one_training(self) -> Budget:
        """All of it spent on one data set, where nothing is read upstream first."""
        total = self.reading_documents + self.task_documents
        return replace(self, reading_documents=total, task_documents=total)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a user changes of the sizes and budgets that come with a given teacher; None: nothing.

    A batch is seen in `accumulate` parts, at any scale: less memory, and losses that are means over the parts.
    """

    max_tokens: int | None = None
    documents: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    accumulate: int | None = None

    def over(self, processes: int) -> Changes:
        """The same for all of so many processes, each of which sees its share of a batch in `accumulate` parts."""
        return self if processes == 1 else replace(self, accumulate=(self.accumulate or 1) * processes)

    def of(self, budget: Budget) -> Budget:
        """Raises `UserError` for a batch that does not fall into as many parts."""
        batch, parts = self.batch or budget.batch, self.accumulate or 1
        if batch % parts:
            raise UserError(
                f"--accumulate {parts}, or so many processes: "
                f"a batch of {batch} documents does not fall into as many equal parts"
            )
        return replace(
            budget,
            task_documents=self.documents or budget.task_documents,
            batch=batch,
            learning_rate=self.learning_rate or budget.learning_rate,
        )

    @property
    def values(self) -> dict[str, int | float]:
        """What is changed."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        """As a part of the name of a scale: what changes a result is in the name of its cell."""
        return "".join(f"-{name.rpartition('_')[2]}{value!r}" for name, value in self.values.items())


@dataclass(frozen=True, slots=True)
class Scale:
    """Sizes of pages, models, data and training. Pixels, tokens and documents."""

    name: str
    summary: str
    reading: str
    """The data set on which reference models learn to read, and upstream models with them."""
    height: int
    width: int
    patch: int
    window: int
    font_pixels: tuple[int, int]
    """The smallest and the largest font of embedded pages."""
    max_tokens: int
    initial_std: float
    """Of the weights; the usual 0.02 is too small for narrow layers."""
    bridge: bool
    """Whether a norm and 2-D positions lie between encoder and decoder (see `models.donut.Bridge`)."""
    teacher: Architecture
    small: Architecture
    quick: Budget
    full: Budget
    task_teacher: Budget
    """How the reading teacher becomes the teacher of data that the zoo has none for; belongs to no strategy."""
    validation_documents: int
    test_documents: int
    shifted_documents: int
    """Of the second test split, where a data set has one: fewer, since every model reads them beside the test split."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of cells that the encoder returns."""
        cell = self.patch * 2 ** (len(self.teacher.depths) - 1)
        return self.height // cell, self.width // cell

    def budget(self, name: str) -> Budget:
        """``quick``, ``full``, or `TASK_TEACHER`."""
        return {"quick": self.quick, "full": self.full, TASK_TEACHER: self.task_teacher}[name]


FINE_TUNING = Budget(0, 2400, batch=8, learning_rate=3e-5, evaluations=2, save_steps=100, optimizer="adam")
"""A short form of Donut's own (clovaai/donut, config/train_cord.yaml)."""
LONG_FINE_TUNING = replace(FINE_TUNING, task_documents=24_000, evaluations=10, save_steps=250)
"""As many documents as Donut's 30 epochs of the 800 receipts of CORD."""

TINY = Scale(
    name="tiny",
    reading="synthdog-mini",
    summary="96x160 pages, a teacher of 1M weights: two CPU cores, minutes",
    height=96,
    width=160,
    patch=4,
    window=4,
    font_pixels=(10, 12),
    max_tokens=192,
    initial_std=0.1,
    bridge=True,
    teacher=Architecture(48, (1, 3), (1, 2), decoder_layers=4, decoder_width=96, decoder_ffn=320, decoder_heads=3),
    small=Architecture(
        32, (1, 3), (1, 2), decoder_layers=2, decoder_width=64, decoder_ffn=32, decoder_heads=2, bottleneck=8
    ),
    quick=Budget(reading_documents=1280, task_documents=1280, batch=8, learning_rate=2e-2, evaluations=2),
    full=Budget(
        reading_documents=24000, task_documents=16000, batch=8, learning_rate=2e-2, evaluations=10, save_steps=250
    ),
    task_teacher=Budget(
        reading_documents=6400, task_documents=6400, batch=8, learning_rate=1e-2, evaluations=4, save_steps=100
    ),
    validation_documents=40,
    test_documents=100,
    shifted_documents=50,
)

MINI = replace(
    TINY,
    name="mini",
    summary="384x512 pages, a teacher of 17M weights: one GPU, minutes",
    height=384,
    width=512,
    window=8,
    font_pixels=(20, 26),
    max_tokens=384,
    initial_std=0.05,
    teacher=Architecture(
        96, (2, 2, 6), (3, 6, 12), decoder_layers=4, decoder_width=256, decoder_ffn=1024, decoder_heads=8
    ),
    small=Architecture(
        48, (2, 2, 6), (2, 4, 8), decoder_layers=2, decoder_width=192, decoder_ffn=768, decoder_heads=6, bottleneck=48
    ),
    quick=Budget(reading_documents=8000, task_documents=8000, batch=16, learning_rate=1e-2, evaluations=2),
    full=Budget(
        reading_documents=96_000, task_documents=64_000, batch=16, learning_rate=1e-2, evaluations=10, save_steps=500
    ),
    task_teacher=Budget(
        reading_documents=32_000, task_documents=32_000, batch=16, learning_rate=5e-3, evaluations=4, save_steps=500
    ),
    validation_documents=100,
    test_documents=200,
    shifted_documents=100,
)

PAPER = Scale(
    name="paper",
    reading="synthdog-en",
    summary="1280x960 pages, DONUT-base of 200M weights from the hub or --teacher: the paper's own size",
    height=1280,
    width=960,
    patch=4,
    window=10,
    font_pixels=(20, 32),
    max_tokens=768,
    initial_std=0.02,
    bridge=False,
    teacher=Architecture(
        128, (2, 2, 14, 2), (4, 8, 16, 32), decoder_layers=4, decoder_width=1024, decoder_ffn=4096, decoder_heads=16
    ),
    # Swin-T and two layers of BART-small; the paper does not give the width of the adapter: that of Table 1.
    small=Architecture(
        96,
        (2, 2, 6, 2),
        (3, 6, 12, 24),
        decoder_layers=2,
        decoder_width=512,
        decoder_ffn=2048,
        decoder_heads=8,
        bottleneck=192,
    ),
    quick=FINE_TUNING,
    full=LONG_FINE_TUNING,
    task_teacher=LONG_FINE_TUNING,
    validation_documents=100,
    test_documents=100,
    shifted_documents=50,
)

SCALES = {scale.name: scale for scale in (TINY, MINI, PAPER)}
