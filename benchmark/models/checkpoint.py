"""Checkpoints: a folder with safetensors weights, a config and a processor. Nothing is unpickled or executed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, DonutProcessor, VisionEncoderDecoderConfig

from benchmark.errors import OutputError, UserError, first_line
from benchmark.models.donut import Donut
from benchmark.models.hub import find_checkpoint
from benchmark.models.packed import METADATA, VALUES, dense_state, packed_state, unpacked
from benchmark.models.quantized import int8_layers, unusable_scales
from benchmark.models.requirements import check_pages, check_processor
from benchmark.models.runtime import runtime_of
from benchmark.models.shapes import check_shapes
from benchmark.models.shards import check_shards
from benchmark.progress import silent
from benchmark.records.files import read_json, write_atomically

WEIGHTS = "model.safetensors"
SHARDS = f"{WEIGHTS}.index.json"
PACKED = "packed.safetensors"
POINTER = "processor.json"
_TOKENIZER = "tokenizer.json"
_PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt")
_KINDS = ("vision-encoder-decoder", "donut-swin", "mbart")
_HEAD = "decoder.lm_head.weight"
_DERIVED = re.compile(r"(^|\.)(relative_position_index|attn_mask|position_ids)$")
"""Buffers that follow from the config; whether they are stored depends on the version that saved the model."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model and the processor that it was trained with."""

    model: Donut
    processor: DonutProcessor


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Load a Donut folder, or hub id, in float32. `UserError` if something in it is missing or broken."""
    folder = find_checkpoint(path)
    model, processor = load_model(folder), load_processor(folder)
    check_pages(folder, model.config, processor)
    return Checkpoint(model, processor)


def load_config(folder: Path) -> VisionEncoderDecoderConfig:
    """The config of a Donut. Raises `UserError` if it cannot be read or is another model's."""
    try:
        with silent():
            config: Any = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises a dozen kinds for a broken file
        raise UserError(f"cannot load the checkpoint {folder}: {first_line(error)}") from error
    parts = [config, *(getattr(config, part, None) for part in ("encoder", "decoder"))]
    kinds = [getattr(part, "model_type", None) for part in parts]
    if kinds != [*_KINDS]:
        found = " of ".join(filter(None, [str(kinds[0]), " and ".join(map(str, filter(None, kinds[1:])))]))
        raise UserError(
            f"{folder} is no Donut, which is a {_KINDS[0]} of {_KINDS[1]} and {_KINDS[2]}, as what is fine-tuned from "
            f"naver-clova-ix/donut-base: it is a {found}"
        )
    return cast(VisionEncoderDecoderConfig, config)


def check_weights(folder: Path) -> None:
    """Raise `UserError` if there are no weights that can be read."""
    _reader(folder)


def load_model(path: str | Path) -> Donut:
    """Load the weights of a folder, dense or packed, in float32. `UserError` as for `load_checkpoint`."""
    folder = Path(path)
    read = _reader(folder)
    config = load_config(folder)
    try:
        with silent():
            model, misfits = read(folder, config)
            if getattr(config, "shapes", None):
                check_shapes(model)
            _check_codes(folder, model)
    except Exception as error:  # transformers raises a dozen kinds for a broken file
        raise UserError(f"cannot load the checkpoint {folder}: {first_line(error)}") from error
    tied = model.decoder.lm_head.weight is model.decoder.get_input_embeddings().weight
    _refuse(folder, "lacks {}", (name for name in misfits.missing if name != _HEAD or not tied))
    _refuse(folder, "has {} that its config has no place for", misfits.unexpected)
    _refuse(folder, "has {} of another shape than its config says", misfits.mismatched)
    _refuse(folder, "has {} that cannot be a scale", unusable_scales(model))
    model.train(False)
    return model


def _without_weights(folder: Path) -> str:
    if not any(path for pattern in _PICKLES for path in folder.glob(pattern)):
        return f"{folder} is no checkpoint: it has no {WEIGHTS}"
    load_config(folder)  # of what is no Donut there is nothing to convert
    target = f"{folder.resolve().name}-safetensors"
    convert = (
        "from transformers import DonutProcessor, VisionEncoderDecoderModel; "
        f"[kind.from_pretrained({str(folder)!r}).save_pretrained({target!r}) "
        "for kind in (VisionEncoderDecoderModel, DonutProcessor)]"
    )
    return f'{folder} has its weights as a pickle, which is not opened here; this converts them: python -c "{convert}"'


@dataclass(frozen=True, slots=True)
class _Misfits:
    """Names of weights: only in the model, only in the file, in both but of different shapes."""

    missing: Iterable[str]
    unexpected: Iterable[str]
    mismatched: Iterable[str]


def _refuse(folder: Path, what: str, names: Iterable[str]) -> None:
    wrong = sorted(name for name in names if not _DERIVED.search(name))
    if wrong:
        count, more = ("1 weight", "") if len(wrong) == 1 else (f"{len(wrong)} weights", ", ...")
        raise UserError(f"the checkpoint {folder} {what.format(count)}: {wrong[0]}{more}")


