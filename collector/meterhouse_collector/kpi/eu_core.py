"""The core set of indicators that the EU asks of data centres; CUE is none of them."""

from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.energy import pue
from meterhouse_collector.kpi.renewable import erf, ref
from meterhouse_collector.kpi.value import Reasoned
from meterhouse_collector.kpi.water import wue


class EuCore(NamedTuple):
    """The four indicators; WUE under both units that are in use."""

    pue_ratio: float | None
    wue_litres_per_kwh: float | None
    wue_m3_per_mwh: float | None
    erf_ratio: float | None
    ref_ratio: float | None
    reason: str | None


def eu_core(
    *,
    facility_joules: float,
    it_joules: float,
    water_litres: float,
    reused_joules: float,
    renewable_joules: float,
) -> EuCore:
    """Return PUE, WUE, ERF and REF of a calendar year, IT energy read at the UPS output.

    ``renewable_joules`` is guarantees of origin + power purchase agreements + on site. Raise
    ValueError for amounts below zero ((EU) 2024/1364, annexes II and III). Vector EU-CORE.
    """
    of_energy = pue(facility_joules=facility_joules, it_joules=it_joules)
    of_water = wue(water_litres=water_litres, it_joules=it_joules)
    of_heat = erf(reused_joules=reused_joules, facility_joules=facility_joules)
    of_source = ref(renewable_joules=renewable_joules, facility_joules=facility_joules)
    reasons = dict.fromkeys(
        each.reason for each in (of_energy, of_water, of_heat, of_source) if each.reason
    )
    return EuCore(
        pue_ratio=_number(of_energy),
        wue_litres_per_kwh=_number(of_water),
        wue_m3_per_mwh=_number(of_water),
        erf_ratio=_number(of_heat),
        ref_ratio=_number(of_source),
        reason="; ".join(reasons) or None,
    )


def _number(found: Reasoned) -> float | None:
    return None if found.value is None else float(found.value)


KPIS: Final = (
    Kpi(
        "eu_core",
        "by name",
        "facility, water, reused, renewable",
        "IT, IT, facility, facility",
        "PUE = EDC / EIT; WUE = WIN / EIT; ERF = EREUSE / EDC; REF = ERES-TOT / EDC",
        "(EU) 2024/1364, as of its first edition",
    ),
)
