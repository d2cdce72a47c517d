"""What a bill needs of each quarter hour, from records, meters and what was entered by hand."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import fsum

from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.decimals import CONTEXT, ZERO, multiply
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.settlement.records import Record
from meterhouse_collector.settlement.supplies import SiteQuarter
from meterhouse_collector.site.index import SiteIndex

Meters = Mapping[int, Mapping[str, MeterRow]]


def billed_meters(index: SiteIndex) -> frozenset[str]:
    """Return the meters that a bill names: of energy sources and of water supplies."""
    model = index.model
    sources = (meter for source in model.energy_source for meter in source.meters)
    return frozenset(sources) | {meter for water in model.water for meter in water.meters}


def site_quarters(
    index: SiteIndex, starts: Sequence[int], records: Mapping[int, Record], meters: Meters
) -> list[SiteQuarter]:
    """Return what crossed the boundary in each quarter hour; None where no record is."""
    return [_quarter(index, start, records.get(start), meters.get(start, {})) for start in starts]


def _quarter(
    index: SiteIndex, start: int, record: Record | None, meters: Mapping[str, MeterRow]
) -> SiteQuarter:
    model = index.model
    return SiteQuarter(
        start_seconds=start,
        billed_joules=None if record is None else record.billed_joules,
        it_joules=None if record is None else record.it_joules,
        source_joules={
            source.name: _sum(meters, source.meters, "energy_joules")
            for source in model.energy_source
            if source.meters
        },
        fuel_litres=_fuel(index, start),
        water_litres={
            water.name: _sum(meters, water.meters, "volume_litres")
            for water in model.water
            if water.meters
        },
        carbon_kg={} if record is None else {1: record.scope_1_kg, 2: record.scope_2_kg},
    )


def _sum(meters: Mapping[str, MeterRow], names: Sequence[str], field: str) -> float | None:
    values = [None if name not in meters else getattr(meters[name], field) for name in names]
    known = [value for value in values if value is not None]
    return fsum(known) if len(known) == len(values) else None


def _fuel(index: SiteIndex, start: int) -> dict[str, Decimal | None]:
    """Spread fuel that was entered by hand evenly over its days."""
    litres: dict[str, Decimal | None] = {}
    for use in index.model.fuel_use:
        begins, ends = index.model.instant(use.begins), index.model.instant(use.ends)
        if begins <= start < ends:
            part = CONTEXT.divide(Decimal(QUARTER_SECONDS), Decimal(ends - begins))
            burnt = multiply(Decimal(str(use.litres)), part)
            litres[use.generator] = CONTEXT.add(litres.get(use.generator) or ZERO, burnt)
    return litres
