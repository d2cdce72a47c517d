"""The KPIs of the page's long windows: an hour, a day, the month so far, a year."""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from meterhouse_collector.quarters.slo_windows import Reading, SloWindow, window_slos
from meterhouse_collector.quarters.window_latency import WINDOW_SECONDS_MAX
from meterhouse_collector.quarters.windows import DaySums, named_windows, window_kpis
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store
from meterhouse_collector.web.document import Kpi, Span, kpi_of

# A quarter hour and its late rows change little in a minute, and each client asks once a minute.
_FRESH_SECONDS: Final = 60.0
_SLOS: Final = Reading(WINDOW_SECONDS_MAX)


class LongWindow(msgspec.Struct, frozen=True, kw_only=True):
    """One window that ends now, with its KPIs and the latency objectives of the site."""

    window: Span
    kpis: dict[str, Kpi]
    slos: list[SloWindow]


class LongWindows:
    """Reads the windows at most once a minute, whoever asks, and each day that is over once."""

    def __init__(
        self, store: Store, index: SiteIndex, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._index = index
        self._clock = clock
        self._days = DaySums()
        self._reading = asyncio.Lock()
        self._read: tuple[float, bytes] | None = None

    def changed(self, quarters: Iterable[int]) -> None:
        """Take the steward's word that quarters were summed or priced again."""
        self._days.changed(quarters)

    async def encoded(self) -> bytes:
        """Return the windows as JSON, by name; raise ``StoreUnavailableError``."""
        async with self._reading:
            now = self._clock()
            if self._read is None or not 0 <= now - self._read[0] < _FRESH_SECONDS:
                self._read = now, msgspec.json.encode(await self._windows(now))
            return self._read[1]

    async def _windows(self, now: float) -> dict[str, LongWindow]:
        found = {}
        for name, stretch in named_windows(now, self._index).items():
            kpis = await window_kpis(self._store, self._index, stretch, self._days)
            found[name] = LongWindow(
                window=Span(stretch.start_seconds, stretch.end_seconds),
                kpis={kpi.name: kpi_of(kpi) for kpi in kpis.values()},
                slos=await window_slos(self._store, self._index, stretch, _SLOS),
            )
        return found
