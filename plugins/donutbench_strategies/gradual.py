"""Gradual magnitude pruning: the mask grows while the model is distilled (Zhu and Gupta 2017, section 3, equation 1).

From a sparsity of s_i, here 0, to that of Table 1, s_f, it is s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3 after
step t; the smallest of all weights go, and what is gone stays gone. What differs from prune-distill is when they go:
out of a model that has learnt to do without the ones before. The paper prunes every layer to the same sparsity; here
layers are compared with each other, as in DONUT-hole. The ramp takes the first half of a training: what is left has to
recover in the other.
"""

from collections.abc import Iterator

from benchmark import Cubic, CubicMask, FeatureDistillation, Strategy, hookimpl, reference


@hookimpl
def donutbench_register_strategies() -> Iterator[Strategy]:
    yield Strategy(
        name="gradual",
        summary="the teacher, distilled while its smallest weights go on a cubic schedule",
        start=reference("teacher"),
        objective=FeatureDistillation(temperature=2.0),
        constraint=CubicMask(target="paper-table", schedule=Cubic(end=0.5)),
        paper="Zhu and Gupta 2017, section 3",
        protocols=("task",),
    )
