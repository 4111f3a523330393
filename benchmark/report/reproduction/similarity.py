"""Section 4.4: what the paper observes in the CKA of its networks with the teacher, on our networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.metrics.paired import Floats
from benchmark.records.record import Metrics
from benchmark.report import paper
from benchmark.report.columns import number
from benchmark.report.ranking import listed
from benchmark.report.reproduction.study import Study
from benchmark.report.reproduction.verdict import Verdict, above, together
from benchmark.report.rows import Row

NETWORKS = tuple(paper.CKA)
"""Those of Table 5 and Figure 5."""
_BASE, _SMALL, _DISTILLED, _PRUNED, _HOLE = NETWORKS
HIGH = paper.CKA[_HOLE]
"""The lowest similarity in Table 5 that the paper calls high (sec. 4.4.1)."""
SAME = 0.01
"""What prints as the same in the paper's two digits, at most."""

Networks = Mapping[str, Sequence[Metrics]]
"""The checkpoints of each network."""
Value = Callable[[Metrics], float]
Condition = Callable[[Metrics], bool]


@dataclass(frozen=True, slots=True)
class Finding:
    numbers: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Observation:
    """What the paper sees in its `networks`, and how it is judged on ours."""

    text: str
    source: str
    judge: Callable[[Networks], Finding]
    networks: tuple[str, ...] = NETWORKS


def findings(study: Study) -> dict[str, list[Finding | str]]:
    """By data set under the paper's protocol, of each of `OBSERVATIONS` what was found, or what is missing for it."""
    result: dict[str, list[Finding | str]] = {}
    for dataset in study.datasets:
        rows = [row for row in study.rows(dataset, "paper").values() if row.paper_name]
        found = {str(row.paper_name): metrics for row in rows if (metrics := _measured(row))}
        if any(name in found for name in NETWORKS):
            result[dataset] = [_found(observation, found) for observation in OBSERVATIONS]
    return result


def _found(observation: Observation, networks: Networks) -> Finding | str:
    missing = [name for name in observation.networks if name not in networks]
    if missing:
        return f"no CKA of {', '.join(missing)}"
    return observation.judge({name: networks[name] for name in observation.networks})


def _measured(row: Row) -> list[Metrics]:
    """Of the checkpoints that have every number, of layers named as the paper does: constant features have no CKA."""
    found = [record.metrics for record in row.distinct if record.metrics and record.metrics.cka is not None]
    return [metrics for metrics in found if _named(metrics) and np.isfinite(_matrix(metrics)).all()]


def _named(metrics: Metrics) -> bool:
    first = {"enc.0", "dec.0"}
    return first <= set(metrics.layers_student) and first | {"dec.1"} <= set(metrics.layers_teacher)


def _matrix(metrics: Metrics) -> Floats:
    """(student layers, teacher layers)"""
    return np.array(metrics.layerwise, dtype=np.float64)


def _global(metrics: Metrics) -> float:
    assert metrics.cka is not None
    return metrics.cka


def _counterpart(layer: str) -> Value:
    """The CKA of a layer with the teacher's of the same name."""

    def value(metrics: Metrics) -> float:
        row, column = metrics.layers_student.index(layer), metrics.layers_teacher.index(layer)
        return float(_matrix(metrics)[row, column])

    return value


def _last(metrics: Metrics) -> float:
    """The CKA of the last decoder layer with the teacher's last, which may be of another number."""
    return float(_matrix(metrics)[-1, -1])


def _encoder(metrics: Metrics) -> float:
    """The lowest CKA of an encoder layer with its counterpart."""
    return min(_counterpart(name)(metrics) for name in metrics.layers_student if name.startswith("enc"))


def _others(metrics: Metrics) -> list[float]:
    """The CKA of the other layers with their counterparts of the same name."""
    names = [name for name in metrics.layers_student[:-1] if name in metrics.layers_teacher]
    return [_counterpart(name)(metrics) for name in names]


def _block(student: str, teacher: str) -> Value:
    """The mean CKA of the student's layers of one part, `enc` or `dec`, with the teacher's of another."""

    def value(metrics: Metrics) -> float:
        rows = [name.startswith(student) for name in metrics.layers_student]
        columns = [name.startswith(teacher) for name in metrics.layers_teacher]
        return float(_matrix(metrics)[rows][:, columns].mean())

    return value


def _across(metrics: Metrics) -> float:
    return (_block("enc", "dec")(metrics) + _block("dec", "enc")(metrics)) / 2


def _within(metrics: Metrics) -> float:
    return min(_block("enc", "enc")(metrics), _block("dec", "dec")(metrics))


def _apart(metrics: Metrics) -> float:
    """The largest difference between the similarities to the teacher's first two decoder layers."""
    first, second = (metrics.layers_teacher.index(name) for name in ("dec.0", "dec.1"))
    matrix = _matrix(metrics)
    return float(np.abs(matrix[:, first] - matrix[:, second]).max())


