"""What nodes showed, in the store: what a site without an asset register has installed.

Each row of ``installed`` has all that its writer knew of a node, so none but the newest is needed,
and any number do no harm. It stands at the time at which it was written, so that whoever looks
later reads only what is new.
"""

import logging
import time
from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from meterhouse_agent.wire import MAX_DEVICES
from meterhouse_collector.rows import PackedRow, Policy, pack
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.seen import Word
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.ticks import tick

_LOG: Final = logging.getLogger(__name__)
# For as long as any policy: nobody shows again what was taken out and not retired.
POLICY: Final[Policy] = "kept"
MEASUREMENT: Final = "installed"
_FOR_EVER: Final = 2**33
# Well before a quarter is summed.
_EVERY_SECONDS: Final = 20.0
# A row may be written by another clock, and after its own time: seldom later than this. What was
# is found with all the rest, once an hour.
_AGAIN_SECONDS: Final = 600
_WHOLE_SECONDS: Final = 3600


class InstalledRow(Struct, frozen=True, gc=False):
    """The devices of each model that a node showed, by the second of the report."""

    words: tuple[tuple[int, dict[str, Annotated[int, Meta(ge=1, le=MAX_DEVICES)]]], ...]


_ROWS: Final = msgspec.json.Decoder(InstalledRow)


def installed_row(site: str, node: str, at_seconds: int, words: tuple[Word, ...]) -> PackedRow:
    """Return the row that says at a time all that is known of a node."""
    row = InstalledRow(tuple((word.at_seconds, dict(word.devices)) for word in words))
    return PackedRow(POLICY, MEASUREMENT, site, node, node, at_seconds, pack(row))


async def learn_installed(store: Store, index: SiteIndex, since_seconds: int = 0) -> None:
    """Learn what nodes showed, from the rows written since; nothing where there is a register.

    Raises ``StoreUnavailableError``.
    """
    if index.seen is None:
        return
    rows = await store.packed(
        POLICY, MEASUREMENT, start_seconds=since_seconds, end_seconds=_FOR_EVER
    )
    bad = 0
    for row in rows:
        if row.site != index.site:
            continue
        try:
            told = _ROWS.decode(row.row)
        except msgspec.MsgspecError:
            bad += 1
        else:
            index.learn(row.thing, (Word(at, tuple(sorted(n.items()))) for at, n in told.words))
    if bad:
        _LOG.warning("%d rows of %s cannot be read, and are left out", bad, MEASUREMENT)


class InstalledElsewhere:
    """Learns what other processes note, again and again."""

    def __init__(
        self, store: Store, index: SiteIndex, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._since = 0
        self._whole_at = float("-inf")

    async def learn(self) -> None:
        """Learn what was written since the last time; raise ``StoreUnavailableError``."""
        begun = int(self._clock())
        whole = not 0 <= begun - self._whole_at < _WHOLE_SECONDS
        await learn_installed(self._store, self._index, 0 if whole else self._since)
        self._since = begun - _AGAIN_SECONDS
        if whole:
            self._whole_at = begun

    async def run(self) -> None:
        """Learn until cancelled; what cannot be read now is read later."""
        while True:
            await tick(_EVERY_SECONDS)
            try:
                await self.learn()
            except StoreUnavailableError as error:
                # The writer says so too, and louder.
                _LOG.debug("installed: %s", error)
