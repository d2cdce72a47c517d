"""What each cluster may draw at N: by hand, or by the power path and cooling that name it."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import fsum
from typing import TypeVar

from meterhouse_collector.site.dated import DatedTables
from meterhouse_collector.site.power import CoolingUnit, PowerNode

Part = TypeVar("Part", PowerNode, CoolingUnit)


def powerable_watts(dated: DatedTables, at_seconds: float) -> dict[str, float]:
    """Return the IT power of each cluster that can be powered and cooled at N, where stated.

    By hand it is ``powerable_watts`` of the cluster. Else it is the least of what its pieces of the
    power path carry, kind by kind, and of what its cooling units remove, kind by kind, all with
    their spare units gone. A piece that names several clusters is theirs in equal parts, and of a
    pair one side must do for both (definitions: Waterfall, Headroom).
    """
    limits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name, kind, watts in (
        *_carried(dated.power.at(at_seconds).values()),
        *_cooled(dated.cooling.at(at_seconds).values()),
    ):
        limits[name][kind].append(watts)
    found = {
        name: min(fsum(watts) for watts in by_kind.values()) for name, by_kind in limits.items()
    }
    for name, cluster in dated.cluster.at(at_seconds).items():
        if cluster.powerable_watts is not None:
            found[name] = cluster.powerable_watts
    return found


def _carried(pieces: Iterable[PowerNode]) -> Iterator[tuple[str, str, float]]:
    by_name = {piece.name: piece for piece in pieces}
    for piece in by_name.values():
        other = by_name.get(piece.pair or "")
        # A pair is one piece of which either side must carry all: the first by name stands for it.
        if other is not None and other.name < piece.name:
            continue
        watts = piece.watts_at_n if other is None else min(piece.watts_at_n, other.watts_at_n)
        yield from _parts(piece, watts)


def _cooled(units: Iterable[CoolingUnit]) -> Iterator[tuple[str, str, float]]:
    for unit in units:
        yield from _parts(unit, unit.heat_watts_at_n)


def _parts(piece: Part, watts: float) -> Iterator[tuple[str, str, float]]:
    for cluster in piece.clusters:
        yield cluster, piece.kind, watts / len(piece.clusters)
