"""Checkpoints: a folder with safetensors weights, a config and a processor. Nothing is unpickled or executed."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import DonutProcessor, VisionEncoderDecoderConfig
from transformers.utils import logging

from benchmark.errors import OutputError, UserError
from benchmark.models.donut import Donut
from benchmark.models.packed import METADATA, dense_state, packed_state, unpacked

WEIGHTS = "model.safetensors"
PACKED = "packed.safetensors"
_TIED = "decoder.lm_head.weight"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model and the processor that it was trained with."""

    model: Donut
    processor: DonutProcessor


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a Donut folder in float32. `UserError` if something in it is missing or broken."""
    return Checkpoint(load_model(path), load_processor(path))


def load_model(path: str | Path) -> Donut:
    """Load the weights of a folder, dense or packed, in float32. `UserError` as for `load_checkpoint`."""
    folder = Path(path)
    read = next((read for name, read in _READERS.items() if (folder / name).is_file()), None)
    if read is None:
        raise UserError(f"{folder} is no checkpoint: it has no {WEIGHTS}")
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        config = VisionEncoderDecoderConfig.from_pretrained(str(folder), local_files_only=True)
        model, missing = read(folder, config)
    except Exception as error:  # transformers raises a dozen kinds for a broken file
        raise UserError(f"cannot load the checkpoint {folder}: {_first_line(error)}") from error
    finally:
        if bar:
            logging.enable_progress_bar()
    missing = sorted(name for name in missing if name != _TIED)
    if missing:
        raise UserError(f"the checkpoint {folder} lacks {len(missing)} weights: {missing[0]}, ...")
    model.train(False)
    return model


def _read_dense(folder: Path, config: VisionEncoderDecoderConfig) -> tuple[Donut, list[str]]:
    loaded: Any = Donut.from_pretrained(
        str(folder),
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
    )
    model, report = cast(tuple[Donut, dict[str, list[str]]], loaded)
    return model, report["missing_keys"]


def _read_packed(folder: Path, config: VisionEncoderDecoderConfig) -> tuple[Donut, list[str]]:
    model = Donut(config)
    state = unpacked(load_file(folder / PACKED), model)
    # Copied into the float32 parameters; tied weights stay tied.
    report = model.load_state_dict(state, strict=False)
    if report.unexpected_keys:
        raise ValueError(f"{report.unexpected_keys[0]} has no place in the model")
    return model, report.missing_keys


_READERS = {WEIGHTS: _read_dense, PACKED: _read_packed}


def load_processor(path: str | Path) -> DonutProcessor:
    """The processor of a folder; the checkpoints of a zoo share the one beside them."""
    folder = Path(path)
    for place in (folder, folder.parent, folder.parent.parent):
        if (place / "tokenizer.json").is_file():
            try:
                processor: DonutProcessor = DonutProcessor.from_pretrained(str(place), local_files_only=True)
                return processor
            except Exception as error:  # as above
                raise UserError(f"cannot load the processor of {place}: {_first_line(error)}") from error
    raise UserError(f"{folder} is no checkpoint: it has no tokenizer.json")


def save_model(model: Donut, folder: Path, half: bool = False, packed: bool = False) -> None:
    """Write weights and config, the folder appearing only when it is whole.

    `half` stores float16; `packed` leaves the zeros out, which only `load_model` reads.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    dtype = torch.float16 if half else torch.float32
    try:
        part.mkdir(parents=True)
        if packed:
            model.config.save_pretrained(str(part))
            save_file(packed_state(model, dtype), part / PACKED, METADATA)
        else:
            model.save_pretrained(str(part), state_dict=dense_state(model, dtype))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write the checkpoint {folder}: {reason}") from error
    finally:
        if bar:
            logging.enable_progress_bar()


def fingerprint(model: Donut) -> str:
    """A hash of the weights, the same wherever and whenever they are loaded."""
    digest = hashlib.sha256()
    for name, value in sorted(dense_state(model).items()):
        digest.update(name.encode())
        digest.update((value.float() + 0.0).numpy().tobytes())  # a weight of minus zero is a zero
    return digest.hexdigest()[:16]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
