"""The bills of the months that quarters lie in, from the records of the quarters."""

from collections.abc import Iterable, Mapping
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from meterhouse_collector.money.billing_month import (
    QUARTER_SECONDS,
    BillingMonth,
    billing_month,
)
from meterhouse_collector.rollup.pricing import Dues
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.settlement.dues import Bill, Due, site_bill
from meterhouse_collector.settlement.inputs import Meters, billed_meters, site_quarters
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.site.components import Demand
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.store import Store

_METER: Final = msgspec.json.Decoder(MeterRow)


def billed_stretch(model: SiteModel, starts: Iterable[int]) -> tuple[int, int]:
    """Return the whole months that quarters lie in, and before them those of a demand ratchet."""
    quarters = sorted(starts)
    first = month_of(model, quarters[0])
    for _ in range(ratchet_months(model)):
        first = month_of(model, first.begins - QUARTER_SECONDS)
    return first.begins, month_of(model, quarters[-1]).ends


def month_of(model: SiteModel, start_seconds: int) -> BillingMonth:
    """Return the month of the site's time zone in which a quarter lies."""
    return billing_month(start_seconds, ZoneInfo(model.time_zone))


def ratchet_months(model: SiteModel) -> int:
    """Return how many months back a peak still counts in some tariff."""
    components = (c for tariff in model.tariff for c in tariff.components)
    months = (c.ratchet_months or 0 for c in components if isinstance(c, Demand))
    return max(months, default=0)


def bill_of(
    index: SiteIndex, stretch: tuple[int, int], records: Mapping[int, Record], meters: Meters
) -> Bill:
    """Return the bill of a stretch of whole months, as far as quarters of it are done.

    A quarter without a record was not measured, unless it is after the last.
    """
    ends = max((start for start in records if start < stretch[1]), default=stretch[0] - 1)
    starts = range(stretch[0], min(ends + 1, stretch[1]), QUARTER_SECONDS)
    return site_bill(index.model, site_quarters(index, starts, records, meters))


def dues_of(due: Due, gap_ratio: float) -> Dues:
    """Return what is due for a quarter in floats; ``gap_ratio`` of its energy fills gaps."""
    energy = None if due.energy is None else float(due.energy)
    return Dues(
        energy=energy,
        demand=float(due.demand),
        water=float(due.water),
        carbon=float(due.carbon),
        estimated_energy=(energy or 0.0) * gap_ratio,
    )


def is_priced_so(record: Record, due: Due) -> bool:
    """Tell whether a quarter was priced by this very bill."""
    dues = dues_of(due, 0.0)
    return (record.energy_money, *record[4:7]) == (dues.energy, *dues[1:4])


async def read_meters(store: Store, index: SiteIndex, stretch: tuple[int, int]) -> Meters:
    """Read the quarter rows of the meters that a bill names."""
    meters: dict[int, dict[str, MeterRow]] = {}
    for name in sorted(billed_meters(index)):
        found = await store.packed(
            "quarter", "meter", start_seconds=stretch[0], end_seconds=stretch[1], thing=name
        )
        for row in found:
            if row.site == index.site:
                meters.setdefault(row.start_seconds, {})[name] = _METER.decode(row.row)
    return meters
