"""A name that one table takes from another is there, and a currency has a rate."""

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from datetime import date
from operator import attrgetter
from typing import Final, NamedTuple

from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset


class Reference(NamedTuple):
    """A key of a table whose value, or values, are names of an entry of one of ``targets``."""

    table: str
    key: str
    targets: tuple[str, ...]


REFERENCES: Final = (
    Reference("pool", "cluster", ("cluster",)),
    Reference("pool", "tenant", ("tenant",)),
    Reference("asset", "pool", ("pool",)),
    Reference("asset", "contract", ("contract",)),
    Reference("asset", "rack", ("power",)),
    Reference("meter", "parent", ("meter",)),
    Reference("meter", "share", ("cluster",)),
    Reference("sensor", "cluster", ("cluster",)),
    Reference("power", "parent", ("power", "grid_connection")),
    Reference("power", "pair", ("power",)),
    Reference("power", "meters", ("meter",)),
    Reference("power", "clusters", ("cluster",)),
    Reference("generator", "meters", ("meter",)),
    Reference("storage", "meters", ("meter",)),
    Reference("cooling", "clusters", ("cluster",)),
    Reference("water", "meters", ("meter",)),
    Reference("grid_connection", "meters", ("meter",)),
    Reference("supply", "source", ("energy_source", "generator")),
    Reference("colocation", "tariff", ("tariff",)),
    Reference("shared_equipment", "meters", ("meter",)),
    Reference("contract", "pools", ("pool",)),
    Reference("contract", "tenant", ("tenant",)),
    Reference("commitment", "contract", ("contract",)),
    Reference("pipeline", "contract", ("contract",)),
    Reference("pipeline", "pool", ("pool",)),
    Reference("pipeline", "needs", ("pipeline", "grid_connection.increment")),
    Reference("token_price", "tenant", ("tenant",)),
    Reference("energy_source", "meters", ("meter",)),
    Reference("energy_source", "tariffs", ("tariff",)),
    Reference("emission_factor", "energy_source", ("energy_source",)),
    Reference("certificate", "energy_source", ("energy_source",)),
    Reference("fuel_use", "generator", ("generator",)),
    Reference("refrigerant_loss", "cooling_unit", ("cooling",)),
    Reference("generator_run", "generator", ("generator",)),
    *(
        Reference(table, f"scope.{part}", (part,))
        for table in ("budget", "threshold")
        for part in ("site", "cluster", "pool", "tenant")
    ),
)


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each name that is not there, and each currency without a rate."""
    for reference in REFERENCES:
        yield from _unknown(model, reference)
    yield from _pools_in_force(model)
    yield from _currencies(model)
    yield from _emissions(model)


def _unknown(model: SiteModel, reference: Reference) -> Iterator[str]:
    entries = getattr(model, reference.table)
    if not entries:
        return
    known = {name for target in reference.targets for name in _names(model, target)}
    optional = reference.targets[0] in {"cluster", "tenant"} or reference.table == "supply"
    if optional and not known:
        return
    value = attrgetter(reference.key)
    for position, entry in enumerate(entries):
        for name in _values(value(entry)):
            if name not in known:
                tables = " or ".join(f"[[{target}]]" for target in reference.targets)
                allowed = ", ".join(sorted(known)) or f"none, as there is no {tables}"
                where = f"{reference.table}.{position}.{reference.key}"
                yield f"{where}: found {name!r}, allowed: {allowed}"


def _values(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return value if isinstance(value, tuple | dict) else ()


def _names(model: SiteModel, target: str) -> AbstractSet[str]:
    if target == "site":
        return {model.name}
    if target == "grid_connection.increment":
        return {i.name for connection in model.grid_connection for i in connection.increment}
    names = {entry.name for entry in getattr(model, target)}
    if target == "tenant":
        # Without a table of tenants, the pools say who there is.
        return names | {"none"} if names else {pool.tenant for pool in model.pool}
    if target == "cluster" and not names:
        return {pool.cluster for pool in model.pool}
    return names


def _pools_in_force(model: SiteModel) -> Iterator[str]:
    """Yield a fault for each asset that would be in no pool for a part of its service."""
    spans: dict[str, tuple[date, date]] = {}
    for pool in model.pool:
        begins, ends = spans.get(pool.name, (date.max, date.min))
        spans[pool.name] = (
            min(begins, pool.valid_from or date.min),
            max(ends, pool.valid_to or date.max),
        )
    for position, asset in enumerate(model.asset):
        begins, ends = spans.get(asset.pool, (date.min, date.max))
        if asset.in_service < begins or (asset.retired or date.max) > ends:
            held = "ever" if begins == date.min else begins
            until = "" if ends == date.max else f" until {ends}"
            yield (
                f"asset.{position}.pool: found {asset.pool!r}, allowed: a pool for all of its"
                f" service, and this one is there from {held}{until}"
            )


def _currencies(model: SiteModel) -> Iterator[str]:
    rates: dict[str, date] = {}
    for rate in model.exchange_rate:
        if rate.to_currency == model.currency:
            known = rates.get(rate.from_currency, rate.valid_from)
            rates[rate.from_currency] = min(known, rate.valid_from)
    for table, value in model:
        if not isinstance(value, tuple):
            continue
        for position, entry in enumerate(value):
            currency = getattr(entry, "currency", None)
            if currency is None or currency == model.currency:
                continue
            begun, needed = rates.get(currency), _needed(model.asset, table, entry)
            if begun is None or begun > needed:
                when = "" if needed == date.max else f" that is valid on {needed}"
                yield (
                    f"{table}.{position}.currency: found {currency!r}, allowed: {model.currency},"
                    f" or a currency with an [[exchange_rate]] to it{when}"
                )


def _emissions(model: SiteModel) -> Iterator[str]:
    """Yield a fault for each price of emissions that nothing says the amount of."""
    factored = any(factor.method == "market" for factor in model.emission_factor)
    for position, price in enumerate(model.carbon_price):
        if price.kind == "invoiced" and price.scope == 2 and not factored:  # noqa: PLR2004 - scope 2
            yield (
                f"carbon_price.{position}.scope: found 2, allowed: 1, or 2 with an"
                ' [[emission_factor]] of the method "market"'
            )


def _needed(assets: Iterable[Asset], table: str, entry: object) -> date:
    """Return the first day on which an amount must be converted; ``date.max`` is some day."""
    if table == "hardware":
        model = getattr(entry, "accelerator_model", None)
        bought = [asset.priced_on for asset in assets if asset.accelerator_model == model]
        return min(bought, default=date.max)
    days = (getattr(entry, key, None) for key in ("valid_from", "paid_on", "purchased"))
    return next((day for day in days if day is not None), getattr(entry, "in_service", date.max))
