"""The protocols: the way of the model from its references to its checkpoint. One file each."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.errors import UserError
from benchmark.plugin.manager import Registry
from benchmark.running.protocols.paper import PAPER
from benchmark.running.protocols.task import TASK
from benchmark.running.route import Protocol
from benchmark.types import ProtocolName

BY_NAME: dict[ProtocolName, Protocol] = {protocol.name: protocol for protocol in (PAPER, TASK)}


def select(
    registry: Registry, protocol: ProtocolName, reading: str, strategies: str, datasets: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names in ``"a,b"`` of strategies and of data sets; ``"all"`` is all that a protocol has a place for.

    Raises `UserError` for a name that is not registered, for one that the protocol has no place for, and for nothing.
    """
    chosen = registry.select("strategy", strategies), registry.select("dataset", datasets)
    undefined = {name: registry.strategies[name].item.refusal(protocol) for name in chosen[0]}
    unread = {name: BY_NAME[protocol].refusal(registry.datasets[name].item, reading) for name in chosen[1]}
    return (
        _allowed("strategy", undefined, strategies == "all", protocol),
        _allowed("data set", unread, datasets == "all", protocol),
    )


def _allowed(kind: str, refusals: Mapping[str, str | None], every: bool, protocol: str) -> tuple[str, ...]:
    if not every:
        for refusal in filter(None, refusals.values()):
            raise UserError(refusal)
    allowed = tuple(name for name, refusal in refusals.items() if refusal is None)
    if not allowed:
        raise UserError(f"no {kind} has a place in protocol {protocol}")
    return allowed
