"""What joules cost, put on sums: the part of the money that a bill decides, not a device.

It needs nothing but the sums, so that a bill that is known later, or known better, re-states the
money of an interval or a quarter without its rows.
"""

from collections.abc import Iterable, Mapping
from math import fsum
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.money.kinds import JOULES_KINDS
from meterhouse_collector.site.index import GroupKey

Sums = dict[str, float]
DRAWN: Final = tuple(f"{state}_drawn_joules" for state in wire.STATES)
_FIELDS: Final = {
    kind: tuple(f"{state}_{kind}_money" for state in wire.STATES) for kind in JOULES_KINDS
}
_SERVING: Final = (
    "serving_money",
    "serving_accrued_money",
    "serving_drawn_joules",
    "serving_output_tokens",
    "serving_input_tokens",
    "serving_computed_money",
    "serving_computed_accrued_money",
    "serving_computed_drawn_joules",
    "serving_computed_tokens",
    "engine_covered_seconds",
    "engine_computed_covered_seconds",
)


class Dues(NamedTuple):
    """What is due for the joules of one interval, by kind; no ``energy`` where no price is known.

    ``estimated_energy`` is the part of ``energy`` that fills gaps.
    """

    energy: float | None
    demand: float = 0.0
    water: float = 0.0
    carbon: float = 0.0
    estimated_energy: float = 0.0


def zero_sums() -> Sums:
    """Return sums of nothing: what overwrites a group that has vanished."""
    return dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0)


def priced(
    groups: Mapping[GroupKey, Mapping[str, float]], site_group: GroupKey, dues: Dues
) -> dict[GroupKey, Sums]:
    """Return the sums of all groups with what is due split by the joules drawn in each state.

    What is due while nothing was drawn belongs to the site and to no state: ``unknown``. Without a
    price all is unpriced, and nothing that served has a cost. Pricing twice is pricing once, but
    sums without a price have lost what served: make them anew from rows.
    """
    used = drawn_joules(groups.values())
    result = {group: with_dues(sums, used, dues) for group, sums in groups.items()}
    put_dues(result.setdefault(site_group, zero_sums()), used, dues)
    return result


def put_dues(site: Sums, used: float, dues: Dues) -> None:
    """Put what is due in all on the sums of a site; ``used`` is what was drawn in all."""
    for kind in JOULES_KINDS:
        due = getattr(dues, kind) or 0.0
        site[f"due_{kind}_money"] = due
        if used == 0:
            site[f"unknown_{kind}_money"] = due
    known = dues.energy is not None
    site["unpriced_energy_seconds"] = 0.0 if known else site["interval_seconds"]
    site["estimated_energy_money"] = dues.estimated_energy if known else 0.0


def drawn_joules(parts: Iterable[Mapping[str, float]]) -> float:
    """Return the joules drawn in all: what is due is split by them."""
    return fsum(sums[name] for sums in parts for name in DRAWN)


def with_dues(sums: Mapping[str, float], used: float, dues: Dues) -> Sums:
    """Return the sums of a group, or of a part of it, with its share of what is due.

    ``used`` is what was drawn in all, so the parts of a group add up to the group.
    """
    result = dict(sums)
    shares = [sums[name] / used if used > 0 else 0.0 for name in DRAWN]
    for kind, names in _FIELDS.items():
        amount = getattr(dues, kind) or 0.0
        for name, share in zip(names, shares, strict=True):
            result[name] = share * amount
    if dues.energy is None:
        result["unpriced_seconds"] = sums["installed_seconds"]
        result.update(dict.fromkeys(_SERVING, 0.0))
        return result
    due = fsum((dues.energy, dues.demand, dues.water, dues.carbon))
    for word in ("serving", "serving_computed"):
        share = sums[f"{word}_drawn_joules"] / used if used > 0 else 0.0
        result[f"{word}_money"] = sums[f"{word}_accrued_money"] + share * due
    return result
