"""Score against cost: where each row lies, how sure it is that nothing is better and cheaper, and the tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.metrics.front import Estimate, Standing, front, hypervolume, log_normal, standings
from benchmark.metrics.paired import RESAMPLES, Bootstrap, Floats, Sample
from benchmark.records.files import write_atomically
from benchmark.records.record import Record
from benchmark.report.against import Teds, matrices
from benchmark.report.columns import Field, csv_text, escaped, markdown, number, rounded
from benchmark.report.latency import latency_ratio, with_interval
from benchmark.report.rows import Get, Row, Setting, by_setting, efficiency, metric

COSTS: Mapping[str, Get] = {
    "nonzero weights": efficiency("params_nonzero"),
    "packed bytes": efficiency("size_packed_bytes"),
    "multiply-accumulates": efficiency("macs"),
    "latency": latency_ratio,
}
_TED = metric("ted")
_KEYS = ("params_nonzero", "size_packed", "macs", "latency_ratio")
_NOTES = (
    "Each cost is a share of the teacher's, to a thousandth: less is an accident of which weights happen to be zero. "
    "Weights are the non-embedding ones. Latency is the measured ratio, with its 95 % interval; models that compute "
    "the same have one. Beside a cost stands the bootstrap probability that no other row of the table dominates the "
    "row: has at least its N-TED accuracy and at most that cost, and is better in one of them. In brackets is the row "
    "that dominates it most often, and how often. A resample draws test documents, the same for all rows, the "
    "checkpoints of each row, and latencies from a log-normal as wide as their intervals. Of a row of one checkpoint "
    "it does not say what another seed would give. Rows may differ in what they trained on, which is in the table.",
    "The hypervolume is the area between the front and the reference point, N-TED accuracy 0 at the teacher's cost: "
    "the mean over all shares of the teacher's cost of the best accuracy that is to be had for it.",
)


@dataclass(frozen=True, slots=True)
class Point:
    """A row's cost as a share of the teacher's and its score, each with an interval where there is one.

    `standing` counts places in the list of points that it is in; None where nobody knows how documents were read.
    """

    row: Row
    cost: Estimate
    score: Estimate
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class Plane:
    """The rows of a family against one cost. `front` has the places of points that no other dominates by the means."""

    points: tuple[Point, ...]
    hypervolume: Estimate | None

    @property
    def front(self) -> list[int]:
        return front([point.score.value for point in self.points], [point.cost.value for point in self.points])


def families(records: Sequence[Record]) -> dict[Setting, list[Row]]:
    """The rows that differ at most in strategy and options, each once."""
    found: dict[Setting, dict[str, Row]] = {}
    for setting, rows in by_setting(records).items():
        own = found.setdefault(setting._replace(options=()), {})
        for row in rows:
            own.setdefault(label(row), row)
    return {family: list(rows.values()) for family, rows in found.items()}


def label(row: Row) -> str:
    """The strategy and its options."""
    return " ".join([row.strategy, *(f"{name}={value}" for name, value in sorted(row.records[0].options.items()))])


def has_front(rows: Sequence[Row]) -> bool:
    """Whether there is more than the teacher to be compared."""
    return any(sum(share is not None for share in shares(rows, cost)) > 1 for cost in COSTS.values())


def has_standings(rows: Sequence[Row], teds: Teds) -> bool:
    """Whether it is known how documents were read by the teacher and others."""
    return sum(score is not None for score in _scores(rows, teds)) > 1


def shares(rows: Sequence[Row], cost: Get) -> list[Estimate | None]:
    """The cost of each row as a share of the teacher's; None for what is not known, or has no score."""
    teacher = next(filter(None, (row.mean(cost) for row in rows if row.reference)), None)
    found = _latencies(rows) if cost is latency_ratio else [_share(row.mean(cost), teacher) for row in rows]
    return [share if teacher and row.mean(_TED) is not None else None for row, share in zip(rows, found, strict=True)]


def _share(own: float | None, teacher: float | None) -> Estimate | None:
    if own is None or not teacher:
        return None
    share = max(0.001, round(own / teacher, 3))
    return Estimate(share, share, share)


