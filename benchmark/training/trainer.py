"""The training loop: Donut's cosine schedule with warm-up and clipping, by `transformers.Trainer`.

One loop makes the zoo and trains every strategy; they differ in the loss that they hand in.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from benchmark.devices import precision
from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.encoded import EncodedDocuments
from benchmark.processes import from_first, leads, processes
from benchmark.progress import Bar, silent
from benchmark.scales import OptimizerName
from benchmark.training.kept import newest_whole
from benchmark.training.mechanics import Mechanics
from benchmark.training.optimizers import OPTIMIZERS

Batch = dict[str, torch.Tensor]
Loss = Callable[[Donut, Batch, float], torch.Tensor]
"""(model, batch, share of the training that is done) -> loss."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast. `seed` as in `TrainingArguments`; `save_steps` 0 saves nothing; `warmup` None is what the
    optimizer's own recipe has.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int = 0
    warmup: float | None = None
    save_steps: int = 0
    clip: float = 1.0
    optimizer: OptimizerName = "muon"


class _OneDevice(TrainingArguments):
    """Where its model is: `Trainer` would split a batch over all GPUs in sight, where cells are spread over them."""

    @property
    def n_gpu(self) -> int:
        return min(1, int(super().n_gpu))


class Documents(TorchDataset[dict[str, Any]]):
    """Documents to train on, in batches of their `rows`, pages, labels and points.

    An item is only an index and a range as long as the document's labels, by which documents of like length come
    into one batch; `collate` cuts what belongs to tokens to the longest of the batch. With `rows` they are these
    of the pages, some maybe several times.
    """

    def __init__(self, pages: EncodedDocuments, rows: Sequence[int] | None = None) -> None:
        self._pages = pages
        self._rows = range(len(pages)) if rows is None else rows
        self._lengths = (pages.labels != -100).sum(1).tolist()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self._rows[index]
        return {"index": row, "input_ids": range(self._lengths[row])}

    def collate(self, items: list[dict[str, Any]]) -> Batch:
        rows = torch.tensor([item["index"] for item in items])
        longest = max(len(item["input_ids"]) for item in items)
        pages = self._pages
        return {
            "rows": rows,
            "pages": pages.pages[rows],
            "labels": pages.labels[rows, :longest],
            "points": pages.points[rows, :longest],
        }


