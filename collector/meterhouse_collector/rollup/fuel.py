"""The energy of fuel that was burnt, of generators that are counted by their fuel. Pure.

It comes by hand, spread evenly over its days: of a generator its fuel counts or its output, and
never both (``definitions.md``, Boundary).
"""

from typing import Final

from meterhouse_collector.site.index import SiteIndex

_JOULES_PER_KWH: Final = 3_600_000.0


def fuel_joules(index: SiteIndex, at_seconds: float, seconds: float) -> dict[str, float]:
    """Return the energy of what each generator burnt in a stretch: litres * kWh per litre."""
    model = index.model
    if not model.fuel_use:
        return {}
    day, generators = model.day(at_seconds), index.dated.generator.at(at_seconds)
    found: dict[str, float] = {}
    for use in model.fuel_use:
        burning = generators.get(use.generator)
        if burning is None or burning.counted != "fuel" or burning.kwh_per_litre is None:
            continue
        if use.begins <= day < use.ends:
            part = seconds / (model.instant(use.ends) - model.instant(use.begins))
            joules = use.litres * burning.kwh_per_litre * _JOULES_PER_KWH * part
            found[use.generator] = found.get(use.generator, 0.0) + joules
    return found