def _more(value: Value, ours: str, theirs: str) -> Callable[[Networks], Finding]:
    def judge(networks: Networks) -> Finding:
        found = {name: list(map(value, networks[name])) for name in (ours, theirs)}
        means = (number(float(np.mean(found[name])), 3) for name in (ours, theirs))
        return Finding(" against ".join(means), above(found[ours], found[theirs]))

    return judge


def _most(value: Value, ours: str, sign: int) -> Callable[[Networks], Finding]:
    """Whether one network has the highest (`sign` 1) or the lowest (-1) of all."""

    def judge(networks: Networks) -> Finding:
        signed = {name: [sign * value(one) for one in found] for name, found in networks.items()}
        means = {name: sign * float(np.mean(found)) for name, found in signed.items()}
        others = [name for name in networks if name != ours]
        verdict = together([above(signed[ours], signed[name]) for name in others])
        first = max(others, key=lambda name: sign * means[name])
        return Finding(f"{number(means[ours], 3)}, {first} {number(means[first], 3)}", verdict)

    return judge


def _all(condition: Condition, values: Mapping[str, Value]) -> Callable[[Networks], Finding]:
    """Whether a condition holds in every network; `values` are printed, from the lowest to the highest network."""

    def judge(networks: Networks) -> Finding:
        held = {name: [condition(one) for one in found] for name, found in networks.items()}
        verdict: Verdict = "holds" if all(map(all, held.values())) else "not decided"
        if not all(map(any, held.values())):
            verdict = "does not hold"
        ranges = (f"{name} {_range(get, networks)}" for name, get in values.items())
        return Finding("; ".join([*_fails(held), *ranges]), verdict)

    return judge


def _fails(held: Mapping[str, Sequence[bool]]) -> list[str]:
    """The networks in which something does not hold of every checkpoint, in as few words as name them."""
    yes = [name for name, found in held.items() if all(found)]
    no = [name for name in held if name not in yes]
    if not no:
        return []
    if not yes:
        return ["fails in all"]
    return [f"fails in {listed(no)}" if len(no) <= len(yes) else f"fails in all but {listed(yes)}"]


def _range(value: Value, networks: Networks) -> str:
    means = [float(np.mean(list(map(value, found)))) for found in networks.values()]
    return f"{number(min(means), 2)} to {number(max(means), 2)}"


OBSERVATIONS = (
    Observation(
        f"{_BASE} is the most similar to the teacher",
        "sec. 4.4.1, Table 5",
        _most(_global, _BASE, 1),
    ),
    Observation(
        f"{_PRUNED} is the least similar",
        "sec. 4.4.1, Table 5",
        _most(_global, _PRUNED, -1),
    ),
    Observation(
        f"Distillation brings the pruned network nearer to the teacher ({_HOLE} above {_PRUNED})",
        "sec. 4.4.1, Table 5",
        _more(_global, _HOLE, _PRUNED),
        (_HOLE, _PRUNED),
    ),
    Observation(
        f"{_HOLE} stays below {_SMALL}, although it began from the teacher's weights",
        "sec. 4.4.1, Table 5",
        _more(_global, _SMALL, _HOLE),
        (_HOLE, _SMALL),
    ),
    Observation(
        f"Distillation brings {_SMALL} nearer to the teacher",
        "sec. 4.4.1, Table 5",
        _more(_global, _DISTILLED, _SMALL),
        (_DISTILLED, _SMALL),
    ),
    Observation(
        f"enc.0 and dec.0 are similar to their counterparts in all networks (at least {HIGH})",
        "sec. 4.4.2",
        _all(
            lambda one: min(_counterpart("enc.0")(one), _counterpart("dec.0")(one)) >= HIGH,
            {"enc.0": _counterpart("enc.0"), "dec.0": _counterpart("dec.0")},
        ),
    ),
    Observation(
        "Encoder and decoder layers are dissimilar (less than the layers of either are among themselves)",
        "sec. 4.4.2",
        _all(lambda one: _across(one) < _within(one), {"across": _across, "within": _within}),
    ),
    Observation(
        f"All encoder layers are similar to their counterparts, whatever the backbone (at least {HIGH})",
        "sec. 4.4.2",
        _all(lambda one: _encoder(one) >= HIGH, {"lowest": _encoder}),
    ),
    Observation(
        "The last decoder layer differs most from its counterpart",
        "sec. 4.4.2",
        _all(
            lambda one: _last(one) < min(_others(one)),
            {"last": _last, "lowest other": lambda one: min(_others(one))},
        ),
    ),
    Observation(
        f"The teacher's dec.0 and dec.1 are equally similar to every layer (within {SAME})",
        "sec. 4.4.2",
        _all(lambda one: _apart(one) <= SAME, {"largest difference": _apart}),
    ),
    Observation(
        f"The last decoder layer of {_HOLE} is the least similar of all",
        "sec. 4.4.2, Figure 5e",
        _most(_last, _HOLE, -1),
    ),
    Observation(
        f"Without pruning, distillation makes the last decoder layer more similar ({_DISTILLED} above {_SMALL})",
        "sec. 4.4.2",
        _more(_last, _DISTILLED, _SMALL),
        (_DISTILLED, _SMALL),
    ),
)
