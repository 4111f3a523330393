"""Whatever a model writes is read and scored: no exception, and scores between 0 and 1."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st
from transformers import DonutProcessor

from benchmark.metrics import ted_accuracy
from benchmark.metrics.f1 import field_f1
from benchmark.metrics.ted import ted_document
from benchmark.models.processor import to_json
from benchmark.records.record import Prediction
from benchmark.scoring.accepted import best_ted
from benchmark.scoring.answers import agreement, answered, summary
from benchmark.truth import plain, to_text
from benchmark.types import Json
from tests.fuzz.cases import JSON_VALUES, accepted, cases, nested

PIECES = (
    "<s_a>", "</s_a>", "<S_A>", "</S_A>", "<s_b>", "</s_b>", "<s_i>", "</s_\u0131>", "<s_>", "</s_>", "<s_", "</s_",
    ">", "<", "<sep/>", "</s>", "<s>", "<pad>", "<unk>", "<leaf>", "<s_a<s_b>", "<s_.*>", "</s_.*>",
    "<s_text_sequence>", "</s_text_sequence>", "<s_menu>", "</s_menu>", "\n", " ", "9.99", "0", "x",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=25).map("".join)
TRUTHS = JSON_VALUES.map(lambda value: accepted(lambda: plain(value, "here")))
TAGS = [f"s_{number}" for number in range(1200)]


@cases
@given(TEXTS, TRUTHS, st.sampled_from([True, False, None]))
@example("<s_a>" * 3000, {}, True)
@example("<sep/>" * 1200, {"a": "x"}, False)
@example("<s_a>x</s_a><sep/>" * 1200, {"a": "x"}, False)
@example("".join(f"<{tag}>" for tag in TAGS) + "".join(f"</{tag}>" for tag in TAGS[::-1]), {}, True)
def test_any_answer_is_scored(processor: DonutProcessor, text: str, truth: Json, ended: bool | None) -> None:
    prediction = to_json(processor, text)
    answer = answered("1", text, ended, prediction, truth)
    told = summary([answer])
    assert 0 <= answer.ted <= 1
    assert 0 <= told["ted"] <= 1
    assert 0 <= told["f1"] <= 1
    assert 0 <= best_ted(prediction, [truth, {}]) <= 1
    assert agreement([answer], [answer]) is not None
    assert Prediction.model_validate_json(answer.model_dump_json()) == answer


@cases
@given(TRUTHS)
@example(nested("x", 49, lambda value: {"a": value}))
@example(nested("x", 49, lambda value: [value]))
def test_equal_trees_score_1(truth: Json) -> None:
    copy = json.loads(json.dumps(truth))
    scored = ted_document(copy, truth)
    assert scored.accuracy == (0 if scored.unscorable else 1)
    assert field_f1([copy], [truth]) == 1


@cases
@given(TRUTHS, TRUTHS)
def test_any_two_trees_have_scores(prediction: Json, truth: Json) -> None:
    assert 0 <= ted_accuracy(prediction, truth) <= 1
    assert 0 <= field_f1([prediction], [truth]) <= 1
    to_text(truth)
