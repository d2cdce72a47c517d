"""What a store is: it takes rows, says which it did not take, and gives them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from meterhouse_collector.rows import PackedRow, Point, Policy, Row


class StoreUnavailableError(Exception):
    """Nothing was written, or it is not known: the same rows are to be written again later.

    The text says what was tried, on what, and what to do next: a server that is down, a token
    that is refused, a bucket that is missing. ``trouble`` is the same for the same outage, whatever
    was tried when it was met, so that it can be told once; it is the text where none is given.
    """

    def __init__(self, text: str, *, trouble: str = "") -> None:
        super().__init__(text)
        self.trouble = trouble or text


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row the store will never take, by its index in the batch, and why."""

    index: int
    reason: str
    too_old: bool = False


class Store(Protocol):
    """Keeps rows by key: writing one twice changes nothing, and a later one replaces it."""

    async def open(self) -> None:
        """Connect; raise ``StoreUnavailableError`` where it cannot be used."""

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        """Write rows durably; return those rejected, all others are in the database.

        Raises ``StoreUnavailableError`` when it is not sure that they are.
        """

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        """Read packed rows with a start in [start, end), by thing, reader and start."""

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        """Read plain points with a start in [start, end), by start and tags; of one node only."""

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        """Return the start of the oldest row of a measurement, None where it has none."""

    async def close(self) -> None:
        """Let go of the connection."""
