"""A model that onnxruntime reads for: the tokens of torch's loop, from graphs that need no torch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
import torch
from torch import nn
from transformers import DonutProcessor

from benchmark import UserError, factored, fewer_cells, keep_tokens, sliced
from benchmark.measure import Subject, measure
from benchmark.measure.resident import peak_resident_bytes
from benchmark.models import onnx_graphs, onnx_reader
from benchmark.models.checkpoint import fingerprint, load_model, save_model
from benchmark.models.donut import Donut, beyond_transformers
from benchmark.models.encoded import EncodedDocuments
from benchmark.models.greedy import greedy
from benchmark.models.onnx_graphs import DECODER, ENCODER, names, write_graphs
from benchmark.models.onnx_reader import OnnxReader, reader_of
from benchmark.models.quantized import quantize
from benchmark.models.runtime import check_runtime, runtime_of, set_runtime
from benchmark.records.record import Efficiency
from benchmark.running.cells import with_options
from benchmark.scales import TINY, Changes
from benchmark.scoring.evaluator import Evaluator
from benchmark.scoring.predict import Written
from benchmark.types import Dataset, Precision
from benchmark.zoo.given import open_teacher
from tests.strategies.conftest import OfReceipts

onnxruntime = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
LONGEST, NEVER = 40, 2**31 - 1


@pytest.fixture(scope="module")
def pixels(references: OfReceipts) -> torch.Tensor:
    return references.calibration(6).pixel_values


@pytest.fixture(scope="module")
def start(references: OfReceipts) -> int:
    return int(references.calibration(1).decoder_input_ids[0, 0])


@pytest.fixture(scope="module")
def graphs(references: OfReceipts, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Precision], Path]:
    """The graphs of the shipped teacher; not to be changed."""
    folders: dict[Precision, Path] = {}

    def of(precision: Precision) -> Path:
        if precision not in folders:
            folders[precision] = tmp_path_factory.mktemp(precision)
            write_graphs(references.load("teacher"), folders[precision], precision)
        return folders[precision]

    return of


def computed(model: Donut, precision: Precision = "fp32") -> Donut:
    set_runtime(model, precision)
    return model


def composed(references: OfReceipts) -> Donut:
    """Cut, factored, with some of its tokens."""

    @dataclass(frozen=True)
    class After:
        model: Donut

        def load(self, name: str) -> Donut:
            return self.model

        def calibration(self, count: int, draw: int = 0) -> Any:
            return references.calibration(count, draw)

        def tokens(self, count: int) -> frozenset[int]:
            return references.tokens(count)

    truncated = import_module("donutbench_strategies.low_rank").Truncated()
    model: Any = references.load("teacher")
    for begin in (sliced("heads", 0.9), sliced("layers", 0.75), factored(truncated, 0.8)):
        model = begin(After(model), TINY, 0)
    keep_tokens(model, references.tokens(4))
    return cast(Donut, model)


class TestLoop:
    @pytest.mark.parametrize("ends", [True, False])
    def test_the_tokens_are_those_of_torch(
        self,
        ends: bool,
        graphs: Callable[[Precision], Path],
        references: OfReceipts,
        processor: DonutProcessor,
        pixels: torch.Tensor,
        start: int,
    ) -> None:
        """Receipts end at different steps, so the batch becomes smaller on the way."""
        end, longest = (int(processor.tokenizer.eos_token_id), TINY.max_tokens) if ends else (NEVER, LONGEST)
        expected = greedy(references.teacher, pixels, start, end, longest)
        assert len({row.index(end) for row in expected.tolist()}) > 2 if ends else expected.shape == (6, LONGEST - 1)
        assert torch.equal(OnnxReader(graphs("fp32")).greedy(pixels, start, end, longest), expected)

    def test_a_model_of_other_shapes_and_layers_writes_the_same(
        self, references: OfReceipts, pixels: torch.Tensor, start: int
    ) -> None:
        model = composed(references)
        assert {"shapes", "factored", "kept_tokens"} <= {*vars(model.config)}
        expected = greedy(model, pixels, start, NEVER, LONGEST)
        assert len(expected.unique()) > 5
        assert torch.equal(reader_of(computed(model)).greedy(pixels, start, NEVER, LONGEST), expected)

    def test_other_weights_are_other_graphs(self, references: OfReceipts, pixels: torch.Tensor, start: int) -> None:
        model = computed(references.load("teacher"))
        first = reader_of(model)
        assert reader_of(model) is first
        folder = first.encoder.path.parent
        with torch.no_grad():
            model.decoder.model.decoder.layers[0].fc1.weight.mul_(-1)
        again = reader_of(model)
        assert again is not first
        assert torch.equal(again.greedy(pixels, start, NEVER, 9), greedy(model, pixels, start, NEVER, 9))
        assert not folder.exists()

    def test_it_has_as_many_threads_as_torch(self, graphs: Callable[[Precision], Path]) -> None:
        reader, before = OnnxReader(graphs("fp32")), torch.get_num_threads()
        found = []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                found.append(reader.decoder.session.get_session_options().intra_op_num_threads)
        finally:
            torch.set_num_threads(before)
        assert found == [1, 2]


class TestGraphs:
    @torch.no_grad()
    def test_the_decoder_alone_gives_the_logits_of_torch(
        self, graphs: Callable[[Precision], Path], references: OfReceipts, pixels: torch.Tensor
    ) -> None:
        folder, model = graphs("fp32"), references.teacher
        encoder, decoder = (onnxruntime.InferenceSession(folder / name) for name in (ENCODER, DECODER))
        inputs = references.calibration(3).decoder_input_ids[:, :12]
        expected = model(pixel_values=pixels[:3], decoder_input_ids=inputs, use_cache=False).logits
        layers = len(model.decoder.model.decoder.layers)
        page = dict(zip(names("page", layers), encoder.run(None, {"pixels": pixels[:3].numpy()}), strict=True))
        past = {name: np.zeros((3, 3, 0, 32), np.float32) for name in names("past", layers)}
        for place in range(inputs.shape[1]):
            logits, *present = decoder.run(None, {"tokens": inputs[:, place].numpy(), **page, **past})
            past = dict(zip(past, present, strict=True))
            torch.testing.assert_close(torch.from_numpy(logits), expected[:, place], rtol=1e-4, atol=1e-3)
        assert [output.name for output in decoder.get_outputs()] == ["logits", *names("present", layers)]

    def test_int8_is_close_and_a_third_of_the_bytes(
        self, graphs: Callable[[Precision], Path], references: OfReceipts, pixels: torch.Tensor, start: int
    ) -> None:
        whole, small = (OnnxReader(graphs(precision)) for precision in ("fp32", "int8"))
        assert small.bytes < 0.45 * whole.bytes
        (expected,) = greedy(references.teacher, pixels[:1], start, NEVER, LONGEST).tolist()
        (found,) = small.greedy(pixels[:1], start, NEVER, LONGEST).tolist()
        assert sum(a == b for a, b in zip(found, expected, strict=True)) > 0.8 * len(expected)

    def test_int8_leaves_the_table_and_the_head_and_shares_them(self, graphs: Callable[[Precision], Path]) -> None:
        model = onnx.load(graphs("int8") / DECODER)
        kinds = [weight.data_type for weight in model.graph.initializer if 143 in weight.dims]
        assert kinds == [onnx.TensorProto.FLOAT]
        integers = [node for node in model.graph.node if node.op_type == "MatMulInteger"]
        assert len(integers) == 4 * 8

    def test_layers_without_a_graph_are_told(self, references: OfReceipts, tmp_path: Path) -> None:
        model = references.load("teacher")
        model.decoder.model.decoder.layers[0].self_attn = nn.Identity()
        with pytest.raises(UserError, match="not made of MBART's own layers, and has no graph"):
            write_graphs(model, tmp_path, "fp32")
        fewer = fewer_cells("ink", 0.5)(references, TINY, 0)
        assert isinstance(fewer, Donut)
        with pytest.raises(UserError, match=r"cells alone, and what chooses them has no graph$"):
            write_graphs(fewer, tmp_path, "fp32")
        other = references.load("teacher")
        quantize(other)
        with pytest.raises(UserError, match=r"torch's int8 ones, which no graph has: take a model of floats$"):
            write_graphs(other, tmp_path, "int8")
        assert not [*tmp_path.iterdir()]

    def test_without_the_extra_it_says_how(self, monkeypatch: pytest.MonkeyPatch, model: Donut, tmp_path: Path) -> None:
        monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None)
        with pytest.raises(UserError, match=r"^ONNX needs onnx and onnxruntime: pip install 'donutbench\[onnx\]'$"):
            write_graphs(model, tmp_path, "fp32")


class TestCheckpoint:
    def test_the_runtime_is_kept(self, model: Donut, processor: DonutProcessor, tmp_path: Path) -> None:
        plain = fingerprint(model)
        save_model(computed(model, "int8"), tmp_path / "model")
        processor.save_pretrained(str(tmp_path / "model"))
        again = load_model(tmp_path / "model")
        assert runtime_of(again) == "int8"
        assert fingerprint(again) == fingerprint(model) != plain
        assert beyond_transformers(again) is not None
        with pytest.raises(UserError, match="has a runtime of its own, which nothing trains or compresses"):
            open_teacher(str(tmp_path / "model"), Changes())

    @pytest.mark.parametrize(
        ("runtime", "wanted"),
        [
            ("onnxruntime", "for runtime, and not onnxruntime with a precision"),
            ({"name": "tvm", "precision": "fp32"}, "for runtime, and not onnxruntime with a precision"),
            ({"name": "onnxruntime", "precision": "fp32", "x": 1}, "for runtime, and not onnxruntime"),
            ({"name": "onnxruntime", "precision": ["int8"]}, "not fp32 or int8"),
        ],
    )
    def test_another_runtime_is_refused(self, runtime: Any, wanted: str, model: Donut) -> None:
        with pytest.raises(ValueError, match=wanted):
            check_runtime(model, runtime)

    def test_int8_of_torch_has_none(self, model: Donut) -> None:
        quantize(model)
        with pytest.raises(ValueError, match="torch's int8 ones, which onnxruntime cannot compute"):
            set_runtime(model, "int8")

    def test_elsewhere_than_on_the_cpu_it_is_refused(self, model: Donut) -> None:
        computed(model)
        with pytest.raises(UserError, match=r"^onnxruntime computes on the CPU here, and not on meta: use "):
            reader_of(cast(Any, model).to("meta"))


def test_costs_are_measured_as_those_of_any_model(
    references: OfReceipts,
    processor: DonutProcessor,
    graphs: Callable[[Precision], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def copy(model: Donut, folder: Path, precision: Precision) -> None:
        """The graphs that are there already, of the same teacher."""
        for name in (ENCODER, DECODER):
            shutil.copy(graphs(precision) / name, folder)

    monkeypatch.setattr(onnx_reader, "write_graphs", copy)
    monkeypatch.setattr("benchmark.measure.apart", lambda device: nullcontext())
    page = torch.full((1, TINY.height, TINY.width), 255, dtype=torch.uint8)

    def subject(precision: Precision | None = None) -> Subject:
        model = references.load("teacher").train(False)
        return Subject(computed(model, precision) if precision else model, processor, page, "<s_receipts-mini>", 12)

    loads: dict[str, Callable[[], Subject]] = {
        "torch": subject,
        "fp32": partial(subject, "fp32"),
        "int8": partial(subject, "int8"),
    }
    found = {name: costs for name, costs in measure(subject(), loads, 3).items() if isinstance(costs, Efficiency)}
    assert [*found] == [*loads]
    assert len({costs.computation for costs in found.values()}) == 3
    assert len({costs.macs for costs in found.values()}) == 1
    for costs in found.values():
        assert costs.latency_ratio is not None
        assert {*costs.timings} == {"whole", "encoder", "first_token", "per_token"}
        assert 0 < costs.timings["encoder"].p50.value < costs.timings["first_token"].p50.value
    for precision in get_args(Precision):
        files = sum((graphs(precision) / name).stat().st_size for name in (ENCODER, DECODER))
        assert (found[precision].size_dense_bytes, found[precision].size_packed_bytes) == (files, files)
        assert found[precision].peak_memory_bytes is None


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells")
def test_memory_is_that_of_the_graphs_alone(
    graphs: Callable[[Precision], Path], pixels: torch.Tensor, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(folder: Path) -> Donut:
        raise AssertionError("no torch model is loaded")

    monkeypatch.setattr("benchmark.measure.resident.load_model", load)
    assert isinstance(peak_resident_bytes(graphs("fp32"), pixels[:1], start, 4), int)


@pytest.mark.parametrize(
    ("module", "name", "precision"), [("onnx", "onnx", "fp32"), ("onnx_int8", "onnx-int8", "int8")]
)
def test_a_row_is_the_teacher_and_what_reads_for_it(
    module: str, name: str, precision: Precision, references: OfReceipts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = import_module(f"donutbench_strategies.{module}").donutbench_register_strategies()
    assert (row.name, row.protocols, row.objective) == (name, ("task",), None)
    assert str(row.finish) == f"onnxruntime in {precision}"
    model = row.finish(row.start(references, TINY, 0))
    assert runtime_of(model) == precision
    assert runtime_of(references.teacher) is None
    monkeypatch.setattr(onnx_graphs, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'donutbench\[onnx\]'$"):
        row.finish(row.start(references, TINY, 0))
    with pytest.raises(UserError, match="unknown precision of onnxruntime 'int4'"):
        with_options([row], {"precision": "int4"})


@pytest.mark.parametrize("precision", get_args(Precision))
def test_features_are_compared_where_torch_has_them(
    precision: Precision, references: OfReceipts, datasets: dict[str, Dataset], processor: DonutProcessor,
    receipts: EncodedDocuments,
) -> None:  # fmt: skip
    few = receipts.head(6)
    evaluator = Evaluator(datasets["receipts-mini"], processor, few, few.ground_truths, TINY.max_tokens)
    evaluator.compare_with(references.teacher)
    nothing = [Written("", True)] * len(few)
    metrics, _ = evaluator.score(computed(references.load("teacher"), precision), nothing)
    assert metrics.cka == (pytest.approx(1.0) if precision == "fp32" else None)
