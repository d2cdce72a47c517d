"""What agents are to be told: gathered per node, and not said too often."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterhouse_agent.wire import SCHEMA, MessageKind, Receipt, Refusal, encode, topic

_MAX_REFUSALS: Final = 500
_CREDIT_MAX: Final = 200


class Address(NamedTuple):
    """Whom a receipt is for."""

    site: str
    node: str


@dataclass(slots=True)
class _Due:
    stored: set[int] = field(default_factory=set)
    refused: dict[int, Refusal] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    waiting: int = 0
    urgent: bool = False
    said_at: float = float("-inf")

    def empty(self) -> bool:
        return not (self.stored or self.refused or self.wanted)


class Receipts:
    """Gathers what was stored and refused, and hands out receipts when they are due."""

    def __init__(self, *, length_seconds: int, every_seconds: float) -> None:
        self._length = length_seconds
        self._every = every_seconds
        self._due: dict[Address, _Due] = {}

    def _of(self, address: Address) -> _Due:
        found = self._due.get(address)
        if found is None:
            found = self._due[address] = _Due()
        return found

    def stored(self, address: Address, start_seconds: int) -> None:
        """Note that a report is in the database."""
        due = self._of(address)
        due.stored.add(start_seconds)
        due.refused.pop(start_seconds, None)

    def refused(self, address: Address, start_seconds: int, reason: str, *, final: bool) -> None:
        """Note that a report was refused; a refusal is said soon."""
        due = self._of(address)
        if len(due.refused) < _MAX_REFUSALS:
            due.refused[start_seconds] = Refusal(
                start_seconds=start_seconds, reason=reason, final=final
            )
        due.urgent = True

    def want_inventory(self, address: Address, inventory_hash: str) -> None:
        """Note that an inventory is not known."""
        due = self._of(address)
        due.wanted.add(inventory_hash)
        due.urgent = True

    def waiting(self, address: Address, count: int) -> None:
        """Note how many reports wait in the node's spool."""
        due = self._of(address)
        due.waiting = count
        due.urgent = due.urgent or count > 0

    @property
    def total_waiting(self) -> int:
        """How many reports wait in all spools."""
        return sum(due.waiting for due in self._due.values())

    def take(self, now: float, *, room: int) -> Iterator[tuple[str, bytes]]:
        """Hand out the receipts that are due, as topics and payloads.

        ``now`` is monotonic seconds; ``room`` is how many more reports the intake can hold, and
        is divided over the nodes that have a backlog.
        """
        draining = sum(1 for due in self._due.values() if due.waiting > 0)
        credit = min(_CREDIT_MAX, room // draining) if draining else 0
        for address, due in self._due.items():
            if not due.urgent and (due.empty() or now - due.said_at < self._every):
                continue
            granted = min(credit, due.waiting) if due.waiting else 0
            if due.empty() and granted == 0:
                continue
            yield topic(*address, MessageKind.RECEIPT), encode(self._receipt(address, due, granted))
            due.stored.clear()
            due.refused.clear()
            due.wanted.clear()
            due.urgent, due.said_at = False, now

    def _receipt(self, address: Address, due: _Due, credit: int) -> Receipt:
        return Receipt(
            schema=SCHEMA,
            node=address.node,
            length_seconds=self._length,
            stored=list(_ranges(due.stored, self._length)),
            refused=list(due.refused.values()),
            credit=credit,
            inventory_wanted=sorted(due.wanted),
        )


def _ranges(starts: Iterable[int], step: int) -> Iterator[tuple[int, int]]:
    """Gather starts that are one step apart into inclusive ranges."""
    first = last = None
    for start in sorted(starts):
        if first is not None and last is not None and start == last + step:
            last = start
            continue
        if first is not None and last is not None:
            yield first, last
        first = last = start
    if first is not None and last is not None:
        yield first, last
