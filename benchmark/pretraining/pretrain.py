"""Makes the zoo: the reference checkpoints of a scale, each with the recipe that made it.

The order is that of the paper: reference models learn to read, copies of the teacher learn each task, and the
compressed models learn to read from the teacher (`benchmark.pretraining.upstream`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from transformers import DonutProcessor

from benchmark.devices import move
from benchmark.errors import UserError
from benchmark.models.balance import balance
from benchmark.models.checkpoint import load_model, load_processor, point_to_processor, save_model
from benchmark.models.donut import Donut, build
from benchmark.models.encoded import encode_documents
from benchmark.models.processor import build_processor, prompt_of
from benchmark.plugin.documents import open_documents
from benchmark.plugin.manager import check_known
from benchmark.pretraining.auxiliary import CellReader
from benchmark.pretraining.loss import PretrainingLoss
from benchmark.pretraining.upstream import make_upstream
from benchmark.records.lock import held
from benchmark.running.protocols.paper import learns_upstream
from benchmark.scales import Scale
from benchmark.scoring.predict import mean_ted
from benchmark.training.journal import Journal
from benchmark.training.trainer import Documents, EverySteps, Schedule, train
from benchmark.types import Dataset, Strategy
from benchmark.zoo.store import RECIPE, UPSTREAM, Zoo, write_recipe

_CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one checkpoint of the zoo is made.

    `documents` distinct training documents are seen in `steps` batches. The first `encoder_share` of the steps
    train the encoder alone to name the character in each cell; then both auxiliary losses fade, to nothing after
    `aided_share`.
    """

    name: str
    dataset: str
    architecture: str
    documents: int
    steps: int
    batch: int
    learning_rate: float
    start: str | None = None
    encoder_share: float = 0.29
    aided_share: float = 0.85
    shift: int = 3
    seed: int = 0


_TEACHERS = {
    "tiny": Recipe("teacher", "", "teacher", documents=48_000, steps=6_000, batch=8, learning_rate=2e-2),
    # Letters are twice as large.
    "mini": Recipe("teacher", "", "teacher", documents=96_000, steps=6_000, batch=32, learning_rate=1e-2, shift=6),
}
"""How each scale's teacher learns to read."""


