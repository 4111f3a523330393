"""ONNX: the teacher's weights as they are, read by onnxruntime instead of torch. The runtime alone, as a control.

Two graphs are exported with `torch.onnx.export`: an encoder that gives the keys and values of the page to every layer
of the decoder, and a decoder that writes one token with a cache. The loop around them is the harness's own, and the
threads are as many as torch's. Scores are those of torch up to its rounding. Needs the extra: `donutbench[onnx]`. Bytes
are those of both graphs; weights, multiply-accumulates and CKA are of the torch model that they are made of.
"""

from collections.abc import Iterator

from benchmark import OnnxRuntime, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="onnx",
        summary="control: the teacher read by onnxruntime in floats, nothing trained",
        start=reference("teacher"),
        finish=OnnxRuntime(),
        protocols=("task",),
    )
