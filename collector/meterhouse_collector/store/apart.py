"""Writes what a store fails on apart from the rest: one row must not stand in the way of all."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from meterhouse_collector.rows import Row
from meterhouse_collector.store import Rejection, Store, StoreUnavailableError

# Where so many writes in a row fail, and for so long, it is not the rows.
_TRIES: Final = 64
_TRIES_SECONDS: Final = 10.0


async def write_apart(
    store: Store, rows: Sequence[Row], bug: Callable[[], None]
) -> list[Rejection]:
    """Write rows; where that fails with an error of this program, halve until the rest is written.

    Rows that fail alone are rejected, and ``bug`` is called with each such error at hand; but where
    nothing measured can be written it is not they: then the error is raised, and
    ``StoreUnavailableError`` as the store does.
    """
    rejections: list[Rejection] = []
    trouble: Exception | None = None
    waiting = [(0, rows)]
    begun, tries, wrote = time.monotonic(), 0, False
    while waiting:
        first, part = waiting.pop()
        try:
            found = await store.write(part)
        except StoreUnavailableError:
            raise
        except Exception as error:
            tries, trouble = tries + 1, error
            if not wrote and tries >= _TRIES and time.monotonic() - begun >= _TRIES_SECONDS:
                raise
            if len(part) == 1:
                bug()
                rejections.append(Rejection(first, f"BUG: {error!r}"))
                continue
            middle = len(part) // 2
            waiting += [(first + middle, part[middle:]), (first, part[:middle])]
        else:
            wrote = wrote or any(map(_measured, part))
            rejections += [replace(each, index=first + each.index) for each in found]
    if trouble is not None and not wrote:
        raise trouble
    return sorted(rejections, key=lambda rejection: rejection.index)


def _measured(row: Row) -> bool:
    # Marks come with each late report, and are written where nothing else can be.
    return row.policy == "ledger" and row.measurement != "dirty"