def recipes(scale: Scale, tasks: Sequence[str]) -> tuple[Recipe, ...]:
    """The checkpoints of a scale. `none` sees 1/22 of the teacher's documents, as 0.5M are of 11M.

    Raises `UserError` for a scale whose teacher comes from elsewhere.
    """
    if scale.name not in _TEACHERS:
        raise UserError(f"--scale {scale.name}: its teacher is not made here; {' and '.join(_TEACHERS)} are")
    teacher = replace(_TEACHERS[scale.name], dataset=scale.reading)
    none = replace(teacher, name="none", documents=teacher.documents // 22, steps=1_800)
    small = replace(teacher, name="small", architecture="small", steps=3_200)
    downstream = replace(
        teacher,
        start="teacher",
        documents=teacher.documents * 2 // 15,
        steps=800,
        encoder_share=0.0,
        aided_share=0.5,
        learning_rate=teacher.learning_rate / 2,
    )
    return (
        teacher,
        none,
        small,
        *(replace(downstream, name=f"{task}/teacher", dataset=task) for task in tasks),
    )


def pretrain(
    scale: Scale,
    datasets: Sequence[Dataset],
    strategies: Sequence[Strategy],
    output: Path,
    work: Path,
    only: Sequence[str] = (),
    device: torch.device = _CPU,
) -> list[Path]:
    """Make the checkpoints of the zoo that are not there yet, in `output`; unfinished ones go on from `work`.

    First the references, then what each of `strategies` becomes upstream. `UserError` for an unknown name in `only`,
    and if another process writes into one of the folders.
    """
    with held(output), held(work):
        return _pretrain(scale, datasets, strategies, output, work, only, device)


def _pretrain(
    scale: Scale,
    datasets: Sequence[Dataset],
    strategies: Sequence[Strategy],
    output: Path,
    work: Path,
    only: Sequence[str],
    device: torch.device,
) -> list[Path]:
    by_name = {dataset.name: dataset for dataset in datasets}
    tasks = [dataset.name for dataset in datasets if dataset.task == "extraction"]
    plan = {recipe.name: recipe for recipe in recipes(scale, tasks)}
    readers = {f"{UPSTREAM}/{strategy.name}": strategy for strategy in strategies if learns_upstream(strategy)}
    for name in only:
        check_known("checkpoint", name, [*plan, *readers])
    processor, made = _processor(scale, datasets, output), []
    for name in [*plan, *readers]:
        if (output / name / RECIPE).is_file() or (only and name not in only):
            continue
        if name in plan:
            _make(plan[name], scale, by_name[plan[name].dataset], processor, output, work / name, device)
        else:
            make_upstream(readers[name], by_name, Zoo(output, scale), work, device)
        made.append(output / name)
    return made


def _processor(scale: Scale, datasets: Sequence[Dataset], output: Path) -> DonutProcessor:
    """The processor that the zoo began with, so that its checkpoints agree on what a token is."""
    if (output / "tokenizer.json").is_file():
        return load_processor(output)
    processor = build_processor(scale, datasets)
    processor.save_pretrained(str(output))
    return processor


def _make(
    recipe: Recipe,
    scale: Scale,
    dataset: Dataset,
    processor: DonutProcessor,
    output: Path,
    work: Path,
    device: torch.device,
) -> None:
    # Rendering is plain Python: a process a core.
    documents = open_documents(dataset, scale, "train", recipe.seed, recipe.documents)
    pages = encode_documents(documents, processor, scale.max_tokens, jobs=os.cpu_count() or 1, points=True)
    validation = encode_documents(
        open_documents(dataset, scale, "validation", 0, scale.validation_documents), processor, scale.max_tokens
    )
    model = _beginning(recipe, scale, processor, output)
    model.cell_reader = CellReader(model.encoder.config.hidden_size, len(processor.tokenizer))
    move(model, device)
    journal = Journal.open(work / "journal.json")
    prompt = processor.tokenizer.convert_tokens_to_ids(prompt_of(dataset))
    loss = PretrainingLoss(
        scale=scale,
        processor=processor,
        prompt=prompt,
        steps=recipe.steps,
        encoder_share=recipe.encoder_share,
        aided_share=recipe.aided_share,
        shift=recipe.shift,
        seed=recipe.seed,
    )

    def look(step: int) -> None:
        ted = mean_ted(model, processor, validation, dataset, scale.max_tokens)
        journal.add(step, ted)
        print(f"{recipe.name}: step {step}, validation N-TED {ted:.3f}, {journal.seconds:.0f} s", flush=True)

    schedule = Schedule(
        recipe.steps,
        recipe.batch,
        recipe.learning_rate,
        recipe.seed,
        save_steps=max(1, recipe.steps // 20),
    )
    train(model, Documents(pages), schedule, loss, recipe.name, work, [EverySteps(look, 10)])
    del model.cell_reader
    model.generation_config.forced_eos_token_id = None
    balance(model)
    save_model(model, output / recipe.name, half=True)
    point_to_processor(output / recipe.name, output)
    write_recipe(output / recipe.name, {"recipe": asdict(recipe)}, journal.curve, journal.seconds, device)
    shutil.rmtree(work, ignore_errors=True)


def _beginning(recipe: Recipe, scale: Scale, processor: DonutProcessor, output: Path) -> Donut:
    if recipe.start is not None:
        return load_model(output / recipe.start)
    architecture = scale.small if recipe.architecture == "small" else scale.teacher
    return build(scale, architecture, len(processor.tokenizer), recipe.seed)
