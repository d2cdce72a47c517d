"""Formulas of energy: what a site drew over what its IT drew."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, share
from meterhouse_collector.kpi.value import Reasoned

BELOW_ONE: Final = "below 1: a meter of the boundary is missing, or one is wrong"
MORE_OUT: Final = "facility energy below 0: more left the boundary than came in"
NO_IT: Final = "no IT energy"
NO_FACILITY: Final = "no facility energy"
PUE_SOURCE: Final = "ISO/IEC 30134-2, current edition"


class PueByCategory(NamedTuple):
    """PUE by where IT energy is read; None where it is not read there."""

    category_1_ratio: float | None
    category_2_ratio: float | None
    category_3_ratio: float | None
    reason: str | None


class PueOfNodes(NamedTuple):
    """What a PUE from the energy of nodes says: never more, and less by what they miss."""

    high_ratio: float | None
    low_ratio: float | None
    reason: str | None


class Generator(NamedTuple):
    """A generator, by the energy of its fuel or by its output, never both."""

    fuel_joules: float | None = None
    output_joules: float | None = None


class Cooling(NamedTuple):
    """Cooling bought as heat removed, and the stated energy for each joule of it."""

    heat_joules: float
    energy_factor_ratio: float


class TenantEnergy(NamedTuple):
    """Facility energy of a tenant without meters of its own."""

    facility_joules: float
    method: str


def pue(*, facility_joules: float, it_joules: float, battery_unmetered: bool = False) -> Reasoned:
    """Return facility energy / IT energy; below 1 alarms unless a battery discharges unmetered.

    Raise ValueError for energy below zero (ISO/IEC 30134-2; reference 4.1).
    """
    not_negative(facility_joules=facility_joules, it_joules=it_joules)
    if it_joules == 0:
        return Reasoned(None, NO_IT)
    value = facility_joules / it_joules
    return Reasoned(value, BELOW_ONE if value < 1 and not battery_unmetered else None)


def pue_by_category(
    *,
    facility_joules: float,
    ups_output_joules: float | None = None,
    pdu_output_joules: float | None = None,
    it_input_joules: float | None = None,
) -> PueByCategory:
    """Return PUE with IT energy read at the UPS (1), the PDU (2) and the IT input (3).

    Raise ValueError for energy below zero (ISO/IEC 30134-2: categories are never mixed).
    Vector PUE-CATEGORY.
    """
    read = (ups_output_joules, pdu_output_joules, it_input_joules)
    found = [
        Reasoned(None) if it is None else pue(facility_joules=facility_joules, it_joules=it)
        for it in read
    ]
    at_ups, at_pdu, at_input = (None if f.value is None else float(f.value) for f in found)
    reasons = dict.fromkeys(each.reason for each in found if each.reason is not None)
    if all(it is None for it in read):
        reasons["IT energy is read nowhere"] = None
    return PueByCategory(at_ups, at_pdu, at_input, "; ".join(reasons) or None)


def partial_pue(*, zone_non_it_joules: float, zone_it_joules: float) -> Reasoned:
    """Return (non-IT + IT energy) / IT energy of one zone.

    Raise ValueError for energy below zero (ISO/IEC 30134-2, derivatives).
    """
    not_negative(zone_non_it_joules=zone_non_it_joules, zone_it_joules=zone_it_joules)
    if zone_it_joules == 0:
        return Reasoned(None, NO_IT)
    return Reasoned((zone_non_it_joules + zone_it_joules) / zone_it_joules)


def pue_of_partials(*, partial_pue_ratio: Sequence[float], it_joules: Sequence[float]) -> Reasoned:
    """Return 1 + the sum of (pPUE - 1) of subsystems that serve the same IT energy.

    Partial PUEs never multiply, and add up over one IT energy only (reference 1.1). Raise
    ValueError for a partial PUE below 1, or lists of different lengths.
    """
    not_negative(**{f"it_joules.{at}": joules for at, joules in enumerate(it_joules)})
    if len(partial_pue_ratio) != len(it_joules):
        raise ValueError("it_joules: one for each partial_pue_ratio")
    for at, ratio in enumerate(partial_pue_ratio):
        if not ratio >= 1:
            raise ValueError(f"partial_pue_ratio.{at} is {ratio}: at least 1")
    if not partial_pue_ratio:
        return Reasoned(None, "no partial PUE")
    if len(set(it_joules)) > 1:
        return Reasoned(None, "the partial PUEs are of different IT energies")
    return Reasoned(1.0 + fsum(ratio - 1.0 for ratio in partial_pue_ratio))


def pue_of_nodes(
    *, facility_joules: float, node_joules: float, missing_ratio: float | None = None
) -> PueOfNodes:
    """Return the bounds of a PUE whose IT energy is that of nodes, without network and storage.

    ``missing_ratio`` is the share of the IT energy that nodes do not measure, where it is known:
    at 10 % a PUE of 1.25 reads 1.39 (``definitions.md``). Raise ValueError for energy below zero.
    """
    share(missing_ratio=missing_ratio)
    found = pue(facility_joules=facility_joules, it_joules=node_joules)
    if found.value is None:
        return PueOfNodes(None, None, found.reason)
    high = float(found.value)
    low = None if missing_ratio is None else high * (1.0 - missing_ratio)
    reasons = ["upper bound: IT energy from nodes", found.reason]
    return PueOfNodes(high, low, "; ".join(filter(None, reasons)))


def facility_energy(  # noqa: PLR0913 - each is a term of the definition
    *,
    import_joules: float,
    generation_joules: float = 0.0,
    storage_discharge_joules: float = 0.0,
    storage_charge_joules: float = 0.0,
    export_joules: float = 0.0,
    foreign_load_joules: float = 0.0,
    generators: Sequence[Generator] = (),
    purchased_cooling: Sequence[Cooling] = (),
) -> float:
    """Return the energy inside the boundary: what came in less what went out or is not ours.

    Foreign loads are those of other users behind the same meters (``definitions.md``, Boundary).
    Raise ValueError for energy below zero, a generator with fuel and output both or neither, or
    more out than in.
    """
    not_negative(
        import_joules=import_joules,
        generation_joules=generation_joules,
        storage_discharge_joules=storage_discharge_joules,
        storage_charge_joules=storage_charge_joules,
        export_joules=export_joules,
        foreign_load_joules=foreign_load_joules,
    )
    total = fsum(
        (
            import_joules,
            generation_joules,
            storage_discharge_joules,
            -storage_charge_joules,
            -export_joules,
            -foreign_load_joules,
            *(_generated(at, each) for at, each in enumerate(generators)),
            *(_cooling(at, each) for at, each in enumerate(purchased_cooling)),
        )
    )
    if total < 0:
        raise ValueError(MORE_OUT)
    return total


def it_energy(*, it_joules: Sequence[float], mechanical_joules: Sequence[float] = ()) -> float:
    """Return the energy of IT meters less that of pumps and cooling units that hang on the UPS.

    Network and storage are IT (``definitions.md``, Boundary). Raise ValueError for energy below
    zero, more mechanical than metered, or no IT meter.
    """
    if not it_joules:
        raise ValueError("it_joules: at least one meter is needed")
    not_negative(**{f"it_joules.{at}": each for at, each in enumerate(it_joules)})
    not_negative(**{f"mechanical_joules.{at}": each for at, each in enumerate(mechanical_joules)})
    total = fsum((*it_joules, *(-each for each in mechanical_joules)))
    if total < 0:
        raise ValueError("mechanical_joules: more than the IT meters that they hang on")
    return total


def tenant_facility_energy(*, it_joules: float, landlord_pue_ratio: float) -> TenantEnergy:
    """Return a tenant's IT energy times the landlord's PUE, which is an estimate.

    Never for energy that a boundary meter read (``definitions.md``, PUE). Raise ValueError for
    energy below zero or a PUE below 1.
    """
    not_negative(it_joules=it_joules)
    if not landlord_pue_ratio >= 1:
        raise ValueError(f"landlord_pue_ratio is {landlord_pue_ratio}: at least 1")
    return TenantEnergy(it_joules * landlord_pue_ratio, "estimated")


def facility_power(*, it_watts: float, pue_ratio: float) -> float:
    """Return the power that a site of a design PUE draws for its IT power.

    Raise ValueError for power below zero or a PUE below 1 (PUE read the other way round).
    Vector PUE-BUILD.
    """
    not_negative(it_watts=it_watts)
    if not pue_ratio >= 1:
        raise ValueError(f"pue_ratio is {pue_ratio}: at least 1")
    return it_watts * pue_ratio


def pue_saving(*, it_watts: float, from_pue_ratio: float, to_pue_ratio: float) -> float:
    """Return the power that another PUE saves for the same IT power; below 0 it costs.

    Raise ValueError for power below zero or a PUE below 1 (PUE read the other way round).
    Vector PUE-BUILD.
    """
    before = facility_power(it_watts=it_watts, pue_ratio=from_pue_ratio)
    return before - facility_power(it_watts=it_watts, pue_ratio=to_pue_ratio)


def freed_it_power(*, feed_watts: float, from_pue_ratio: float, to_pue_ratio: float) -> float:
    """Return the IT power that another PUE frees below the same feed: feed / to - feed / from.

    Raise ValueError for power below zero or a PUE below 1 (reference 1.2).
    """
    not_negative(feed_watts=feed_watts)
    for name, ratio in (("from_pue_ratio", from_pue_ratio), ("to_pue_ratio", to_pue_ratio)):
        if not ratio >= 1:
            raise ValueError(f"{name} is {ratio}: at least 1")
    return feed_watts / to_pue_ratio - feed_watts / from_pue_ratio


def _generated(at: int, generator: Generator) -> float:
    fuel, output = generator
    not_negative(**{f"generators.{at}.fuel_joules": fuel, f"generators.{at}.output_joules": output})
    energy = output if fuel is None else fuel
    if energy is None or (fuel is not None and output is not None):
        raise ValueError(f"generators.{at}: fuel_joules or output_joules, and only one of them")
    return energy


def _cooling(at: int, cooling: Cooling) -> float:
    heat, factor = cooling
    not_negative(
        **{
            f"purchased_cooling.{at}.heat_joules": heat,
            f"purchased_cooling.{at}.energy_factor_ratio": factor,
        }
    )
    return heat * factor


KPIS: Final = (
    Kpi(
        "pue_by_category",
        "ratio",
        "facility_joules",
        "ups_output_joules, pdu_output_joules or it_input_joules",
        "facility energy / IT energy at UPS output, PDU output and IT input",
        PUE_SOURCE,
    ),
    Kpi(
        "partial_pue",
        "ratio",
        "zone_non_it_joules + zone_it_joules",
        "zone_it_joules",
        "energy of a zone / IT energy of that zone",
        f"{PUE_SOURCE}, derivatives",
    ),
    Kpi(
        "pue_of_partials",
        "ratio",
        "it_joules + sum of non-IT joules",
        "it_joules",
        "1 + sum of (pPUE - 1), over the same IT energy only",
        f"{PUE_SOURCE}, derivatives",
    ),
    Kpi(
        "pue_of_nodes",
        "ratio",
        "facility_joules",
        "node_joules",
        "facility energy / energy of nodes: upper bound; times (1 - missing share): lower bound",
        "definitions of this project",
    ),
    Kpi(
        "facility_energy",
        "joules",
        "import + generation + discharge - charge - export - foreign loads + cooling",
        "1",
        "sum of signed boundary energies, and purchased cooling by its stated factor",
        "definitions of this project; EN 50600-4-2",
    ),
    Kpi(
        "it_energy",
        "joules",
        "it_joules - mechanical_joules",
        "1",
        "sum of IT meters - sum of pumps and cooling units behind them",
        f"definitions of this project; {PUE_SOURCE}",
    ),
    Kpi(
        "tenant_facility_energy",
        "joules",
        "it_joules * landlord_pue_ratio",
        "1",
        "IT energy of a tenant without boundary meters * PUE of the landlord, estimated",
        "definitions of this project",
    ),
    Kpi(
        "facility_power",
        "watts",
        "it_watts * pue_ratio",
        "1",
        "IT power * design PUE",
        f"{PUE_SOURCE}, solved for the facility",
    ),
    Kpi(
        "pue_saving",
        "watts",
        "it_watts * (from_pue_ratio - to_pue_ratio)",
        "1",
        "IT power * (PUE before - PUE after)",
        f"{PUE_SOURCE}, solved for the facility",
    ),
    Kpi(
        "freed_it_power",
        "watts",
        "feed_watts / to_pue_ratio - feed_watts / from_pue_ratio",
        "1",
        "feed / PUE after - feed / PUE before",
        f"{PUE_SOURCE}, solved for IT",
    ),
)
