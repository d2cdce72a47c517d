"""Entries that wait for the store: the fresh first, so that no backlog holds up what is live."""

from collections import deque
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rows import PackedRow

ENTRIES_MAX: Final = 20_000
_ROWS_MAX: Final = 500_000
BATCH_ENTRIES: Final = 2_000
_BATCH_ROWS: Final = 20_000
# A packed row weighs as many rows as it has of these: one hostile node could else fill the memory.
_ROW_BYTES: Final = 512


class Held:
    """Two queues, bounded together by entries and by rows, large ones counted for several."""

    def __init__(self) -> None:
        # Each with its weight.
        self._fresh: deque[tuple[Entry, int]] = deque()
        self._backlog: deque[tuple[Entry, int]] = deque()
        self._rows = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._backlog)

    def take(self, entry: Entry, *, fresh: bool) -> bool:
        """Take an entry, unless there is no room."""
        if len(self) >= ENTRIES_MAX or self._rows >= _ROWS_MAX:
            return False
        weight = _weight(entry)
        (self._fresh if fresh else self._backlog).append((entry, weight))
        self._rows += weight
        return True

    def batch(self) -> list[Entry]:
        """Return what is to be written next; it stays here until ``written``."""
        batch, rows = [], 0
        for entry, weight in islice(chain(self._fresh, self._backlog), BATCH_ENTRIES):
            batch.append(entry)
            rows += weight
            if rows >= _BATCH_ROWS:
                break
        return batch

    def written(self, batch: Sequence[Entry]) -> None:
        """Let go of a batch."""
        for entry in batch:
            # What came meanwhile stands behind: the batch is still the head of both queues.
            queue = self._fresh if self._fresh and self._fresh[0][0] is entry else self._backlog
            self._rows -= queue.popleft()[1]


def _weight(entry: Entry) -> int:
    weight = len(entry.rows)
    for row in entry.rows:
        if type(row) is PackedRow and len(row.row) >= _ROW_BYTES:
            weight += len(row.row) // _ROW_BYTES
    return weight
