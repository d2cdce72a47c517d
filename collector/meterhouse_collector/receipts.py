"""What agents are to be told: gathered per node, and not said too often."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterhouse_agent.wire import SCHEMA, MessageKind, Receipt, Refusal, encode, topic

_MAX_REFUSALS: Final = 500
_MAX_WANTED: Final = 16
_MAX_NODES: Final = 200_000
_CREDIT_MAX: Final = 200
# Between two receipts to one node, however urgent: a storm of refusals is answered once a second.
_URGENT_SECONDS: Final = 1.0
# After this long without a report a backlog is not waited for, and a node's entry is let go.
_SILENT_SECONDS: Final = 120.0
# Who went silent is looked for so often.
_FORGET_SECONDS: Final = 5.0


class Address(NamedTuple):
    """Whom a receipt is for."""

    site: str
    node: str


@dataclass(slots=True)
class _Due:
    # First and last start, first and last: what is stored mostly follows what was before.
    stored: list[int] = field(default_factory=list)
    # Most nodes are never refused anything: None keeps less than an empty one.
    refused: dict[int, Refusal] | None = None
    wanted: set[str] | None = None
    waiting: int = 0
    since_seconds: int | None = None
    credit: int = 0
    urgent: bool = False
    heard: bool = True
    heard_at: float = float("-inf")
    said_at: float = float("-inf")

    def empty(self) -> bool:
        return not (self.stored or self.refused or self.wanted)


class Receipts:
    """Gathers what was stored and refused, and sends receipts when they are due.

    Credit is how many reports of its backlog a node may send from now on. All credit that is out
    never exceeds the room there is; where that is not enough for all, they take turns.
    """

    def __init__(self, *, length_seconds: int, every_seconds: float) -> None:
        self._length = length_seconds
        self._every = every_seconds
        # In the order of their last receipt, so that who waits longest is served first.
        self._due: dict[tuple[str, str], _Due] = {}
        # Of all nodes only those with a backlog; and when the next receipt may be due: to look at
        # all of a large site each time costs more than to say them.
        self._draining: dict[tuple[str, str], _Due] = {}
        self._look_at = float("-inf")
        self._forget_at = float("-inf")
        # What hears of each report that was refused for good.
        self.set_aside: Callable[[Address, str], None] = lambda _, __: None

    def _of(self, address: tuple[str, str]) -> _Due:
        found = self._due.get(address)
        if found is None:
            if len(self._due) >= _MAX_NODES:
                self._let_go(next(iter(self._due)))
            found = self._due[address] = _Due()
        found.heard = True
        return found

    def _let_go(self, address: tuple[str, str]) -> None:
        del self._due[address]
        self._draining.pop(address, None)

    def _wake(self, due: _Due) -> None:
        at = due.said_at + (_URGENT_SECONDS if due.urgent else self._every)
        self._look_at = min(self._look_at, at)

    def stored(self, address: tuple[str, str], start_seconds: int) -> None:
        """Note that a report is in the database; each is noted, so a plain tuple will do."""
        due = self._of(address)
        stored = due.stored
        if stored and stored[-1] == start_seconds - self._length:
            stored[-1] = start_seconds
        elif not stored or start_seconds not in range(stored[-2], stored[-1] + 1, self._length):
            stored += (start_seconds, start_seconds)
        if due.refused:
            due.refused.pop(start_seconds, None)
        if due.said_at + self._every < self._look_at:
            self._wake(due)

    def refused(self, address: Address, start_seconds: int, reason: str, *, final: bool) -> None:
        """Note that a report was refused; a refusal is said soon."""
        due = self._of(address)
        if due.refused is None:
            due.refused = {}
        if len(due.refused) < _MAX_REFUSALS:
            due.refused[start_seconds] = Refusal(
                start_seconds=start_seconds, reason=reason, final=final
            )
        due.urgent = True
        self._wake(due)
        if final:
            self.set_aside(address, reason)

    def want_inventory(self, address: Address, inventory_hash: str) -> None:
        """Note that an inventory is not known."""
        due = self._of(address)
        if due.wanted is None:
            due.wanted = set()
        if len(due.wanted) < _MAX_WANTED:
            due.wanted.add(inventory_hash)
        due.urgent = True
        self._wake(due)

    def waiting(self, address: Address, count: int, since_seconds: int | None = None) -> None:
        """Note, with each report that is taken, how many more wait in the node's spool, and since.

        ``since_seconds`` is the start of the oldest.
        """
        due = self._of(address)
        due.waiting, due.since_seconds = count, since_seconds
        if due.credit > 0:
            due.credit -= 1
        if count > 0:
            due.urgent = True
            self._draining[address] = due
            self._wake(due)
        elif self._draining:
            self._draining.pop(address, None)

    @property
    def total_waiting(self) -> int:
        """How many reports wait in the spools of the nodes that were heard of late."""
        return sum(due.waiting for due in self._draining.values())

    @property
    def waiting_since_seconds(self) -> int | None:
        """The start of the oldest report that waits in a spool, None where none does."""
        starts = (due.since_seconds for due in self._draining.values())
        return min((start for start in starts if start is not None), default=None)

    @property
    def nodes(self) -> int:
        """How many nodes are kept in mind."""
        return len(self._due)

    def say(
        self,
        now: float,
        *,
        room: int,
        send: Callable[[str, bytes], bool],
        everything: bool = False,
    ) -> int:
        """Send the receipts that are due, or everything; return how many, and keep the others.

        ``now`` is monotonic seconds, ``room`` how many more reports can be held, and ``send``
        tells whether it took a message.
        """
        self._forget(now)
        if now < self._look_at and not everything:
            return 0
        left, share = self._credit(room)
        said, self._look_at = 0, float("inf")
        for address, due in list(self._due.items()):
            pause = _URGENT_SECONDS if due.urgent else self._every
            if now - due.said_at < pause and not everything:
                self._look_at = min(self._look_at, due.said_at + pause)
                continue
            granted = min(share, left + due.credit, due.waiting)
            if due.empty() and granted == 0:
                if due.waiting > 0:
                    # Until there is room.
                    self._look_at = now
                continue
            message = encode(self._receipt(address[1], due, granted))
            if not send(topic(*address, MessageKind.RECEIPT), message):
                self._look_at = now
                continue
            left -= granted - due.credit
            self._due[address] = self._due.pop(address)
            due.credit = granted
            due.stored.clear()
            due.refused = due.wanted = None
            due.urgent, due.said_at = False, now
            said += 1
        return said

    def _forget(self, now: float) -> None:
        """Let go of nodes that went silent; what was stored of them, they will ask again."""
        if now < self._forget_at:
            return
        self._forget_at = now + _FORGET_SECONDS
        for address, due in list(self._due.items()):
            if due.heard:
                due.heard, due.heard_at = False, now
            elif now - due.heard_at >= max(_SILENT_SECONDS, 2 * self._every):
                self._let_go(address)

    def _credit(self, room: int) -> tuple[int, int]:
        """Return how much credit is left to grant, and the most that one node gets of it."""
        draining = len(self._draining)
        if room <= 0 or draining == 0:
            return 0, 0
        left = room - sum(due.credit for due in self._due.values())
        return max(0, left), min(_CREDIT_MAX, max(1, room // draining))

    def _receipt(self, node: str, due: _Due, credit: int) -> Receipt:
        return Receipt(
            schema=SCHEMA,
            node=node,
            length_seconds=self._length,
            stored=_ranges(due.stored, self._length),
            refused=list(due.refused.values()) if due.refused else [],
            credit=credit,
            inventory_wanted=sorted(due.wanted or ()),
        )


def _ranges(starts: Sequence[int], step: int) -> list[tuple[int, int]]:
    """Join inclusive ranges that overlap or are one step apart; each is given as two starts."""
    joined: list[tuple[int, int]] = []
    pairs = zip(starts[::2], starts[1::2], strict=True)
    # Those that are of one grid next to each other.
    for first, last in sorted(pairs, key=lambda pair: (pair[0] % step, pair)):
        if joined and first in range(joined[-1][0], joined[-1][1] + step + 1, step):
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined
