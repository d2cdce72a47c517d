"""What a second costs at an instant, from what accrues in its quarter hour."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.kinds import SECONDS_KINDS
from meterhouse_collector.rollup.rates import ZERO_RATES, BySeconds, Rates
from meterhouse_collector.settlement.accrual import Accrual, accruals
from meterhouse_collector.settlement.imports import Imported, month_imports, read_imported
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

Devices = Mapping[tuple[str, str], int]


class RateBook:
    """The rates of a site, made once for each quarter hour that is asked for.

    Between two midnights of the site nothing of it changes, and these fall on quarter hours.
    """

    def __init__(self, index: SiteIndex, clock: Callable[[], float] = time.time) -> None:
        self._index: Final = index
        self._clock = clock
        self._known: tuple[int, Rates] = (-1, Rates())
        self._heard: Record | None = None
        self._imported = Imported(-1, {})

    def at(self, start_seconds: float) -> Rates:
        """Return the rates in force at an instant, with demand, water and carbon as last heard."""
        quarter = int(start_seconds) // QUARTER_SECONDS * QUARTER_SECONDS
        if self._known[0] != quarter:
            found = accruals(self._index, quarter, quarter + QUARTER_SECONDS)
            devices = registered(self._index, quarter)
            rates = rates_of(found, devices, QUARTER_SECONDS)
            month_kwh = month_imports(self._index, self._imported, quarter)
            self._known = quarter, rates._replace(month_kwh=month_kwh)
        heard = self._heard
        if heard is None:
            return self._known[1]
        return self._known[1]._replace(
            demand_per_second=heard.demand_money / QUARTER_SECONDS,
            water_per_second=heard.water_money / QUARTER_SECONDS,
            carbon_per_second=heard.carbon_money / QUARTER_SECONDS,
        )

    async def hear(self, store: Store, records: Sequence[Record]) -> None:
        """Take the bill of the latest quarter as what is provisionally due until the next.

        What tariffs with tiers have billed of the month is read again. Raises
        ``StoreUnavailableError``.
        """
        latest = max(records, key=lambda record: record.start_seconds, default=None)
        known = self._heard
        if latest is not None and (known is None or latest.start_seconds >= known.start_seconds):
            self._heard = latest
        await self.learn(store, self._clock())

    async def learn(self, store: Store, at_seconds: float) -> None:
        """Read what tariffs with tiers have billed until an instant, of its month."""
        self._imported = await read_imported(store, self._index, at_seconds)
        self._known = (-1, Rates())


def registered(index: SiteIndex, start_seconds: float) -> Counter[tuple[str, str]]:
    """Return how many devices are registered at an instant, by pool and accelerator model."""
    return Counter(
        (slot.pool, slot.accelerator_model)
        for plan in index.plans(start_seconds).values()
        for slot in plan.slots
    )


def rates_of(entries: Iterable[Accrual], devices: Devices, seconds: int) -> Rates:
    """Return what accrues per device-second beside each device's own capital, and what per second.

    An entry is spread over the devices that it is for by their number. What waits for service, or
    is for devices that are not there, is nobody's.
    """
    shared: dict[tuple[str, str], dict[str, Decimal]] = defaultdict(dict)
    unknown: set[tuple[str, str]] = set()
    unplaced = dict.fromkeys(SECONDS_KINDS, Decimal(0))
    for entry in entries:
        if _own_capital(entry):
            continue
        mine = {} if entry.waits else {k: n for k, n in devices.items() if n and _is_for(entry, k)}
        count = sum(mine.values())
        if entry.amount is None:
            unknown.update(mine)
            continue
        if count == 0:
            unplaced[entry.kind] += entry.amount / seconds
            continue
        rate = entry.amount / (seconds * count)
        for key in mine:
            shared[key][entry.kind] = shared[key].get(entry.kind, Decimal(0)) + rate
    known: dict[tuple[str, str], BySeconds | None] = {
        key: _by_seconds(kinds) for key, kinds in shared.items()
    }
    return Rates({**known, **dict.fromkeys(unknown)}, _by_seconds(unplaced))


def _own_capital(entry: Accrual) -> bool:
    return entry.kind == "capital" and entry.accelerator_model is not None and not entry.waits


def _is_for(entry: Accrual, key: tuple[str, str]) -> bool:
    pool, model = key
    return (not entry.pools or pool in entry.pools) and entry.accelerator_model in (None, model)


def _by_seconds(kinds: Mapping[str, Decimal]) -> BySeconds:
    if not any(kinds.values()):
        return ZERO_RATES
    capital, rent, operations = (float(kinds.get(kind, 0)) for kind in SECONDS_KINDS)
    return capital, rent, operations
