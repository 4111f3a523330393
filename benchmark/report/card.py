"""The model card of an exported checkpoint, from its record alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from benchmark.folders.folder import FROM_FOLDER
from benchmark.records.record import Efficiency, Record
from benchmark.report.latency import told, with_interval
from benchmark.report.shifted import SHIFTED
from benchmark.types import Precision

_PLAIN = """\
```python
from transformers import DonutProcessor, VisionEncoderDecoderModel

model = VisionEncoderDecoderModel.from_pretrained(FOLDER)
processor = DonutProcessor.from_pretrained(FOLDER)
pixels = processor(image.convert("RGB"), return_tensors="pt").pixel_values
text = processor.tokenizer.decode(model.generate(pixels)[0, 1:])  # without the prompt
processor.token2json(text.split(processor.tokenizer.eos_token)[0])
```"""
_OURS = """\
`transformers` alone cannot express this model: {why}. With donutbench installed:

```python
from benchmark import load_checkpoint

checkpoint = load_checkpoint(FOLDER)
model, processor = checkpoint.model, checkpoint.processor
```

or `python -m benchmark predict FOLDER page.png --dataset {dataset}`."""
_ONNX = """\
`encoder.onnx` gives the keys and values of a page to every layer of the decoder, `decoder.onnx` writes one token.
With numpy, onnxruntime and transformers, which has the processor, installed:

```python
import numpy as np
from onnxruntime import InferenceSession
from transformers import DonutProcessor

encoder, decoder = (InferenceSession(f"{{FOLDER}}/{{name}}.onnx") for name in ("encoder", "decoder"))
processor = DonutProcessor.from_pretrained(FOLDER)
tokenizer = processor.tokenizer
pixels = processor(image.convert("RGB"), return_tensors="np").pixel_values
page = dict(zip([output.name for output in encoder.get_outputs()], encoder.run(None, {{"pixels": pixels}})))
given = [value for value in decoder.get_inputs() if value.name.startswith("past.")]
past = {{value.name: np.zeros((1, value.shape[1], 0, value.shape[3]), np.float32) for value in given}}
tokens = [tokenizer.convert_tokens_to_ids("<s_{dataset}>")]
while tokens[-1] != tokenizer.eos_token_id and len(tokens) < {longest}:
    logits, *present = decoder.run(None, {{"tokens": np.array(tokens[-1:], np.int64), **page, **past}})
    past = dict(zip(past, present))
    tokens.append(int(logits[0].argmax()))
text = tokenizer.decode(tokens[1:])  # without the prompt
processor.token2json(text.split(tokenizer.eos_token)[0])
```

