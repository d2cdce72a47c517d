"""Formulas of where energy comes from, and of heat that is used again."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.energy import NO_FACILITY, NO_IT
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

PROVISIONAL: Final = "provisional: certificates are not retired yet"


class Source(NamedTuple):
    """A source of energy; ``renewable`` only where it is owned or its certificates are."""

    name: str
    joules: float
    renewable: bool = False


class SourceShare(NamedTuple):
    """A source of energy and its share of all of them."""

    name: str
    joules: float
    share_ratio: float


class EnergyBySource(NamedTuple):
    """All sources of a site with their shares; without energy there is no share."""

    sources: tuple[SourceShare, ...]
    total_joules: float
    renewable_joules: float
    reason: str | None


def ref(
    *, renewable_joules: float, facility_joules: float, certificates_retired: bool = True
) -> Reasoned:
    """Return the renewable energy factor: renewable energy, owned or certified, / facility energy.

    It is provisional until the certificates are retired. Raise ValueError for energy below zero
    (ISO/IEC 30134-3).
    """
    found = _part_of("renewable", renewable_joules, facility_joules)
    if found.value is None or certificates_retired:
        return found
    return Reasoned(found.value, PROVISIONAL)


def erf(*, reused_joules: float, facility_joules: float) -> Reasoned:
    """Return the energy reuse factor: heat handed over for use outside / facility energy.

    Raise ValueError for energy below zero (ISO/IEC 30134-6).
    """
    return _part_of("reused", reused_joules, facility_joules)


def ere(*, facility_joules: float, reused_joules: float, it_joules: float) -> Reasoned:
    """Return the energy reuse effectiveness: (facility - reused energy) / IT energy.

    It is (1 - ERF) * PUE, and may be below 1. Raise ValueError for energy below zero (Green Grid
    WP29; ISO/IEC 30134-6).
    """
    not_negative(it_joules=it_joules)
    reused = erf(reused_joules=reused_joules, facility_joules=facility_joules)
    if reused.value is None:
        return reused
    if it_joules == 0:
        return Reasoned(None, NO_IT)
    return Reasoned((facility_joules - reused_joules) / it_joules)


def energy_by_source(*, sources: Sequence[Source]) -> EnergyBySource:
    """Return each source of energy with its share of the sum, and the renewable part.

    Raise ValueError for energy below zero or a source named twice (reference 1.1: certificates
    are counted once).
    """
    not_negative(**{f"sources.{at}.joules": each.joules for at, each in enumerate(sources)})
    names = [each.name for each in sources]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"sources: named twice: {', '.join(twice)}")
    total = fsum(each.joules for each in sources)
    renewable = fsum(each.joules for each in sources if each.renewable)
    if total == 0:
        return EnergyBySource((), 0.0, 0.0, "no energy")
    shares = tuple(SourceShare(s.name, s.joules, s.joules / total) for s in sources)
    return EnergyBySource(shares, total, renewable, None)


def _part_of(word: str, part_joules: float, facility_joules: float) -> Reasoned:
    not_negative(**{f"{word}_joules": part_joules, "facility_joules": facility_joules})
    if facility_joules == 0:
        return Reasoned(None, NO_FACILITY)
    if part_joules > facility_joules:
        return Reasoned(None, f"more {word} than facility energy: counted twice, or not its period")
    return Reasoned(part_joules / facility_joules)


KPIS: Final = (
    Kpi(
        "ere",
        "ratio",
        "facility_joules - reused_joules",
        "it_joules",
        "(facility energy - reused energy) / IT energy",
        "Green Grid WP29; ISO/IEC 30134-6",
    ),
    Kpi(
        "energy_by_source",
        "by name",
        "joules of a source",
        "joules of all sources",
        "energy of each source / energy of all sources",
        "definitions of this project; (EU) 2024/1364 for what counts as renewable",
    ),
)
