"""A composition with fewer bytes than DONUT-hole, better and faster: a cut, its recovery, int8 on onnxruntime.

`lora-recovery` takes a quarter of the parameters out by Taylor scores and recovers with low-rank updates, which leave
what is left near the teacher; then onnxruntime reads for it, with linear layers of one byte. Each brings what the
others do not: the cut fewer bytes and products, the updates the score, int8 most of the bytes, the runtime the time.

It was chosen on the validation documents of both tasks (protocol ``task``, seed 0, 40 documents each), of what is
small enough in int8 graphs to have fewer bytes than DONUT-hole. N-TED there, on receipts and parcels:

=========================  ========  =======
                           receipts  parcels
=========================  ========  =======
lora-recovery              0.959     0.951
structured-ffn-distill     0.947     0.934
homodistil                 0.937     0.931
distil-whisper             0.916     0.902
structured-layers-distill  0.910     0.909
(prune-distill)            0.912     0.917
=========================  ========  =======
"""

from collections.abc import Iterator
from dataclasses import replace

from benchmark import OnnxRuntime, Strategy, hookimpl
from donutbench_strategies.lora_recovery import RECOVERED


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield replace(
        RECOVERED,
        name="lora-recovery-onnx-int8",
        summary="feed-forward units cut by Taylor scores, low-rank updates distilled, then int8 on onnxruntime",
        finish=OnnxRuntime("int8"),
        paper="a composition of lora-recovery and onnx-int8",
    )
