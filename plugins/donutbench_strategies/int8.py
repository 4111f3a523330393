"""Dynamic int8 quantization: weights of one byte, and inputs rounded as they come. The last step before a CPU.

As in torch's `quantize_dynamic` (Jacob et al. 2018, section 2.1): w = scale x code, symmetric, with a scale for each
output; inputs at every call, from their least to their largest value. All linear layers but the head, which is tied to
the table of tokens; embeddings, norms and the patches' convolution stay float. What differs here: inputs are rounded
to 7 bits on every CPU, so that a score is that of any machine, and the model reads one document at a time.
"""

from collections.abc import Iterator

from benchmark import Int8, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="int8",
        summary="the teacher with linear layers in int8, nothing trained",
        start=reference("teacher"),
        finish=Int8(),
        protocols=("task",),
        paper="Jacob et al. 2018, section 2.1; dynamic, as torch's quantize_dynamic",
    )
