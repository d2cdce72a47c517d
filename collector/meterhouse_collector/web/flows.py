"""The power path and the capacity waterfall of a window, from its sums. Pure; SI units."""

from collections.abc import Mapping
from math import fsum
from typing import Final

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.kpi.waterfall import waterfall
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.web.fleet import Activity

SOURCES: Final = (
    "grid",
    "ppa",
    "on_site",
    "fuel",
    "storage",
    "purchased_cooling",
)
NO_JOINT: Final = "no interval has both facility and IT energy"
NO_SOURCES: Final = "not all sources of energy are known"
MORE_OUT: Final = "more IT power than facility power: a meter is wrong, or a battery discharges"


class Watts(Struct, frozen=True):
    """One end of the path and its mean power."""

    name: str
    power_watts: float


class Path(Struct, frozen=True, kw_only=True):
    """Mean power from the sources to the states of devices, over the time that counts for PUE.

    ``other_it_watts`` is IT power that no device accounts for: network, storage, silent nodes.
    """

    sources: tuple[Watts, ...] = ()
    facility_watts: float | None = None
    loss_watts: float | None = None
    ups_loss_watts: float | None = None
    it_watts: float | None = None
    states: tuple[Watts, ...] = ()
    pools: tuple[Watts, ...] = ()
    other_it_watts: float | None = None
    covered_seconds: float = 0.0
    reason: str | None = None


class Level(Struct, frozen=True):
    """One level of the waterfall in device-seconds; None is not known, and then says why."""

    name: str
    device_seconds: float | None
    reason: str | None = None


def path_of(sums: Mapping[str, float], groups: Mapping[GroupKey, Sums]) -> Path:
    """Return the power path of a window; ``groups`` are its sums by the finest groups."""
    joint = sums["pue_joint_seconds"]
    seconds = sums["interval_seconds"]
    if joint <= 0 or seconds <= 0:
        return Path(reason=NO_JOINT)
    facility = sums["facility_joint_joules"] / joint
    equipment = sums["it_joint_joules"] / joint
    states = tuple(Watts(s, sums[f"{s}_drawn_joules"] / seconds) for s in wire.STATES)
    drawn = fsum(each.power_watts for each in states)
    ups = sums["ups_joint_seconds"]
    return Path(
        sources=_sources(sums),
        facility_watts=facility,
        loss_watts=facility - equipment,
        ups_loss_watts=(sums["ups_in_joint_joules"] - sums["ups_out_joint_joules"]) / ups
        if ups > 0
        else None,
        it_watts=equipment,
        states=states,
        pools=_pools(groups, seconds),
        other_it_watts=max(0.0, equipment - drawn),
        covered_seconds=joint,
        reason=MORE_OUT if equipment > facility else None,
    )


def _sources(sums: Mapping[str, float]) -> tuple[Watts, ...]:
    seconds = sums["sources_joint_seconds"]
    if seconds <= 0:
        return ()
    found = [Watts(name, sums[f"{name}_joint_joules"] / seconds) for name in SOURCES]
    return tuple(each for each in found if each.power_watts != 0)


def _pools(groups: Mapping[GroupKey, Sums], seconds: float) -> tuple[Watts, ...]:
    joules: dict[str, list[float]] = {}
    for group, sums in groups.items():
        if sums["installed_seconds"] > 0:
            parts = joules.setdefault(group.pool, [])
            parts.extend(sums[f"{state}_drawn_joules"] for state in wire.STATES)
    found = [Watts(pool, fsum(parts) / seconds) for pool, parts in joules.items()]
    return tuple(sorted(found, key=lambda each: (-each.power_watts, each.name)))


def levels_of(
    sums: Mapping[str, float], *, contracted: bool, activity: Activity | None
) -> tuple[Level, ...]:
    """Return the waterfall of a window; ``contracted`` tells whether capacity is bought."""
    active = sums["active_seconds"]
    allocated = active + sums["held_idle_seconds"]
    known = activity is not None and activity.covered_seconds > 0
    levels = waterfall(
        active_seconds=active,
        held_idle_seconds=sums["held_idle_seconds"],
        free_seconds=sums["free_seconds"],
        unhealthy_seconds=sums["unhealthy_seconds"],
        unknown_seconds=sums["unknown_seconds"],
        contracted_seconds=sums["bought_contracted_seconds"] if contracted else None,
        delivered_seconds=sums["bought_delivered_seconds"] if contracted else None,
        allocated_seconds=allocated,
    )
    usable = levels.available_seconds - sums["stranded_seconds"]
    share = activity.seconds / activity.covered_seconds if known and activity else None
    bought = None if contracted else "no contract buys capacity"
    return (
        Level("contracted", levels.contracted_seconds, bought),
        Level("delivered", levels.delivered_seconds, bought),
        Level("installed", levels.installed_seconds),
        Level("available", levels.available_seconds),
        Level("usable", usable),
        Level("known", max(0.0, usable - sums["unknown_seconds"])),
        Level("allocated", allocated),
        Level("active", active),
        Level(
            "effective",
            None if share is None else active * share,
            "no device tells how active it is" if share is None else None,
        ),
    )
