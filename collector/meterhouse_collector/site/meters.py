"""The tree of meters: which of them are summed, so that nothing is counted twice.

Of meters behind each other one cut is summed, the most upstream; what hangs behind it and does not
belong to it is subtracted (``definitions.md``, Boundary).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from meterhouse_collector.site.power import Meter, MeterRole

# Where a meter is to what is summed.
_Place = Literal["outside", "inside", "subtracted"]
SUPPLY_ROLES: Final[tuple[MeterRole, ...]] = ("generator", "storage", "purchased_cooling")


class Term(NamedTuple):
    """A meter of a sum, and what its readings are multiplied by: sign, share, cooling factor."""

    meter: Meter
    factor: float


class MeterTree:
    """The meters in force at one instant; ``by_fuel`` names those whose fuel counts instead.

    A generator's meter behind one of these measures the same output.
    """

    def __init__(self, meters: Iterable[Meter], by_fuel: frozenset[str] = frozenset()) -> None:
        self.meters: Final = {meter.name: meter for meter in meters}
        self._children: Final[dict[str | None, list[Meter]]] = {}
        for meter in self.meters.values():
            # One whose parent is not there, or not yet, stands on its own.
            parent = meter.parent if meter.parent in self.meters else None
            self._children.setdefault(parent, []).append(meter)
        self.by_fuel: Final = by_fuel.union(*(self._behind(name) for name in by_fuel))
        self.facility: Final = (
            *self._cut(
                lambda m: m.role == "boundary" and m.sign == 1 and m.name not in self.by_fuel,
                lambda m: m.role == "boundary" and m.sign == -1,
            ),
            *(
                term
                for role in SUPPLY_ROLES
                for sign in (1, -1)
                for term in self._given(role, sign)
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

    def _behind(self, name: str) -> Iterator[str]:
        for child in self.children(name):
            if child.role == "generator":
                yield child.name
                yield from self._behind(child.name)

    def role(self, role: MeterRole) -> tuple[Term, ...]:
        """Return the meters of a role that are behind no other of it."""
        found = self._roles.get(role)
        if found is None:
            found = self._cut(lambda meter: meter.role == role, lambda _: False)
            self._roles[role] = found
        return found

    def _given(self, role: MeterRole, sign: int) -> Iterator[Term]:
        """Yield the topmost meters of what is made, stored or bought as cold, with their sign.

        What a generator gives whose fuel counts is taken off the meter that it is behind.
        """
        mine = self._cut(
            lambda m: m.role == role and m.sign == sign and m.name not in self.by_fuel,
            lambda m: m.role == role and m.sign == 1 and m.name in self.by_fuel,
        )
        return (Term(m, sign * part * (m.factor or 1.0)) for m, part in mine)

    def _cut(
        self, counts: Callable[[Meter], bool], foreign: Callable[[Meter], bool]
    ) -> tuple[Term, ...]:
        """Return the topmost that count, and behind them what is foreign, to be subtracted.

        Behind what is subtracted, what counts is added again, and nothing is subtracted twice. A
        foreign one behind nothing that counts is subtracted only if it has a sign of its own, as
        what leaves the site.
        """
        terms: list[Term] = []
        place: _Place = "outside"
        waiting = [(meter, 1.0, place) for meter in reversed(self._children.get(None, []))]
        while waiting:
            meter, part, place = waiting.pop()
            if counts(meter) and place != "inside":
                part, place = meter.part, "inside"
                terms.append(Term(meter, part))
            elif foreign(meter) and (
                place == "inside" or (place == "outside" and meter.sign == -1)
            ):
                part = part * meter.part if place == "inside" else meter.part
                place = "subtracted"
                terms.append(Term(meter, -part))
            behind = reversed(self._children.get(meter.name, []))
            waiting.extend((child, part, place) for child in behind)
        return tuple(terms)
