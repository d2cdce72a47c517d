"""What accrues by time: capital, support, rent and operations, exactly, from the site model alone.

Register and contract decide, never telemetry (``definitions.md``, Asset register). The same
functions give the rates of a live interval and the totals of a statement.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from meterhouse_collector.money.capital import annuity_year_money, straight_line_money
from meterhouse_collector.money.currency import Conversion, convert_currency
from meterhouse_collector.money.decimals import CONTEXT, ZERO, add, multiply
from meterhouse_collector.money.exact import QUANTUM, precise
from meterhouse_collector.site.base import until_next
from meterhouse_collector.site.contracts import CapacityContract
from meterhouse_collector.site.hardware import Hardware, Operations, SharedEquipment
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset

YEAR_SECONDS: Final = 365 * 86400
_HOUR_SECONDS: Final = Decimal(3600)
NamedT = TypeVar("NamedT", CapacityContract, Operations)


class Accrual(NamedTuple):
    """What one entry of the site model costs in a window, in the reporting currency.

    ``pools`` is what it is for, all of them where empty; ``accelerator_model`` where it is for one.
    Without an ``amount`` there is a ``reason``. ``waits`` is for what is not in service yet;
    ``original`` is the amount in the ``currency`` that it is priced in.
    """

    kind: str
    name: str
    amount: Decimal | None
    pools: tuple[str, ...] = ()
    accelerator_model: str | None = None
    avoidable: bool = False
    waits: bool = False
    reason: str | None = None
    original: Decimal | None = None
    currency: str | None = None


def accruals(index: SiteIndex, begins: int, ends: int) -> list[Accrual]:
    """Return what accrues in a window of Unix seconds, entry by entry; of nothing there is none."""
    model = index.model
    found = [
        *(entry for asset in model.asset for entry in _asset(index, asset, begins, ends)),
        *(
            entry
            for shared in model.shared_equipment
            for entry in _shared(model, shared, begins, ends)
        ),
        *(_contract(model, c, begins, ends) for c in _named(model.contract) if c.side == "bought"),
        *(_operations(model, entry, begins, ends) for entry in _named(model.operations)),
    ]
    return [entry for entry in found if entry.amount is None or entry.amount != 0]


@precise
def device_capital(
    model: SiteModel, asset: Asset, hardware: Hardware, begins: int, ends: int
) -> Decimal:
    """Return what one device of an asset costs in a window, in the hardware's currency.

    Its life begins with its delivery, or else in service; what is left when it is retired is a loss
    to write off, and no cost of what the others do.
    """
    service = asset.delivered or asset.in_service
    return _capital(
        _Owned(
            hardware.price_per_device,
            hardware.salvage_per_device,
            Decimal(str(hardware.life)),
            hardware.cost_of_capital if hardware.depreciation == "annuity" else None,
            model.instant(service),
        ),
        begins,
        ends,
    )


class _Owned(NamedTuple):
    price: Decimal
    salvage: Decimal
    life_seconds: Decimal
    interest: Decimal | None
    service_seconds: float


def _capital(owned: _Owned, begins: int, ends: int) -> Decimal:
    if owned.interest is None:
        return straight_line_money(
            price_money=owned.price,
            salvage_money=owned.salvage,
            life_seconds=owned.life_seconds,
            in_service_seconds=Decimal(owned.service_seconds),
            begins_seconds=begins,
            ends_seconds=ends,
        )
    years = owned.life_seconds / YEAR_SECONDS
    yearly = annuity_year_money(
        price_money=owned.price,
        salvage_money=owned.salvage,
        interest_ratio=owned.interest,
        life_years=years,
    )
    # Even over the life, as straight line is, with all that the annuity pays in place of the price.
    return straight_line_money(
        price_money=yearly * years,
        salvage_money=0,
        life_seconds=owned.life_seconds,
        in_service_seconds=Decimal(owned.service_seconds),
        begins_seconds=begins,
        ends_seconds=ends,
    )


def _asset(index: SiteIndex, asset: Asset, begins: int, ends: int) -> Iterator[Accrual]:
    if asset.contract is not None:
        return
    model = index.model
    service = int(model.instant(asset.in_service))
    name, pools = f"{asset.accelerator_model}", (asset.pool,)
    hardware = index.hardware_of(asset)
    if hardware is None:
        if ends > service and not _gone(model, asset, begins):
            reason = f"{asset.accelerator_model}: no [[hardware]] price on {asset.priced_on}"
            yield Accrual("capital", name, None, pools, asset.accelerator_model, reason=reason)
        return
    last = ends if asset.retired is None else min(ends, int(model.instant(asset.retired)))
    parts = ((begins, min(last, service), True), (max(begins, service), last, False))
    for since, until, waits in parts:
        if until <= since:
            continue
        count = Decimal(asset.all_devices)
        if not waits or asset.delivered is not None:
            money = device_capital(model, asset, hardware, since, until)
            # At the rate of its day: what was paid does not change with the rates of later days.
            paid_at = model.instant(asset.priced_on)
            yield _accrued(
                model, ("capital", name), multiply(money, count), hardware.currency, paid_at
            )._replace(pools=pools, accelerator_model=asset.accelerator_model, waits=waits)
        if not waits and hardware.support_per_device_year != 0:
            support = multiply(_per_year(hardware.support_per_device_year, until - since), count)
            yield _accrued(
                model, ("operations", f"{name} support"), support, hardware.currency, since
            )._replace(pools=pools, accelerator_model=asset.accelerator_model)


def _named(entries: Sequence[NamedT]) -> list[NamedT]:
    return until_next(entries, lambda entry: entry.name)


def _gone(model: SiteModel, asset: Asset, at_seconds: int) -> bool:
    return asset.retired is not None and model.instant(asset.retired) <= at_seconds


def _shared(model: SiteModel, shared: SharedEquipment, begins: int, ends: int) -> Iterator[Accrual]:
    owned = _Owned(
        shared.price,
        shared.salvage,
        Decimal(str(shared.life)),
        shared.cost_of_capital if shared.depreciation == "annuity" else None,
        model.instant(shared.purchased or shared.in_service),
    )
    name = f"{shared.kind} {shared.name}"
    last = ends if shared.retired is None else min(ends, int(model.instant(shared.retired)))
    money = _capital(owned, begins, max(begins, last))
    # At the rate of its day, as devices are.
    paid_at = model.instant(shared.purchased or shared.in_service)
    yield _accrued(model, ("capital", name), money, shared.currency, paid_at)
    since = max(begins, int(model.instant(shared.in_service)))
    if last > since:
        support = _per_year(shared.support_per_year, last - since)
        yield _accrued(model, ("operations", f"{name} support"), support, shared.currency, begins)


def _contract(model: SiteModel, contract: CapacityContract, begins: int, ends: int) -> Accrual:
    found = contract_rate(model, contract, begins, ends)
    return Accrual(
        "rent",
        contract.name,
        found.amount,
        pools=contract.pools,
        avoidable=contract.notice is not None,
        reason=found.reason,
        original=found.original,
        currency=found.original_currency,
    )


def contract_rate(
    model: SiteModel, contract: CapacityContract, begins: int, ends: int
) -> Conversion:
    """Return what a contract costs by its rate and units, each day at the exchange rate of it."""
    currency = contract.currency or model.currency
    whole = contract_money(model, contract, begins, ends)
    found = Conversion(original=whole, original_currency=currency, currency=model.currency)
    if currency == model.currency:
        return replace(found, amount=whole)
    amounts: list[Decimal] = []
    for since, until in _days(model, begins, ends):
        money = contract_money(model, contract, since, until)
        known = (currency, model.currency)
        one = convert_currency(money, known, model.day(since), model.exchange_rate)
        if one.amount is None:
            return replace(found, reason=one.reason)
        amounts.append(one.amount)
    return replace(found, amount=add(amounts))


def contract_money(model: SiteModel, contract: CapacityContract, begins: int, ends: int) -> Decimal:
    """Return what a contract costs in a window by its rate and units, in its own currency."""
    zone = ZoneInfo(model.time_zone)
    money = ZERO
    for since, until in _days(model, begins, ends):
        units = Decimal(contract.units_on(model.day(since)))
        seconds = Decimal(until - since)
        if contract.rate_per == "unit_hour":
            part = multiply(contract.rate, units, CONTEXT.divide(seconds, _HOUR_SECONDS))
        else:
            count = units if contract.rate_per == "unit_month" else min(units, Decimal(1))
            part = multiply(contract.rate, count, _of_month(zone, since, until))
        money = CONTEXT.add(money, part)
    return money.quantize(QUANTUM, context=CONTEXT)


def _operations(model: SiteModel, entry: Operations, begins: int, ends: int) -> Accrual:
    zone = ZoneInfo(model.time_zone)
    money = ZERO
    for since, until in _days(model, begins, ends):
        day = model.day(since)
        if day < entry.valid_from or (entry.valid_to is not None and day >= entry.valid_to):
            continue
        share = (
            _of_month(zone, since, until) if entry.per == "month" else _of_year(zone, since, until)
        )
        money = CONTEXT.add(money, multiply(entry.amount, share))
    money = money.quantize(QUANTUM, context=CONTEXT)
    name = f"{entry.kind} {entry.name}"
    found = _accrued(model, ("operations", name), money, entry.currency, begins)
    return found._replace(avoidable=entry.avoidable)


def _accrued(
    model: SiteModel,
    entry: tuple[str, str],
    money: Decimal,
    currency: str | None,
    at_seconds: float,
) -> Accrual:
    kind, name = entry
    original = currency or model.currency
    converted = convert_currency(
        money, (original, model.currency), model.day(at_seconds), model.exchange_rate
    )
    return Accrual(
        kind,
        name,
        converted.amount,
        reason=converted.reason,
        original=money,
        currency=original,
    )


def _per_year(money: Decimal, seconds: int) -> Decimal:
    part = CONTEXT.divide(Decimal(seconds), Decimal(YEAR_SECONDS))
    return multiply(money, part).quantize(QUANTUM, context=CONTEXT)


def _days(model: SiteModel, begins: int, ends: int) -> Iterator[tuple[int, int]]:
    """Cut a window at the local midnights within it: entries begin and end there."""
    since = begins
    while since < ends:
        until = min(ends, int(model.instant(model.day(since) + timedelta(days=1))))
        yield since, until
        since = until


def _of_month(zone: ZoneInfo, since: int, until: int) -> Decimal:
    day = datetime.fromtimestamp(since, zone)
    following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return _part(zone, (day.year, day.month), (following.year, following.month), until - since)


def _of_year(zone: ZoneInfo, since: int, until: int) -> Decimal:
    year = datetime.fromtimestamp(since, zone).year
    return _part(zone, (year, 1), (year + 1, 1), until - since)


def _part(zone: ZoneInfo, first: tuple[int, int], after: tuple[int, int], seconds: int) -> Decimal:
    begins, ends = (datetime(*month, 1, tzinfo=zone).timestamp() for month in (first, after))
    return CONTEXT.divide(Decimal(seconds), Decimal(int(ends - begins)))
