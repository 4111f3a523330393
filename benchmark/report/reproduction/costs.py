"""What DONUT-hole saves in weights and in time, beside what the paper says of it."""

from __future__ import annotations

from benchmark.report import paper
from benchmark.report.against import METHOD
from benchmark.report.latency import RATIO, control_sentence
from benchmark.report.reproduction.study import Study
from benchmark.report.rows import Row, efficiency

_TEACHER = paper.SYSTEMS[0]


def costs(study: Study) -> list[str]:
    """A section of Markdown lines, of the first data set: the weights are as many on all. Nothing without sizes."""
    for rows in study.settings.values():
        named = {row.paper_name: row for row in rows.values() if row.values(efficiency("params_nonzero"))}
        if _TEACHER in named and METHOD in named:
            teacher, hole = named[_TEACHER], named[METHOD]
            return ["### Size and speed", "", _size(teacher, hole), "", *_speed(teacher, hole)]
    return []


def _size(teacher: Row, hole: Row) -> str:
    whole, kept = (paper.PARAMETERS[paper.CONFIGURATIONS[name]] for name in (_TEACHER, METHOD))
    return (
        "The abstract says that the model's density falls by 54 %. By Table 1 the weights fall by "
        f"{_fall(kept.total, whole.total)} ({whole.total}M to {kept.total}M), those outside the embeddings by "
        f"{_fall(kept.nonembedding, whole.nonembedding)}. Here they fall by {_fall(_weights(hole), _weights(teacher))} "
        f"and {_fall(_nonzero(hole), _nonzero(teacher))}."
    )


def _fall(kept: float, whole: float) -> str:
    return f"{100 * (1 - kept / whole):.0f} %"


def _nonzero(row: Row) -> float:
    return row.mean(efficiency("params_nonzero")) or 0.0


def _weights(row: Row) -> float:
    return _nonzero(row) + (row.mean(efficiency("params_embedding")) or 0.0)


def _speed(teacher: Row, hole: Row) -> list[str]:
    """It is no faster if it computes as much, or takes longer; faster only if the whole interval says so."""
    if hole.mean(efficiency("latency_ratio")) is None:
        return []
    highest = max(hole.values(efficiency("latency_ratio_high")), default=1.0)
    same = hole.mean(efficiency("macs")) == teacher.mean(efficiency("macs"))
    why = " and computes as much: its zeros are stored and multiplied like other weights" if same else ""
    return [
        "Sec. 2.2 says that pruning by magnitude 'increases the speed'. That "
        f"{'holds' if highest < 1 else 'does not hold'} here: DONUT-hole takes {RATIO.text(hole)} of its teacher's "
        f"time{why}. {control_sentence([teacher, hole])}".strip(),
        "",
    ]