def _check_codes(folder: Path, model: Donut) -> None:
    """Raise `ValueError` for what is not int8 in the place of int8 weights: it would have been cut off in loading."""
    codes = {f"{name}.weight" for name in int8_layers(model)}
    for file in folder.glob("*.safetensors") if codes else ():
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 # it is no mapping
                if name.removesuffix(VALUES) in codes and (kind := tensors.get_slice(name).get_dtype()) != "I8":
                    raise ValueError(f"{name} is {kind}, not I8 as its config says")


def _read_dense(folder: Path, config: VisionEncoderDecoderConfig) -> tuple[Donut, _Misfits]:
    loaded: Any = Donut.from_pretrained(
        str(folder),
        config=config,
        dtype=torch.float32,
        local_files_only=True,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # they are told in one line
        output_loading_info=True,
    )
    model, report = cast(tuple[Donut, dict[str, Any]], loaded)
    mismatched = [name for name, *_ in report["mismatched_keys"]]
    return model, _Misfits(report["missing_keys"], report["unexpected_keys"], mismatched)


def _read_packed(folder: Path, config: VisionEncoderDecoderConfig) -> tuple[Donut, _Misfits]:
    model = Donut(config)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    state = unpacked(load_file(folder / PACKED), model)
    mismatched = [name for name, value in state.items() if value.shape != shapes.get(name, value.shape)]
    fitting = {name: value for name, value in state.items() if name not in mismatched}
    # Copied into the float32 parameters; tied weights stay tied.
    report = model.load_state_dict(fitting, strict=False)
    missing = set(report.missing_keys) - set(mismatched)
    return model, _Misfits(missing, report.unexpected_keys, mismatched)


_READERS = {WEIGHTS: _read_dense, SHARDS: _read_dense, PACKED: _read_packed}


def _reader(folder: Path) -> Callable[[Path, VisionEncoderDecoderConfig], tuple[Donut, _Misfits]]:
    """What reads its weights. Raises `UserError` if there are none that can be read."""
    name = next((name for name in _READERS if (folder / name).is_file()), None)
    if name is None:
        raise UserError(_without_weights(folder))
    if name == SHARDS:
        check_shards(folder / SHARDS)
    return _READERS[name]


def load_processor(path: str | Path) -> DonutProcessor:
    """The processor of a folder, or the one that the folder's ``processor.json`` points to.

    Raises `UserError` if it is missing or broken, or no Donut's (`check_processor`).
    """
    place = place_of_processor(Path(path))
    try:
        with silent():
            # Where torchvision is installed transformers would take it, which resizes by another rule than Donut's.
            # Code of its own is refused: without a word transformers would ask the user whether to run it.
            processor: DonutProcessor = DonutProcessor.from_pretrained(
                str(place), backend="pil", local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # as above
        raise UserError(f"cannot load the processor of {place}: {first_line(error)}") from error
    check_processor(place, processor)
    return processor


def place_of_processor(folder: Path) -> Path:
    """Where the processor of a checkpoint lies. Raises `UserError` if there is none."""
    if (folder / _TOKENIZER).is_file():
        return folder
    pointer = folder / POINTER
    if not pointer.is_file():
        raise UserError(f"{folder} is no checkpoint: it has no {_TOKENIZER}")
    try:
        place = Path(read_json(pointer, "JSON")["processor"])
    except (KeyError, TypeError) as error:
        raise UserError(f'{pointer} is not {{"processor": FOLDER}}: {first_line(error)}') from error
    if place.is_absolute():
        raise UserError(f"{pointer} names {place}, but a checkpoint can move: it takes a relative path")
    if not (folder / place / _TOKENIZER).is_file():
        raise UserError(f"{pointer} points to {place}, where there is no {_TOKENIZER}")
    return folder / place


def point_to_processor(folder: Path, place: Path) -> None:
    """Let the checkpoint in `folder` share the processor in `place`; both can be moved together."""
    where = Path(os.path.relpath(place, folder)).as_posix()
    write_atomically(folder / POINTER, (json.dumps({"processor": where}) + "\n").encode())


def save_model(model: Donut, folder: Path, half: bool = False, packed: bool = False) -> None:
    """Write weights and config, the folder appearing only when it is whole.

    `half` stores float16; `packed` leaves the zeros out, which only `load_model` reads.
    """
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    dtype = torch.float16 if half else torch.float32
    try:
        part.mkdir(parents=True)
        if packed:
            model.config.save_pretrained(str(part))
            save_file(packed_state(model, dtype), part / PACKED, METADATA)
        else:
            with silent():
                model.save_pretrained(str(part), state_dict=dense_state(model, dtype))
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    except (OSError, SafetensorError, UnicodeEncodeError) as error:  # the last for a path that is not UTF-8
        shutil.rmtree(part, ignore_errors=True)
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write the checkpoint {folder}: {reason}") from error


def fingerprint(model: Donut) -> str:
    """A hash of the weights, and of a runtime; the same wherever and whenever they are loaded."""
    digest = hashlib.sha256((runtime_of(model) or "").encode())
    for name, value in sorted(dense_state(model).items()):
        digest.update(name.encode())
        digest.update((value.float() + 0.0).numpy().tobytes())  # a weight of minus zero is a zero
    return digest.hexdigest()[:16]
