"""Downtimes speak of registered nodes, and of each node one at a time."""

from collections.abc import Iterator

from meterhouse_collector.site.downtime import overlapping
from meterhouse_collector.site.model import SiteModel


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each downtime of a node that nobody registered, or that has another."""
    registered = {node for asset in model.asset for node in asset.on_nodes}
    for position, entry in enumerate(model.downtime):
        for node in entry.nodes:
            if registered and node not in registered:
                yield (
                    f"downtime.{position}.nodes: found {node!r}, allowed: a node of the asset"
                    " register"
                )
    places = {id(entry): position for position, entry in enumerate(model.downtime)}
    for node, one, other in overlapping(model.downtime):
        yield (
            f"downtime.{places[id(other)]}.begins: found {other.begins}, while"
            f" downtime.{places[id(one)]} of {node} lasts, allowed: one at a time for a node"
        )