{computed} The scores and costs below were measured with {reading}."""
_COMPUTED = {
    "fp32": "The graphs compute what the model in torch does, up to rounding.",
    "int8": "Linear layers but the head have weights of one byte, and round what they read at every call.",
}


def model_card(record: Record, beyond: str | None) -> str:
    """Markdown: what the model is, how to load it, what it scored and costs, and how it was made.

    `beyond` says what of it `transformers` cannot express, None if that loads the folder by itself.
    """
    if beyond is None:
        return _card(record, "transformers", _PLAIN)
    return _card(record, "donutbench", _OURS.format(why=beyond, dataset=record.dataset))


def onnx_card(record: Record, precision: Precision, longest: int) -> str:
    """As `model_card`, of graphs for onnxruntime that write at most `longest` tokens, the prompt included."""
    finish = record.finish or ""
    reading = finish if finish.startswith("onnxruntime") else "torch"
    facts = {"dataset": record.dataset, "longest": longest, "computed": _COMPUTED[precision], "reading": reading}
    return _card(record, "onnx", _ONNX.format(**facts))


def _card(record: Record, library: str, loading: str) -> str:
    return "\n".join(
        [
            "---",
            f"library_name: {library}",
            "tags: [donut, document-understanding, compression]",
            "---",
            "",
            f"# {record.strategy} on {record.dataset}",
            "",
            f"{record.start}; protocol {record.protocol}, scale {record.scale}. Its prompt is `<s_{record.dataset}>`.",
            "The licence is yours to choose: it depends on the checkpoint and the documents that this was made from.",
            "",
            "## Load it",
            "",
            loading,
            "",
            "## Scores",
            "",
            *_scores(record),
            "",
            "## Costs",
            "",
            *(_costs(record.efficiency) if record.efficiency else ["Not measured."]),
            "",
            "## How it was made",
            "",
            *_making(record),
            "",
        ]
    )


def _scores(record: Record) -> Iterator[str]:
    assert record.metrics is not None
    yield f"On {record.test_documents} test documents of {record.dataset}, seed {record.seed}:"
    yield ""
    yield f"- N-TED accuracy: {record.metrics.ted:.3f}"
    yield f"- field F1: {record.metrics.f1:.3f}"
    if record.metrics.cka is not None:
        yield f"- CKA with the teacher: {record.metrics.cka:.3f}"
    if record.shifted is not None:
        yield f"- N-TED accuracy on {record.shifted_documents} shifted documents: {record.shifted.ted:.3f}. {SHIFTED}"


def _costs(costs: Efficiency) -> Iterator[str]:
    yield f"- parameters: {costs.params_total:,}, {costs.params_nonzero:,} of them not zero and no embeddings"
    packed = f"{costs.size_packed_bytes / 1e6:.2f} MB without zeros"
    yield f"- size: {costs.size_dense_bytes / 1e6:.2f} MB as it is, {packed}"
    if costs.macs is not None:
        yield f"- multiply-accumulates a document: {costs.macs / 1e6:.0f} M"
    if costs.latency_ratio is not None and costs.latency_ms_p50 is not None:
        ratio = with_interval(costs.latency_ratio, costs.latency_ratio_low, costs.latency_ratio_high)
        yield f"- latency: {costs.latency_ms_p50:.0f} ms" + (f", {ratio} x the teacher's" if told(costs) else "")


def _making(record: Record) -> Iterator[str]:
    yield "```"
    yield shlex.join(["python", "-m", "benchmark", "run", *_options(record)])
    yield "```"
    yield ""
    if record.objective is not None:
        yield f"- objective: {record.objective}"
    if record.constraint is not None:
        yield f"- constraint: {record.constraint}"
    if record.finish is not None:
        yield f"- at the end: {record.finish}"
    yield f"- documents in training: {record.documents:,}, in {record.steps:,} steps"
    if record.teacher_documents is not None:
        yield f"- before it the teacher was fine-tuned on {record.teacher_documents:,} documents of {record.dataset}"
    yield from (f"- of the documents: {note}" for note in record.dataset_notes)
    yield from (f"- {name}: {value}" for name, value in sorted(record.environment.items()))
    source = record.source or ""
    strategy = Path(source).name if source.endswith(".py") else source
    yield f"- {record.package}; the strategy: {strategy}; the data set: {record.dataset_source}"


def _options(record: Record) -> Iterator[str]:
    """Of the command that made it, paths as names alone."""
    yield from ("--strategies", record.strategy)
    of_folder = (record.dataset_source or "").startswith(FROM_FOLDER)
    yield from ("--data", f"{record.dataset}=DIR") if of_folder else ("--datasets", record.dataset)
    for name, text in record.dataset_options.items():
        yield from (f"--{name}", text)
    # What is changed of a scale is in its name too.
    scale = record.scale.partition("-")[0]
    yield from ("--scale", scale) if record.teacher is None else ("--teacher", record.teacher)
    for name, value in record.teacher_changes.items():
        yield from (f"--{name.replace('_', '-')}", f"{value!r}")
    yield from ("--protocol", record.protocol, "--budget", record.budget, "--seeds", str(record.seed))
    for name, text in sorted(record.options.items()):
        yield from ("--set", f"{name}={text}")
    if record.limit is not None:
        yield from ("--limit", str(record.limit))
    if record.device != "cpu":
        yield from ("--device", record.device)
    if record.source and record.source.endswith(".py"):
        yield from ("--plugin", Path(record.source).name)
