"""Power usage effectiveness, after ISO/IEC 30134-2: facility energy over IT energy."""

from collections.abc import Mapping
from math import inf
from typing import Final, NamedTuple

from meterhouse_collector.kpi import energy
from meterhouse_collector.kpi.catalogue import Need
from meterhouse_collector.kpi.needs import is_provisional, needs_met
from meterhouse_collector.kpi.pue_label import Category, pue_label, too_short
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, KpiValue, below_floor, share
from meterhouse_collector.site.index import SiteIndex

# What is less rounds to 0.0 %.
_TOLD_PART_MIN: Final = 0.0005


class EnergyBasis(NamedTuple):
    """What the figures of a site are read from; None is the category of nodes, which have none.

    ``has`` is what else the site model has that a KPI may need; its renewable energy is
    ``provisional`` until certificates are retired. ``water_category`` is the lowest of its supplies
    of water (ISO/IEC 30134-9). ``battery_unmetered`` says that storage has no meter of its own.
    ``landlord_pue_ratio`` is what a landlord states, where there is one such figure.
    """

    boundary_metered: bool
    it_metered: bool
    category: Category | None
    slowest_step_seconds: float
    category_changes: bool = False
    has: frozenset[Need] = frozenset()
    provisional: bool = False
    water_category: Category | None = None
    battery_unmetered: bool = False
    landlord_pue_ratio: float | None = None


def energy_basis(index: SiteIndex, window: tuple[float, float] | None = None) -> EnergyBasis:
    """Return what a site model says its energy is read from, in a window or ever.

    A mixed cut has its most upstream category, and one that changes in the window is flagged
    (``definitions.md``).
    """
    first, last = window or (-inf, inf)
    trees = index.meterings(first, last)
    facility = [term.meter for tree in trees for term in tree.facility]
    equipment = [term.meter for tree in trees for term in tree.it]
    categories = [meter.category for meter in equipment if meter.category is not None]
    meters = (*facility, *equipment)
    return EnergyBasis(
        boundary_metered=bool(facility),
        it_metered=bool(equipment),
        category=min(categories, default=None),
        slowest_step_seconds=max(
            (meter.step for meter in meters if meter.step is not None),
            default=0.0,
        ),
        category_changes=window is not None and len({tree.category for tree in trees}) > 1,
        has=needs_met(index.model, trees),
        provisional=is_provisional(index, (first, last)),
        water_category=min((each.category for each in index.model.water), default=None),
        battery_unmetered=any(
            not storage.meters
            for at in (first, *(at for at in index.dated.storage.instants if first < at < last))
            for storage in index.dated.storage.at(at).values()
        ),
        landlord_pue_ratio=_stated(index, first, last),
    )


def _stated(index: SiteIndex, first: float, last: float) -> float | None:
    """Return the only figure of landlords in a window; of several nobody knows the weights."""
    colocations = index.dated.colocation
    found: set[float | None] = set()
    for at in (first, *(at for at in colocations.instants if first < at < last)):
        # Where there is no contract nobody states anything.
        found |= {each.landlord_pue for each in colocations.at(at).values()} or {None}
    return found.pop() if len(found) == 1 else None


def label(basis: EnergyBasis, window_seconds: float) -> str:
    """Return the name a PUE may have: only a trailing year is called PUE, the rest is interim."""
    name = pue_label(window_seconds, basis.category, it_metered=basis.it_metered)
    return f"{name}, which changes in the window" if basis.category_changes else name


def pue(
    sums: Mapping[str, float],
    *,
    window_seconds: float,
    basis: EnergyBasis,
    floor: float = COVERAGE_FLOOR,
) -> KpiValue:
    """Return joint facility energy / joint IT energy, with coverage weighted by IT energy.

    Its label says which part of both fills gaps. Without boundary meters it is the landlord's
    figure, an estimate (``definitions.md``, PUE).
    """
    if not basis.boundary_metered and basis.landlord_pue_ratio is not None:
        return _of_landlord(sums, basis.landlord_pue_ratio, window_seconds, floor)
    facility, equipment = sums["facility_joint_joules"], sums["it_joint_joules"]
    coverage = it_coverage(sums, "it_joint_joules", window_seconds)
    reason = _no_value(sums, window_seconds, basis) or below_floor(coverage, floor)
    value = None
    if reason is None:
        found = energy.pue(
            facility_joules=facility,
            it_joules=equipment,
            battery_unmetered=basis.battery_unmetered,
        )
        value, reason = (None if found.value is None else float(found.value)), found.reason
    return KpiValue(
        name="pue",
        unit="ratio",
        label=label(basis, window_seconds) + _estimated(sums),
        value=value,
        numerator=facility,
        denominator=equipment,
        coverage=coverage,
        reason=reason,
    )


def _of_landlord(
    sums: Mapping[str, float], pue_ratio: float, window_seconds: float, floor: float
) -> KpiValue:
    equipment = sums["it_expected_joules"]
    coverage = it_coverage(sums, "it_expected_joules", window_seconds)
    reason = below_floor(coverage, floor) if equipment > 0 else energy.NO_IT
    tenant = energy.tenant_facility_energy(it_joules=equipment, landlord_pue_ratio=pue_ratio)
    return KpiValue(
        name="pue",
        unit="ratio",
        label=f"the landlord's PUE, {tenant.method}",
        value=pue_ratio if reason is None else None,
        numerator=tenant.facility_joules,
        denominator=equipment,
        coverage=coverage,
        reason=reason,
    )


def _estimated(sums: Mapping[str, float]) -> str:
    joint = sums["facility_joint_joules"] + sums["it_joint_joules"]
    part = share(sums["estimated_joint_joules"], joint)
    return f", {part:.1%} estimated" if part >= _TOLD_PART_MIN else ""


def it_coverage(sums: Mapping[str, float], field: str, window_seconds: float) -> float:
    """Return the part of a window that counts, by the IT energy of a field of joint intervals."""
    rolled_up = sums["interval_seconds"]
    # Energy says nothing of intervals whose size is unknown, or that nobody rolled up: time does.
    sized = share(rolled_up - sums["pue_unexpected_seconds"], max(window_seconds, rolled_up))
    return share(sums[field], sums["it_expected_joules"]) * sized


def _no_value(sums: Mapping[str, float], window_seconds: float, basis: EnergyBasis) -> str | None:
    if not basis.boundary_metered:
        return "the site has no boundary meter"
    if (short := too_short(window_seconds, basis.slowest_step_seconds)) is not None:
        return short
    if sums["pue_joint_seconds"] <= 0:
        return "no interval has both facility and IT energy"
    if sums["it_joint_joules"] <= 0:
        return energy.NO_IT
    if sums["facility_joint_joules"] < 0:
        return energy.MORE_OUT
    return None
