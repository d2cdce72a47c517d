"""Quarter hours and bills for the tests of money."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from meterhouse_collector.money.bill_lines import BillLine, QuarterEnergy
from meterhouse_collector.money.billing_month import QUARTER_SECONDS
from meterhouse_collector.money.energy_bill import bill
from meterhouse_collector.money.monthly_charges import NOTHING_MORE, Known
from meterhouse_collector.site.tariff import Supply, Tariff

BERLIN = ZoneInfo("Europe/Berlin")
KOLKATA = ZoneInfo("Asia/Kolkata")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")

KwhAt = Callable[[int], Decimal | None]


def instant(text: str, zone: ZoneInfo = BERLIN) -> int:
    """Return the Unix time of a local time without an offset, or of any with one."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp())


def starts(begins: str, ends: str, zone: ZoneInfo = BERLIN) -> range:
    """Return the quarter hours between two local times."""
    return range(instant(begins, zone), instant(ends, zone), QUARTER_SECONDS)


def quarters(
    begins: str, ends: str, kwh: KwhAt | int = 1, zone: ZoneInfo = BERLIN
) -> list[QuarterEnergy]:
    """Return the quarter hours between two local times, with import."""
    kwh_at: KwhAt = kwh if callable(kwh) else lambda _: Decimal(kwh)
    return [
        QuarterEnergy(start_seconds=start, import_kwh=kwh_at(start))
        for start in starts(begins, ends, zone)
    ]


def tariff(*components: Mapping[str, object], **more: object) -> Tariff:
    """Return a tariff of these components since long ago."""
    return Tariff.model_validate({"valid_from": "2020-01-01", "component": components, **more})


def lines(
    of: Sequence[QuarterEnergy],
    *tariffs: Tariff,
    supplies: Sequence[Supply] = (),
    zone: ZoneInfo = BERLIN,
    known: Known = NOTHING_MORE,
) -> dict[str, BillLine]:
    """Return the lines of a bill in EUR by their names."""
    found = bill(of, tariffs, supplies, zone, currency="EUR", known=known)
    assert len({line.name for line in found}) == len(found)
    return {line.name: line for line in found}
