"""What a site model has that KPIs need: what is not there is not measured badly, but not at all."""

from collections.abc import Iterable
from itertools import pairwise

from meterhouse_collector.kpi.catalogue import Need
from meterhouse_collector.site.index import SiteIndex
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


def is_provisional(index: SiteIndex, window: tuple[float, float]) -> bool:
    """Tell whether renewable energy is bought on a day that no retired certificate is of."""
    sources = index.dated.energy_source
    first, last = window
    cuts = (first, *(at for at in sources.instants if first < at < last), last)
    return any(
        source.renewable_ratio > 0
        and source.kind in ("grid", "ppa")
        and not _is_proven(index.model, source.name, stretch)
        for stretch in pairwise(cuts)
        for source in sources.at(stretch[0]).values()
    )


def _is_proven(model: SiteModel, source: str, stretch: tuple[float, float]) -> bool:
    proven, ends = stretch
    proofs = sorted(
        (model.instant(each.begins), model.instant(each.ends))
        for each in model.certificate
        # A guarantee of origin counts by itself, and says nothing of its source's own part.
        if each.energy_source == source
        and each.kind != "guarantee_of_origin"
        and each.retired is not None
    )
    for begins, until in proofs:
        if begins <= proven:
            proven = max(proven, until)
    return proven >= ends