def _latencies(rows: Sequence[Row]) -> list[Estimate | None]:
    """Of what computes the same that of the first row, for it may have been timed again in another run."""
    found: dict[str, Estimate | None] = {}
    for row in rows:
        found.setdefault(_computation(row), _latency(row))
    return [found[_computation(row)] for row in rows]


def _computation(row: Row) -> str:
    known = [record.efficiency.computation for record in row.scored if record.efficiency]
    return next(filter(None, known), label(row))


def _latency(row: Row) -> Estimate | None:
    value = row.mean(latency_ratio)
    lows, highs = (row.values(efficiency(f"latency_ratio_{end}")) for end in ("low", "high"))
    return None if value is None else Estimate(value, min(lows, default=value), max(highs, default=value))


def planes(rows: Sequence[Row], teds: Teds) -> dict[str, Plane]:
    """The rows of a family against each cost that more than one of them has."""
    scores = [_resampled(row, found) for row, found in zip(rows, _resamples(rows, teds), strict=True)]
    found = {}
    for name, cost in COSTS.items():
        known = [(row, share, *of) for row, share, of in zip(rows, shares(rows, cost), scores, strict=True) if share]
        if len(known) > 1:
            found[name] = _plane([(row, share, score, draws) for row, share, score, draws in known if score])
    return found


def _resamples(rows: Sequence[Row], teds: Teds) -> list[Floats | None]:
    """The mean score (resamples,) of each row that read what the reference has read."""
    scores = _scores(rows, teds)
    documents = next((score.shape[1] for score in scores if score is not None), 0)
    bootstrap = Bootstrap(documents) if documents else None
    return [
        bootstrap.sample(score, label(row)).resampled if bootstrap and score is not None else None
        for row, score in zip(rows, scores, strict=True)
    ]


def _scores(rows: Sequence[Row], teds: Teds) -> list[Floats | None]:
    reference = [row for row in rows if row.reference][:1]
    return matrices([*rows, *reference], teds)[: len(rows)]


def _resampled(row: Row, draws: Floats | None) -> tuple[Estimate | None, Floats | None]:
    mean = row.mean(_TED)
    if mean is None or draws is None:
        return None if mean is None else Estimate(mean, mean, mean), None
    return Estimate(mean, *Sample(mean, draws).interval), draws


def _plane(known: Sequence[tuple[Row, Estimate, Estimate, Floats | None]]) -> Plane:
    """Rows whose documents are known come first: standings are among them."""
    ordered = sorted(known, key=lambda one: one[3] is None)
    drawn = [draws for *_, draws in ordered if draws is not None]
    costs = _cost_draws([cost for _, cost, _, draws in ordered if draws is not None])
    stand: list[Standing | None] = [*standings(drawn, costs)] if drawn else []
    stand += [None] * (len(ordered) - len(drawn))
    points = [Point(row, cost, score, own) for (row, cost, score, _), own in zip(ordered, stand, strict=True)]
    return Plane(tuple(points), _volume(points[: len(drawn)], drawn, costs) if drawn else None)


def _cost_draws(costs: Sequence[Estimate]) -> list[Floats]:
    """(resamples,) of each; equal estimates are one measurement, and drawn once."""
    draws = np.random.default_rng(1)
    found: dict[Estimate, Floats] = {}
    for cost in costs:
        if cost not in found:
            exact = cost.low == cost.high
            found[cost] = np.full(RESAMPLES, cost.value) if exact else log_normal(cost, draws)
    return [found[cost] for cost in costs]


def _volume(points: Sequence[Point], scores: Sequence[Floats], costs: Sequence[Floats]) -> Estimate:
    (value,) = hypervolume(
        [np.full(1, point.score.value) for point in points], [np.full(1, point.cost.value) for point in points]
    )
    found = Sample(float(value), hypervolume(scores, costs))
    return Estimate(found.value, *found.interval)


