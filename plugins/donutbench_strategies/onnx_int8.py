"""ONNX in int8: onnxruntime's dynamic quantization of the graphs of the row `onnx`, beside torch's, the row `int8`.

`onnxruntime.quantization.quantize_dynamic`, a scale for each output of a linear layer, inputs rounded at every call.
All linear layers but the head, which shares the table of tokens; that, norms, attention's products and the patches'
convolution stay float. Weights are rounded to 7 bits: processors without VNNI add up pairs of products in 16 bits,
which two of 8 bits overflow. The model reads one document at a time. Needs the extra: `donutbench[onnx]`. Bytes are
those of both graphs, weights and multiply-accumulates those of the teacher; there is no CKA, for what is rounded stays
within the graphs.
"""

from collections.abc import Iterator

from benchmark import OnnxRuntime, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="onnx-int8",
        summary="the teacher read by onnxruntime with linear layers in int8, nothing trained",
        start=reference("teacher"),
        finish=OnnxRuntime("int8"),
        protocols=("task",),
        paper="Jacob et al. 2018, section 2.1; onnxruntime's quantize_dynamic",
    )
