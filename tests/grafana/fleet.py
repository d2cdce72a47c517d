"""A small fleet whose sums are known: the rows of its rollups, and sums over them."""

from collections.abc import Iterable
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import GroupKey

STEP: Final = 5
START: Final = 1_700_000_100
END: Final = START + 300
HALF: Final = START + 150
H100: Final = "NVIDIA H100 80GB (HBM3)"
MI300: Final = "AMD MI300X/OAM"

Sums = dict[str, float]


class Row(NamedTuple):
    """The rollup of one group in one interval."""

    group: GroupKey
    start: int
    fields: Sums


class Plan(NamedTuple):
    """How a site differs from the others; seconds are device-seconds of 5 in an interval."""

    tokens: float = 4000.0
    unknown: tuple[float, float] = (0.0, 0.0)
    stranded: float = 0.0
    joint: bool = True
    priced: bool = True


SITES: Final = {
    "north": Plan(),
    "no-tokens": Plan(tokens=0.0),
    # In the second half 8 of the 40 device-seconds are unknown; 90 % are known over all.
    "silent": Plan(unknown=(0.0, 8.0)),
    "stranded": Plan(stranded=30.0),
    "unmetered": Plan(joint=False, priced=False),
}


def group_rows(site: str, plan: Plan, start: int) -> Iterable[tuple[GroupKey, Sums]]:
    """Return what the groups of a site did in one interval: 14 devices, of which 6 serve."""
    wave = float(start // STEP % 7)
    unknown = plan.unknown[start >= HALF]
    yield (
        GroupKey(site, "c1", "train", "acme", "nvidia", H100),
        {
            "active_seconds": 30.0 - wave - unknown,
            "held_idle_seconds": wave,
            "unknown_seconds": unknown,
            "active_joules": 700.0 * (30.0 - wave - unknown),
            "active_capital_money": 0.03 - 0.001 * wave,
            "held_idle_capital_money": 0.001 * wave,
            "unknown_capital_money": 0.002 * unknown,
            "active_energy_money": 0.007,
            "held_idle_energy_money": 0.0003 * wave,
        },
    )
    yield (
        GroupKey(site, "c1", "serve", "beta", "nvidia", H100, "llama"),
        {
            "active_seconds": 20.0,
            "held_idle_seconds": 5.0,
            "unhealthy_seconds": 5.0,
            "active_capital_money": 0.02,
            "held_idle_capital_money": 0.005,
            "unhealthy_capital_money": 0.005,
            "active_energy_money": 0.004 + 0.0001 * wave,
            "input_tokens": 3 * plan.tokens,
            "output_tokens": plan.tokens,
            "serving_money": 0.034 + 0.0001 * wave,
            "serving_output_tokens": plan.tokens,
            "serving_input_tokens": 3 * plan.tokens,
            "engine_installed_seconds": 30.0,
            "engine_covered_seconds": 30.0 if plan.priced else 0.0,
        },
    )
    yield (
        GroupKey(site, "c2", "spare", "none", "amd", MI300),
        {
            "free_seconds": 10.0,
            "stranded_seconds": plan.stranded,
            "free_capital_money": 0.008,
            "free_energy_money": 0.0005,
        },
    )
    yield GroupKey(site), _site_fields(plan, wave)


def _site_fields(plan: Plan, wave: float) -> Sums:
    equipment = 45_000.0 + 100.0 * wave
    fields = {"interval_seconds": 5.0, "it_joules": equipment}
    if not plan.joint:
        return fields | {"pue_unexpected_seconds": 5.0}
    return fields | {
        "facility_joules": 1.25 * equipment + 50.0,
        "facility_joint_joules": 1.25 * equipment + 50.0,
        "it_joint_joules": equipment,
        "it_expected_joules": equipment,
        "pue_joint_seconds": 5.0,
    }


def rows() -> list[Row]:
    """Return every row of every site."""
    found = []
    for site, plan in SITES.items():
        for start in range(START, END, STEP):
            for group, fields in group_rows(site, plan, start):
                whole = dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0) | fields
                states = ("active", "held_idle", "free", "unhealthy", "unknown")
                installed = fsum(whole[f"{state}_seconds"] for state in states)
                whole["installed_seconds"] = installed
                if not plan.priced:
                    whole["unpriced_seconds"] = installed
                    whole |= {name: 0.0 for name in whole if name.endswith("money")}
                found.append(Row(group, start, whole))
    return found


def points() -> list[Point]:
    """Return the rows as they stand in the database."""
    return [
        Point(
            "live",
            "rollup",
            tuple(sorted(({"part": "all"} | row.group._asdict()).items())),
            dict(row.fields),
            row.start,
        )
        for row in rows()
    ]


def sums(chosen: Iterable[Row]) -> Sums:
    """Add rows, field by field."""
    some = list(chosen)
    return {name: fsum(row.fields[name] for row in some) for name in ROLLUP_FIELD_NAMES}