def write_fronts(directory: Path, records: Sequence[Record], teds: Teds) -> list[Path]:
    """Write ``tables/front.md`` and ``.csv`` of what can be compared on the same documents; nothing if nothing can.

    Raises `UserError` if a file cannot be written.
    """
    found = {family: planes(rows, teds) for family, rows in families(records).items()}
    found = {family: own for family, own in found.items() if any(plane.hypervolume for plane in own.values())}
    if not found:
        return []
    lines = ["# Score against cost", "", *(line for note in _NOTES for line in (note, ""))]
    for family, own in found.items():
        lines += [f"## {escaped(family.title)}", "", _table(own), "", _volumes(own), ""]
    table = [fields for family, own in found.items() for fields in _fields(family, own)]
    texts = {"front.md": "\n".join(lines), "front.csv": csv_text(table, _header())}
    for name, text in texts.items():
        write_atomically(directory / "tables" / name, text.encode())
    return [directory / "tables" / name for name in sorted(texts)]


def _by_row(found: Mapping[str, Plane]) -> list[dict[str, tuple[Point, Plane]]]:
    """For each row that has a standing, the best first, where it is against each cost."""
    rows: dict[str, dict[str, tuple[Point, Plane]]] = {}
    for cost, plane in found.items():
        for point in plane.points:
            if point.standing:
                rows.setdefault(label(point.row), {})[cost] = point, plane
    return sorted(rows.values(), key=lambda own: -next(iter(own.values()))[0].score.value)


def _table(found: Mapping[str, Plane]) -> str:
    cells = []
    for own in _by_row(found):
        point, _ = next(iter(own.values()))
        costs = [text for cost in found for text in (_texts(*own[cost]) if cost in own else ("", ""))]
        name = label(point.row) + (" (reference)" if point.row.reference else "")
        score = f"{number(point.score.value, 3)} [{number(point.score.low, 3)}, {number(point.score.high, 3)}]"
        cells.append([name, score, str(len(point.row.distinct)), _trained_on(point.row), *costs])
    heading = ["row", "ted", "checkpoints", "documents trained on"]
    heading += [text for cost in found for text in (f"{cost} (x teacher)", f"undominated by {cost}")]
    aligned = ["left", *["right"] * 3, *["right", "left"] * len(found)]
    return markdown(pd.DataFrame(cells, columns=heading, dtype=object), aligned)


def _texts(point: Point, plane: Plane) -> tuple[str, str]:
    stand, cost = point.standing, point.cost
    assert stand is not None
    share = number(cost.value, 3) if cost.low == cost.high else with_interval(cost.value, cost.low, cost.high)
    text = number(stand.undominated, 2)
    if stand.dominator is not None and text != "1.00":
        text += f" ({label(plane.points[stand.dominator].row)} {number(stand.dominated_by_it, 2)})"
    return share, text


def _trained_on(row: Row) -> str:
    return " or ".join(f"{documents:,}" for documents in sorted({record.documents for record in row.scored}))


def _volumes(found: Mapping[str, Plane]) -> str:
    known = {cost: plane.hypervolume for cost, plane in found.items() if plane.hypervolume}
    return "Hypervolume: " + "; ".join(f"{cost} {with_interval(v.value, v.low, v.high)}" for cost, v in known.items())


def _header() -> list[str]:
    of_cost = ("", "_low", "_high", "_undominated", "_dominator", "_dominated")
    setting = [part for part in Setting._fields if part != "options"]
    costs = [key + part for key in _KEYS for part in of_cost]
    return [*setting, "row", "ted", "ted_low", "ted_high", "checkpoints", "documents", *costs]


def _fields(family: Setting, found: Mapping[str, Plane]) -> list[list[Field]]:
    parts = [value for part, value in family._asdict().items() if part != "options"]
    lines = []
    for own in _by_row(found):
        point, _ = next(iter(own.values()))
        score = [rounded(value) for value in (point.score.value, point.score.low, point.score.high)]
        costs = [field for cost in COSTS for field in (_cost_fields(*own[cost]) if cost in own else (None,) * 6)]
        lines.append([*parts, label(point.row), *score, len(point.row.distinct), _trained_on(point.row), *costs])
    return lines


def _cost_fields(point: Point, plane: Plane) -> tuple[Field, ...]:
    stand = point.standing
    assert stand is not None
    by = None if stand.dominator is None else label(plane.points[stand.dominator].row)
    cost = (rounded(value) for value in (point.cost.value, point.cost.low, point.cost.high))
    return *cost, rounded(stand.undominated), by, rounded(stand.dominated_by_it)
