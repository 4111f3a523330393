"""Scores of predictions and representations: pure functions of numbers and JSON, without torch."""

from benchmark.metrics.cka import linear_cka
from benchmark.metrics.f1 import field_f1
from benchmark.metrics.ted import ted_accuracy

__all__ = ["field_f1", "linear_cka", "ted_accuracy"]
