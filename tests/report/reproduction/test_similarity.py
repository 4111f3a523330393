"""The observations of section 4.4 on matrices whose answers are seen at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from benchmark.records.record import Metrics, Record
from benchmark.report.reproduction.similarity import OBSERVATIONS, Finding, findings
from benchmark.report.reproduction.study import Study

Make = Callable[..., Record]
MakeStudy = Callable[..., Study]
Matrix = list[list[float]]
LAYERS = ["enc.0", "enc.1", "dec.0", "dec.1"]
# Everything that the paper says: the first layers alike, the parts apart, the last layer apart, dec.0 as dec.1.
LIKE_THE_PAPER: Matrix = [[0.99, 0.9, 0.2, 0.2], [0.9, 0.98, 0.3, 0.3], [0.1, 0.1, 0.95, 0.95], [0.2, 0.2, 0.8, 0.8]]
NOTHING: Matrix = [[0.5, 0.1, 0.9, 0.8], [0.5, 0.4, 0.9, 0.8], [0.9, 0.9, 0.3, 0.1], [0.9, 0.9, 0.9, 0.9]]
STRATEGIES = ("none", "small", "distill", "prune", "prune-distill")
TABLE_5 = dict(zip(STRATEGIES, (0.93, 0.84, 0.90, 0.56, 0.79), strict=True))
LAST = dict(zip(STRATEGIES, (0.8, 0.6, 0.7, 0.5, 0.4), strict=True))


def with_cka(record: Record, cka: float, matrix: Matrix) -> Record:
    names = {"layers_student": LAYERS, "layers_teacher": LAYERS}
    metrics = Metrics.model_validate({"ted": 0.5, "cka": cka, "layerwise": matrix, **names})
    return record.model_copy(update={"metrics": metrics})


def last(matrix: Matrix, value: float) -> Matrix:
    """With the same similarity of the last layer to the teacher's last two."""
    return [*matrix[:3], [*matrix[3][:2], value, value]]


def verdicts(study: Study) -> list[str]:
    (found,) = findings(study).values()
    return [one.verdict if isinstance(one, Finding) else one for one in found]


def test_networks_like_the_papers_show_all_that_it_saw(make_record: Make, make_study: MakeStudy) -> None:
    records = [
        with_cka(make_record(name, "receipts-mini"), TABLE_5[name], last(LIKE_THE_PAPER, LAST[name]))
        for name in STRATEGIES
    ]
    assert verdicts(make_study(records, {})) == ["holds"] * len(OBSERVATIONS)


def test_networks_that_are_the_opposite_show_none(make_record: Make, make_study: MakeStudy) -> None:
    records = [
        with_cka(make_record(name, "receipts-mini"), 1 - TABLE_5[name], [*NOTHING[:3], [0.9, 0.9, 0.9, 1 - LAST[name]]])
        for name in STRATEGIES
    ]
    assert set(verdicts(make_study(records, {}))) == {"does not hold"}


def test_seeds_that_disagree_decide_nothing(make_record: Make, make_study: MakeStudy) -> None:
    records = [
        with_cka(make_record(name, "receipts-mini", seed), 0.5 + 0.1 * (seed if name == "none" else 0.5), matrix)
        for name in STRATEGIES
        for seed, matrix in enumerate((LIKE_THE_PAPER, NOTHING))
        if name != "prune"
    ]
    records.append(with_cka(make_record("prune", "receipts-mini"), 0.55, LIKE_THE_PAPER))
    (found,) = findings(make_study(records, {})).values()
    assert [one.verdict for one in found if isinstance(one, Finding)] == ["not decided"] * len(OBSERVATIONS)
    first, encoder = found[0], found[5]
    assert isinstance(first, Finding)
    assert first.numbers == "0.550, DONUT-small 0.550"
    assert isinstance(encoder, Finding)
    assert encoder.numbers.startswith("fails in all but DONUT-base-pruned; enc.0 0.74 to 0.99; dec.0 ")


@pytest.mark.parametrize("lack", ["cka", "layer", "row"])
def test_what_has_no_cka_is_named(lack: str, make_record: Make, make_study: MakeStudy) -> None:
    records = [with_cka(make_record(name, "receipts-mini"), TABLE_5[name], LIKE_THE_PAPER) for name in STRATEGIES]
    whole = [record for record in records if record.strategy != "small"]
    small = with_cka(
        make_record("small", "receipts-mini"),
        math.nan if lack == "cka" else 0.84,
        [[math.nan, *LIKE_THE_PAPER[0][1:]], *LIKE_THE_PAPER[1:]] if lack == "layer" else LIKE_THE_PAPER,
    )
    found = verdicts(make_study([*whole, *([] if lack == "row" else [small])], {}))
    assert found[0] == "no CKA of DONUT-small"
    assert found[2] == "holds"  # DONUT-hole above DONUT-base-pruned takes no other


def test_layers_of_a_shorter_decoder_are_compared_by_name_and_the_last_with_the_last(
    make_record: Make, make_study: MakeStudy
) -> None:
    """The teacher's last layer is another one than the teacher's of the same name."""
    names = {"layers_student": LAYERS, "layers_teacher": [*LAYERS, "dec.2"]}
    matrix = [[0.99, 0.9, 0, 0, 0], [0.9, 0.99, 0, 0, 0], [0, 0, 0.9, 0.9, 0.9], [0, 0, 0.99, 0.99, 0.3]]
    records = []
    for name, value in (("small", 0.2), ("distill", 0.3)):
        rows = [*matrix[:3], [*matrix[3][:4], value]]
        metrics = Metrics.model_validate({"ted": 0.5, "cka": 0.5, "layerwise": rows, **names})
        records.append(make_record(name, "receipts-mini").model_copy(update={"metrics": metrics}))
    (found,) = findings(make_study(records, {})).values()
    assert found[-1] == Finding("0.300 against 0.200", "holds")


def test_without_networks_there_is_nothing(make_record: Make, make_study: MakeStudy) -> None:
    assert findings(make_study([make_record("teacher", "receipts-mini")], {})) == {}
