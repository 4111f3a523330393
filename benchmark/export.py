"""A finished cell as a folder of its own, for people who want the model and not the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.errors import UserError
from benchmark.models.checkpoint import Checkpoint, fingerprint, load_checkpoint, save_model
from benchmark.models.donut import beyond_transformers
from benchmark.models.onnx_graphs import write_graphs
from benchmark.plugin.manager import check_known
from benchmark.records.files import read_records, record_path, write_atomically
from benchmark.records.record import Record
from benchmark.records.target import check_new, new_folder
from benchmark.report.card import model_card, onnx_card
from benchmark.running.checkpoints import Checkpoints
from benchmark.types import Precision


def export(directory: Path, cell: str, target: Path, packed: bool = False, onnx: Precision | None = None) -> str | None:
    """Write the model of a cell of the run in `directory` into the folder `target`, with its processor and a card.

    `packed` leaves the zeros out; `onnx` writes graphs for onnxruntime in that precision in place of the weights
    (`benchmark.models.onnx_graphs`). What `transformers` can express it loads from there by itself; else what it cannot
    is returned. Raises `UserError` if there is no such cell, it has no model or one that has no graphs, or there is
    something in `target` already.
    """
    if packed and onnx:
        raise UserError("--packed and --onnx exclude each other: graphs have their zeros")
    record = _find(directory, cell)
    check_new(target)
    folder = Checkpoints(directory).named(cell)
    again = f"remove {record_path(directory, cell)} and run the cell again"
    if not folder.is_dir():
        raise UserError(f"{folder}, the model of the cell, is not there: {again}")
    checkpoint = load_checkpoint(folder)
    if fingerprint(checkpoint.model) != record.model_hash:
        raise UserError(f"{folder} is not the model that was scored: remove it too, {again}")
    beyond = _beyond(checkpoint, packed, onnx)
    with new_folder(target) as whole:
        if onnx is None:
            _write(checkpoint, record, whole, plain=beyond is None, packed=packed)
            card = model_card(record, beyond)
        else:
            write_graphs(checkpoint.model, whole, onnx)
            checkpoint.processor.save_pretrained(str(whole))
            card = onnx_card(record, onnx, checkpoint.model.longest)
        write_atomically(whole / "README.md", card.encode())
    return beyond


def _find(directory: Path, cell: str) -> Record:
    records = {record.cell: record for record in read_records(directory)}
    record = records[check_known("cell", cell, records)]
    if record.status == "failed":
        raise UserError(f"{cell} has no model: it failed: {record.error}")
    return record


def _beyond(checkpoint: Checkpoint, packed: bool, onnx: Precision | None) -> str | None:
    if onnx is not None:
        return "its weights are in graphs for onnxruntime"
    return "its zeros are left out of the file" if packed else beyond_transformers(checkpoint.model)


def _write(checkpoint: Checkpoint, record: Record, target: Path, plain: bool, packed: bool) -> None:
    model, processor = checkpoint.model, checkpoint.processor
    tokens, settings = processor.tokenizer, model.generation_config
    assert settings is not None
    settings.decoder_start_token_id = tokens.convert_tokens_to_ids(f"<s_{record.dataset}>")
    settings.eos_token_id, settings.pad_token_id = tokens.eos_token_id, tokens.pad_token_id
    settings.max_length = model.longest
    settings.forced_eos_token_id = None  # MBART's default cuts the last token of a text that has no end
    save_model(model, target, packed=packed)
    processor.save_pretrained(str(target))
    if plain:  # it was saved by a class that nobody else has
        config = json.loads((target / "config.json").read_text())
        config["architectures"] = ["VisionEncoderDecoderModel"]
        write_atomically(target / "config.json", (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
