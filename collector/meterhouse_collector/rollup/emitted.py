"""What the energy of one interval emitted, and the water of making it. Pure.

Scope 2 by location and by market apart, from dated average factors; a source without a factor has
no emission, so the whole interval has none. Scope 1 comes by hand, spread over its days.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from math import fsum
from typing import Final

from meterhouse_collector.rollup.supply import BOUGHT, Supplied
from meterhouse_collector.site.carbon import EmissionFactor, Method
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.model import SiteModel

_JOULES_PER_KWH: Final = 3_600_000.0
_JOULES_PER_MWH: Final = 3_600_000_000.0


def scope_2_kg(
    supplies: Iterable[Supplied], index: SiteIndex, at_seconds: float, method: Method
) -> float | None:
    """Return sum of energy * factor over what was bought, None where a factor is missing."""
    terms = []
    for each in _bought(supplies):
        factor = _factor(each, index, at_seconds, method)
        if factor is None:
            return None
        terms.append(each.joules / _JOULES_PER_KWH * factor.kg_per_kwh)
    return fsum(terms)


def source_litres(
    supplies: Iterable[Supplied], index: SiteIndex, at_seconds: float
) -> float | None:
    """Return the water of making what was bought, None where a factor does not say."""
    terms = []
    for each in _bought(supplies):
        factor = _factor(each, index, at_seconds, "location")
        if factor is None or factor.litres_per_kwh is None:
            return None
        terms.append(each.joules / _JOULES_PER_KWH * factor.litres_per_kwh)
    return fsum(terms)


def fuel_kg(model: SiteModel, at_seconds: float, seconds: float) -> float:
    """Return what burning fuel emitted: litres * kg per litre, evenly over its days."""
    day = model.day(at_seconds)
    return fsum(
        use.litres * use.kg_per_litre * seconds / _days(model, use.begins, use.ends)
        for use in model.fuel_use
        if use.begins <= day < use.ends
    )


def refrigerant_kg(model: SiteModel, at_seconds: float, seconds: float) -> float:
    """Return what lost refrigerant is worth in CO2e: kg * its potential, over the day."""
    day = model.day(at_seconds)
    return fsum(
        loss.kg * loss.gwp * seconds / _days(model, day, day + timedelta(days=1))
        for loss in model.refrigerant_loss
        if loss.noticed_on == day
    )


def certified_joules(model: SiteModel, at_seconds: float, seconds: float) -> float:
    """Return what retired guarantees of origin make renewable, evenly over their days.

    Those of a PPA or of the site prove what its source says already, and count nothing twice.
    """
    day = model.day(at_seconds)
    return fsum(
        each.mwh * _JOULES_PER_MWH * seconds / _days(model, each.begins, each.ends)
        for each in model.certificate
        if each.kind == "guarantee_of_origin"
        and each.retired is not None
        and each.begins <= day < each.ends
    )


def _bought(supplies: Iterable[Supplied]) -> Iterable[Supplied]:
    return (each for each in supplies if each.kind in BOUGHT and each.joules > 0)


def _factor(
    each: Supplied, index: SiteIndex, at_seconds: float, method: Method
) -> EmissionFactor | None:
    if each.source is None:
        return None
    return index.dated.emission_factor.get((each.source.name, method, "average"), at_seconds)


def _days(model: SiteModel, begins: date, ends: date) -> float:
    return model.instant(ends) - model.instant(begins)
