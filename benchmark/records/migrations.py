"""Records of older versions, made into records of the present one before they are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def migrate(content: Mapping[str, Any], version: int) -> dict[str, Any] | None:
    """The content of a record of `version`, step by step as that of the newest; None for a version not known here."""
    if version not in _STEPS:
        return None
    result = dict(content)
    while version in _STEPS:
        result = _STEPS[version](result)
        version += 1
    return {**result, "schema_version": version}


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Version 1 gave the CKA of isotropic noise as the floor, and did not say what a start had been trained on."""
    metrics = content.get("metrics")
    if isinstance(metrics, dict):
        metrics = {**metrics, "cka_null_floor": None}
    return {**content, "metrics": metrics, "start_documents": None}


def _from_2(content: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew the paper's protocol alone, and timed each model by itself, stopping where it stopped too."""
    efficiency = content.get("efficiency")
    if isinstance(efficiency, dict):
        efficiency = {name: value for name, value in efficiency.items() if not name.startswith("latency_natural")}
    return {**content, "protocol": "paper", "efficiency": efficiency}


_STEPS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2}
