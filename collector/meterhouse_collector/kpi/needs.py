"""What a site model has that KPIs need: what is not there is not measured badly, but not at all."""

from collections.abc import Iterable

from meterhouse_collector.kpi.catalogue import Need
from meterhouse_collector.site.meters import MeterTree
from meterhouse_collector.site.model import SiteModel


def needs_met(model: SiteModel, trees: Iterable[MeterTree]) -> frozenset[Need]:
    """Return what KPIs may need and a site has, with the trees of meters of a window."""
    roles = {meter.role for tree in trees for meter in tree.meters.values()}
    by_location = [f for f in model.emission_factor if f.method == "location"]
    sides = {contract.side for contract in model.contract}
    found: dict[Need, bool] = {
        "water meter": "water" in roles,
        "emission factor of its grid": bool(by_location),
        "emission factor with litres": any(f.litres_per_kwh is not None for f in by_location),
        "energy source": bool(model.energy_source),
        "heat reuse meter": "heat_reuse" in roles,
        "meter on each side of the UPS": {"ups_in", "ups_out"} <= roles,
        "engine": bool(model.engine),
        "contract that sells capacity": "sold" in sides,
        "contract that buys capacity": "bought" in sides,
    }
    return frozenset(need for need, met in found.items() if met)


def is_provisional(model: SiteModel) -> bool:
    """Tell whether renewable energy is bought without a certificate that is retired."""
    retired = {each.energy_source for each in model.certificate if each.retired is not None}
    return any(
        source.renewable_ratio > 0 and source.kind in ("grid", "ppa") and source.name not in retired
        for source in model.energy_source
    )