class _WholeBatches(Sampler[int]):
    """Documents of like length in batches, without those that fill none, whatever parts batches are seen in.

    It is drawn by the first process: others may have drawn other numbers for their parts. The first epoch's order
    follows from how the training was seeded. Those of later ones follow from `seed` and the epoch alone, or a training
    that goes on, which has not drawn what came before, would begin its epoch in another order.
    """

    def __init__(self, documents: TorchDataset[dict[str, Any]], batch: int, seed: int) -> None:
        self._order = LengthGroupedSampler(batch, dataset=documents)
        self._count = len(self._order) // batch * batch
        self._seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate before each."""
        if epoch > 0:
            self._order.generator = torch.Generator().manual_seed((self._seed << 32) + epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(from_first(lambda: list(islice(iter(self._order), self._count))))

    def __len__(self) -> int:
        return self._count


class _Loop(Trainer):
    """`Trainer` with a loss from outside."""

    def __init__(self, loss: Loss, losses: list[float], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._loss = loss
        self._losses = losses
        self._parts: list[float] = []
        self.model_accepts_loss_kwargs = False  # or it would leave the mean over the parts of a batch to the loss

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * processes()
        documents: Any = self.train_dataset
        return _WholeBatches(documents, batch, self.args.seed)

    def compute_loss(self, model: Any, inputs: Batch, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = self._loss(model, inputs, self.state.global_step / self.state.max_steps)
        # Over all processes, so that all see at one step that it is not finite.
        self._parts.append(float(self.accelerator.reduce(loss.detach(), "mean")))
        if not math.isfinite(self._parts[-1]):
            # What is kept led here: the next attempt begins anew, and cannot slip past this step.
            if leads():
                shutil.rmtree(str(self.args.output_dir), ignore_errors=True)
            step = self.state.global_step + 1
            raise FloatingPointError(f"the loss of step {step} of {self.state.max_steps} is {self._parts[-1]}")
        if len(self._parts) == self.args.gradient_accumulation_steps:
            self._losses.append(fmean(self._parts))
            self._parts.clear()
        return loss


_PLAIN = Mechanics()


def train(
    model: Donut,
    documents: Documents,
    schedule: Schedule,
    loss: Loss,
    title: str,
    folder: Path,
    callbacks: list[TrainerCallback],
    mechanics: Mechanics = _PLAIN,
) -> list[float]:
    """Train in place and return the loss of each step; goes on from the newest whole checkpoint in `folder`, if any.

    A loss that is not finite ends it at once: raises `FloatingPointError` with the step (from 1) and empties `folder`.
    All processes of a launch train the model together. Raises `UserError` if they cannot share a batch.
    """
    eager_attention(model)
    if mechanics.checkpointing:
        _recompute(model, True)
    losses: list[float] = []
    bar = Bar(title, losses)
    loop = _Loop(
        loss,
        losses,
        model=model,
        args=_arguments(schedule, folder, model.device.type, mechanics),
        train_dataset=documents,
        data_collator=documents.collate,
        callbacks=[*callbacks, bar],
        optimizers=(OPTIMIZERS[schedule.optimizer].make(model, schedule.learning_rate), None),
    )
    loop.remove_callback(PrinterCallback)
    try:
        with silent():
            before = from_first(lambda: newest_whole(folder))
            loop.train(resume_from_checkpoint=None if before is None else str(before))
    finally:
        bar.stop()
        _unwrap(model)
        if mechanics.checkpointing:
            _recompute(model, False)
    return losses


def _unwrap(model: torch.nn.Module) -> Callable[..., object] | None:
    """Take away what accelerate puts around a model to train in lower precision; it reads as its weights are."""
    vars(model).pop("_original_forward", None)
    forward: Callable[..., object] | None = vars(model).pop("forward", None)
    return forward


def _recompute(model: Donut, activations: bool) -> None:
    """Whether the backward pass computes activations again; transformers is about to rename what says so."""
    action = f"checkpointing_{'enable' if activations else 'disable'}"
    switch: Any = getattr(model, f"activation_{action}", None) or getattr(model, f"gradient_{action}")
    switch(*([{"use_reentrant": False}] if activations else []))


def eager_attention(model: Donut) -> None:
    """On CPU the fused attention's backward pass in bfloat16 takes half of a whole training step."""
    model.decoder.set_attn_implementation("eager")


def _arguments(schedule: Schedule, folder: Path, device: str, mechanics: Mechanics) -> TrainingArguments:
    warmup = OPTIMIZERS[schedule.optimizer].warmup if schedule.warmup is None else schedule.warmup
    share = _share(schedule.batch)
    return _OneDevice(
        output_dir=str(folder),
        max_steps=schedule.steps,
        per_device_train_batch_size=share // mechanics.parts(share),
        gradient_accumulation_steps=mechanics.parts(share),
        learning_rate=schedule.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=int(warmup * schedule.steps),
        max_grad_norm=schedule.clip,
        seed=schedule.seed,
        bf16=precision(device) == torch.bfloat16,
        use_cpu=device == "cpu",
        save_strategy="steps" if schedule.save_steps else "no",
        save_steps=schedule.save_steps or 500,
        save_total_limit=2,  # the one before, should the newest lack its end
        logging_strategy="steps" if mechanics.board else "no",
        logging_steps=1,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_drop_last=True,
        dataloader_pin_memory=False,
        # A loss of the logits has a gradient for every parameter: nobody has to look for others at each step.
        ddp_find_unused_parameters=False,
    )


def _share(batch: int) -> int:
    """How many documents of a batch each process sees."""
    if batch % processes():
        raise UserError(f"a batch of {batch} documents does not fall into equal parts for {processes()} processes")
    return batch // processes()


class EverySteps(TrainerCallback):
    """Calls `action(step)` `times` times during a training, evenly, the last time at its end.

    The model is then as it will be afterwards: what it reads, it reads in the precision of its weights.
    """

    def __init__(self, action: Callable[[int], None], times: int) -> None:
        self._action = action
        self._times = times

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **with_: Any) -> None:
        passed = state.global_step * self._times // state.max_steps
        if passed == (state.global_step - 1) * self._times // state.max_steps:
            return
        model: torch.nn.Module = with_["model"]
        wrapped = _unwrap(model)
        try:
            self._action(state.global_step)
        finally:
            if wrapped is not None:
                model.__dict__["forward"] = wrapped
