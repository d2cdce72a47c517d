"""The tree of meters: which of them are summed, so that nothing is counted twice.

Of meters behind each other one cut is summed, the most upstream; what hangs behind it and does not
belong to it is subtracted (``definitions.md``, Boundary).
"""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from meterhouse_collector.site.power import Meter, MeterRole


class Term(NamedTuple):
    """A meter of a sum, and what its readings are multiplied by: sign, share, cooling factor."""

    meter: Meter
    factor: float


class MeterTree:
    """The meters in force at one instant; ``by_fuel`` names those whose fuel counts instead."""

    def __init__(self, meters: Iterable[Meter], by_fuel: frozenset[str] = frozenset()) -> None:
        self.meters: Final = {meter.name: meter for meter in meters}
        self.by_fuel: Final = by_fuel
        self._children: Final[dict[str | None, list[Meter]]] = {}
        for meter in self.meters.values():
            # One whose parent is not there, or not yet, stands on its own.
            parent = meter.parent if meter.parent in self.meters else None
            self._children.setdefault(parent, []).append(meter)
        self.facility: Final = (
            *self._cut(
                lambda meter: meter.role == "boundary" and meter.sign == 1,
                lambda meter: meter.role == "boundary" and meter.sign == -1,
            ),
            *(
                Term(meter, meter.sign * meter.part * (meter.factor or 1.0))
                for meter in self.meters.values()
                if meter.role in {"generator", "storage", "purchased_cooling"}
                and meter.name not in by_fuel
            ),
        )
        self.it: Final = self._cut(
            lambda meter: meter.category is not None, lambda meter: meter.role == "cooling"
        )
        self._roles: Final[dict[MeterRole, tuple[Term, ...]]] = {}

    @property
    def category(self) -> int | None:
        """The PUE category of the cut: the most upstream of a mixed one; None without IT meters."""
        found = [t.meter.category for t in self.it if t.meter.category is not None]
        return min(found, default=None)

    def children(self, name: str) -> tuple[Meter, ...]:
        """Return the meters right behind one."""
        return tuple(self._children.get(name, ()))

    def role(self, role: MeterRole) -> tuple[Term, ...]:
        """Return the meters of a role that are behind no other of it."""
        found = self._roles.get(role)
        if found is None:
            found = self._cut(lambda meter: meter.role == role, lambda _: False)
            self._roles[role] = found
        return found

    def _cut(
        self, counts: Callable[[Meter], bool], foreign: Callable[[Meter], bool]
    ) -> tuple[Term, ...]:
        """Return the topmost that count, and behind them what is foreign, to be subtracted.

        Behind what is subtracted, what counts is added again. A foreign one behind nothing that
        counts is subtracted only if it has a sign of its own, as what leaves the site.
        """
        terms: list[Term] = []
        waiting = [(meter, 1.0, False) for meter in reversed(self._children.get(None, []))]
        while waiting:
            meter, part, inside = waiting.pop()
            if counts(meter) and not inside:
                part, inside = meter.part, True
                terms.append(Term(meter, part))
            elif foreign(meter) and (inside or meter.sign == -1):
                part = part * meter.part if inside else meter.part
                inside = False
                terms.append(Term(meter, -part))
            behind = reversed(self._children.get(meter.name, []))
            waiting.extend((child, part, inside) for child in behind)
        return tuple(terms)
