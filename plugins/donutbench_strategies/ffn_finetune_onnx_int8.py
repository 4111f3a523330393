"""The composition that beats DONUT-hole on score, bytes and time at once: a mild cut, fine-tuning, int8 on onnxruntime.

A tenth of the parameters, the feed-forward units that matter least by Taylor scores, is all that has to go for int8
graphs to have fewer bytes than DONUT-hole packed. What is left is so near the teacher that the ground truth, at an
eighth of the rate, teaches it more than the teacher could; onnxruntime brings the time.

It was chosen on the validation documents of both tasks (protocol ``task``, seed 0, 40 documents each). N-TED there, on
receipts and parcels, all read by onnxruntime in int8 but DONUT-hole:

====================================================  ========  =======
                                                      receipts  parcels
====================================================  ========  =======
cut to 0.9, fine-tuned, rate 0.125                    0.979     0.982
cut to 0.9, low-rank updates distilled, rate 1        0.975     0.984
cut to 0.9, distilled, rate 0.125                     0.975     0.982
cut to 0.85, low-rank updates distilled, rate 1       0.969     0.967
`lora-recovery-onnx-int8`: cut to 0.75                0.958     0.962
(prune-distill)                                       0.912     0.917
====================================================  ========  =======
"""

from collections.abc import Iterator

from benchmark import CrossEntropy, OnnxRuntime, Strategy, hookimpl, sliced


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="ffn-finetune-onnx-int8",
        summary="a few feed-forward units cut by Taylor scores, fine-tuned, then int8 on onnxruntime",
        start=sliced("ffn", ratio=0.9, importance="taylor", documents=10),
        objective=CrossEntropy(),
        finish=OnnxRuntime("int8"),
        protocols=("task",),
        task_rate=0.125,
        paper="a composition of a cut by Taylor scores (Molchanov et al. 2019), dense-finetune and onnx-int8",
    )
