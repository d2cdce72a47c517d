"""Entries that wait for the store: the fresh first, so that no backlog holds up what is live."""

from collections import deque
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rows import PackedRow, Row, Table

# Some 47,000 reports of eight devices, or 23,000 with the detail of each.
HELD_BYTES: Final = 64 << 20
_BATCH_ENTRIES: Final = 2_000
# Some 700 reports with detail, 5,600 points: a database needs most of a second for them, and what
# is rolled up meanwhile waits for it.
_BATCH_BYTES: Final = 2 << 20
# What an entry and a row take of memory, beside the text of the row: rounded up.
_ENTRY_BYTES: Final = 768
_ROW_BYTES: Final = 512


class Held:
    """Two queues, bounded together by the memory that they take."""

    def __init__(self) -> None:
        # Each with what it takes.
        self._fresh: deque[tuple[Entry, int]] = deque()
        self._backlog: deque[tuple[Entry, int]] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._backlog)

    @property
    def fills_a_batch(self) -> bool:
        """Whether there is as much as is written at once."""
        return len(self) >= _BATCH_ENTRIES or self.size_bytes >= _BATCH_BYTES

    def take(self, entry: Entry, *, fresh: bool) -> bool:
        """Take an entry, unless there is no room."""
        if self.size_bytes >= HELD_BYTES:
            return False
        size = _ENTRY_BYTES
        for row in entry.rows:
            size += _ROW_BYTES + _text_bytes(row)
        (self._fresh if fresh else self._backlog).append((entry, size))
        self.size_bytes += size
        return True

    def batch(self) -> list[Entry]:
        """Return what is to be written next; it stays here until ``written``."""
        batch, size = [], 0
        for entry, its_size in islice(chain(self._fresh, self._backlog), _BATCH_ENTRIES):
            batch.append(entry)
            size += its_size
            if size >= _BATCH_BYTES:
                break
        return batch

    def written(self, batch: Sequence[Entry]) -> None:
        """Let go of a batch."""
        for entry in batch:
            # What came meanwhile stands behind: the batch is still the head of both queues.
            queue = self._fresh if self._fresh and self._fresh[0][0] is entry else self._backlog
            self.size_bytes -= queue.popleft()[1]


def _text_bytes(row: Row) -> int:
    if type(row) is PackedRow:
        return len(row.row)
    return len(row.columns) if type(row) is Table else 0
