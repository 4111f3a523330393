"""Greedy decoding by onnxruntime, from graphs that are made of a model when it reads its first page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmark.errors import UserError
from benchmark.models.donut import Donut
from benchmark.models.greedy import written_by
from benchmark.models.onnx_graphs import DECODER, ENCODER, check_installed, write_graphs
from benchmark.models.runtime import runtime_of
from benchmark.types import Precision

Values = dict[str, Any]
"""`onnxruntime.OrtValue`s by the names that they have in a graph."""


class Graph(nn.Module):
    """A graph that onnxruntime computes on the CPU, on as many threads as torch. Calls can be hooked."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._threads = 0
        self._session: Any = None

    @property
    def session(self) -> Any:
        """An `onnxruntime.InferenceSession`, opened anew for another number of threads."""
        if self._threads != torch.get_num_threads():
            self._threads = torch.get_num_threads()
            self._session = _open(self.path, self._threads)
            self._made = [output.name for output in self._session.get_outputs()]
        return self._session

    def forward(self, given: Values) -> Values:
        # Values stay where they are: as arrays, all keys and values would be copied at every step.
        made = self.session.run_with_ort_values(self._made, given)
        return dict(zip(self._made, made, strict=True))


def _open(path: Path, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxReader:
    """Reads pages with the two graphs of a folder (`benchmark.models.onnx_graphs`), which stays there meanwhile."""

    def __init__(self, folder: Path) -> None:
        """Raises `UserError` if onnxruntime is not installed."""
        check_installed()
        self.encoder, self.decoder = Graph(folder / ENCODER), Graph(folder / DECODER)

    @property
    def bytes(self) -> int:
        """Of both files."""
        return sum(graph.path.stat().st_size for graph in (self.encoder, self.decoder))

    @torch.inference_mode()
    def greedy(self, pixels: torch.Tensor, start: int, end: int, longest: int) -> torch.Tensor:
        """As `benchmark.models.greedy.greedy`, of pixels on the CPU."""
        return written_by(_Decoder(self, pixels), pixels, start, end, longest)


class _Decoder:
    """A `benchmark.models.greedy.Decoder`."""

    def __init__(self, reader: OnnxReader, pixels: torch.Tensor) -> None:
        self._page: Values = reader.encoder({"pixels": _value(pixels.numpy())})
        self._past: Values = {
            given.name: _value(np.empty((len(pixels), given.shape[1], 0, given.shape[3]), np.float32))
            for given in reader.decoder.session.get_inputs()
            if given.name.startswith("past.")
        }
        self._decode = reader.decoder

    def step(self, tokens: torch.Tensor, step: int) -> torch.Tensor:
        given = {"tokens": _value(tokens.numpy())}
        logits, *present = self._decode(given | self._page | self._past).values()
        self._past = dict(zip(self._past, present, strict=True))
        return torch.from_numpy(logits.numpy()).argmax(-1)

    def keep(self, rows: torch.Tensor) -> None:
        chosen = rows.numpy()
        self._page, self._past = (
            {name: _value(value.numpy()[chosen]) for name, value in values.items()}
            for values in (self._page, self._past)
        )


def _value(array: NDArray[Any]) -> Any:
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


@dataclass(frozen=True, slots=True)
class _Made:
    """The graphs of a model, in a folder that goes with it, and what they were made of."""

    folder: TemporaryDirectory[str]
    reader: OnnxReader
    of: tuple[Precision, Sequence[tuple[int, int]]]
    weights: Sequence[torch.Tensor]
    """Held, or new ones could have the numbers of these."""


_MADE: WeakKeyDictionary[Donut, _Made] = WeakKeyDictionary()


def reader_of(model: Donut) -> OnnxReader:
    """What reads for a model that has a runtime, of its weights as they are. Making it takes some seconds.

    Raises `UserError` as `write_graphs`.
    """
    precision = runtime_of(model)
    assert precision is not None
    if model.device.type != "cpu":
        raise UserError(f"onnxruntime computes on the CPU here, and not on {model.device.type}: use --device cpu")
    weights = [*model.state_dict(keep_vars=True).values()]
    of = precision, [(id(weight), 0 if weight.is_inference() else weight._version) for weight in weights]
    made = _MADE.get(model)
    if made is None or made.of != of:
        folder = TemporaryDirectory(prefix="donutbench-onnx-")
        write_graphs(model, Path(folder.name), precision)
        made = _MADE[model] = _Made(folder, OnnxReader(Path(folder.name)), of, weights)
    return made.reader
