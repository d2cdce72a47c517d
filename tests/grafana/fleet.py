"""A small fleet whose sums are known: the rows of its rollups, and sums over them."""

from collections.abc import Iterable
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import (
    LATENCIES,
    QUANTILE_FIELD_NAMES,
    QUANTILES,
    ROLLUP_FIELD_NAMES,
)
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import GroupKey

START: Final = 1_700_000_100
H100: Final = "NVIDIA H100 80GB (HBM3)"
MI300: Final = "AMD MI300X/OAM"
STATES: Final = ("active", "held_idle", "free", "unhealthy", "unknown")
_DRAWN_PER_MEASURED: Final = 1.3

Sums = dict[str, float]


class Resolution(NamedTuple):
    """How long a row of a policy is, how many there are, and how long a step of the board is."""

    policy: str
    step: int
    rows: int
    bucket: int

    @property
    def end(self) -> int:
        """When the last row ends."""
        return START + self.rows * self.step


LIVE: Final = Resolution("live", 5, 60, 60)
KEPT: Final = Resolution("kept", 900, 8, 900)
END: Final = LIVE.end


class Row(NamedTuple):
    """The rollup of one group in one interval or quarter."""

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
    covered: float = 1.0
    unpriced: float = 0.0
    unexpected: float = 0.0


SITES: Final = {
    "north": Plan(),
    "no-tokens": Plan(tokens=0.0),
    # In the second half 8 of the 40 device-seconds are unknown; 90 % are known over all.
    "silent": Plan(unknown=(0.0, 8.0)),
    "stranded": Plan(stranded=30.0),
    "unmetered": Plan(joint=False, priced=False),
    # Of everything a part is known, and less than a figure needs.
    "partial": Plan(unknown=(2.0, 2.0), stranded=4.0, covered=0.8, unpriced=0.6, unexpected=0.2),
}


def group_rows(
    site: str, plan: Plan, wave: float, *, second_half: bool
) -> Iterable[tuple[GroupKey, Sums]]:
    """Return what the groups of a site did in five seconds: 14 devices, of which 6 serve."""
    unknown = plan.unknown[second_half]
    yield (
        GroupKey(site, "c1", "train", "acme", "nvidia", H100),
        _money(1, wave)
        | {
            "active_seconds": 30.0 - wave - unknown,
            "held_idle_seconds": wave,
            "unknown_seconds": unknown,
            "active_joules": 700.0 * (30.0 - wave - unknown),
            "held_idle_joules": 100.0 * wave,
            "unknown_joules": 90.0 * unknown,
            "node_energy_joules": 24_000.0,
            "sold_contracted_seconds": 30.0,
            "sold_delivered_seconds": 28.0 - unknown,
            "sold_undetermined_seconds": unknown,
            "sold_idle_seconds": wave,
            "sold_unknown_seconds": unknown,
            "bought_contracted_seconds": 35.0,
            "bought_delivered_seconds": 29.0,
            "bought_undetermined_seconds": 1.0,
        },
    )
    yield (
        GroupKey(site, "c1", "serve", "beta", "nvidia", H100, "llama"),
        _money(2, wave) | _serving(plan, wave),
    )
    yield (
        GroupKey(site, "c2", "spare", "none", "amd", MI300),
        _money(3, wave)
        | {
            "free_seconds": 10.0,
            "free_joules": 600.0,
            "stranded_seconds": plan.stranded,
            "reserve_seconds": 5.0,
        },
    )
    yield GroupKey(site), _site_fields(plan, wave)


def _money(number: int, wave: float) -> Sums:
    """Return what each kind costs in each state: all of them different."""
    return {
        f"{state}_{kind}_money": 1e-4 * number * (1 + k + 7 * s) + 1e-5 * wave
        for k, kind in enumerate(KINDS)
        for s, state in enumerate(STATES)
    }


def _serving(plan: Plan, wave: float) -> Sums:
    return {
        "active_seconds": 20.0,
        "held_idle_seconds": 5.0,
        "unhealthy_seconds": 5.0,
        "unhealthy_failed_seconds": 1.0 + 0.1 * wave,
        "unhealthy_lost_seconds": 2.0,
        "unhealthy_planned_seconds": 0.75,
        "unhealthy_quarantined_seconds": 0.25,
        "active_joules": 14_000.0,
        "held_idle_joules": 500.0,
        "unhealthy_joules": 50.0,
        "sold_contracted_seconds": 20.0,
        "sold_delivered_seconds": 15.0 + wave / 10,
        "sold_undetermined_seconds": 0.5,
        "sold_idle_seconds": 5.0,
        "input_tokens": 3 * plan.tokens,
        "cached_input_tokens": plan.tokens,
        "output_tokens": plan.tokens,
        "requests_succeeded": 9.0 + wave,
        "requests_failed": 1.0,
        "serving_money": 0.034 + 0.0001 * wave,
        "serving_output_tokens": plan.tokens,
        "serving_input_tokens": 3 * plan.tokens,
        "serving_computed_money": 0.033 + 0.0001 * wave,
        "serving_computed_tokens": 2.5 * plan.tokens,
        "served_drawn_joules": 15_000.0 + wave,
        "served_output_tokens": plan.tokens,
        "served_covered_seconds": 30.0,
        "engine_installed_seconds": 30.0,
        "engine_told_seconds": 29.0,
        "engine_covered_seconds": 30.0 if plan.priced else 0.0,
        "engine_computed_covered_seconds": 29.5 if plan.priced else 0.0,
    } | {
        f"{metric}_observed_requests": 0.0 if wave == 0 else 10.0 + wave + place
        for place, metric in enumerate(LATENCIES)
    }


def _site_fields(plan: Plan, wave: float) -> Sums:
    equipment = 45_000.0 + 100.0 * wave
    fields = {"interval_seconds": 5.0, "it_joules": equipment}
    if not plan.joint:
        return fields | {"pue_unexpected_seconds": 5.0}
    facility = 1.25 * equipment + 50.0
    return (
        fields
        | {
            "facility_joules": facility,
            "facility_joint_joules": facility,
            "it_joint_joules": equipment,
            "it_expected_joules": equipment,
            "estimated_joint_joules": 20.0 + wave,
            "pue_joint_seconds": 5.0,
            "pue_unexpected_seconds": plan.unexpected,
            "billed_joules": facility + 10.0,
            "estimated_billed_joules": 40.0 + wave,
            "unbilled_seconds": 0.5,
            "ups_in_joint_joules": 50_000.0 + wave,
            "ups_out_joint_joules": 48_000.0 + wave,
            "ups_joint_seconds": 5.0,
        }
        | _flows(facility, equipment, wave)
    )


def _flows(facility: float, equipment: float, wave: float) -> Sums:
    return {
        "water_litres": 2.0 + wave,
        "water_joint_litres": 1.9 + wave,
        "water_it_joint_joules": 0.99 * equipment,
        "water_source_joint_litres": 3.0 + wave,
        "water_source_it_joint_joules": 0.98 * equipment,
        "reused_heat_joules": 9_000.0,
        "reused_heat_joint_joules": 8_800.0 + wave,
        "reused_heat_facility_joint_joules": 0.97 * facility,
        "reused_heat_joint_seconds": 4.9,
        "grid_joint_joules": 0.5 * facility,
        "ppa_joint_joules": 0.2 * facility,
        "on_site_joint_joules": 0.15 * facility,
        "fuel_joint_joules": 0.1 * facility,
        "purchased_cooling_joint_joules": 0.06 * facility,
        "storage_joint_joules": 100.0 - 30.0 * wave,
        "export_joint_joules": 20.0,
        "renewable_joint_joules": 0.35 * facility,
        "sources_joint_joules": facility,
        "sources_joint_seconds": 4.95,
        "location_carbon_kg": 0.002 + 1e-5 * wave,
        "market_carbon_kg": 0.001,
        "location_unfactored_seconds": 0.1,
        "market_unfactored_seconds": 0.4,
        "energy_carbon_joint_kg": 0.0025,
        "carbon_it_joint_joules": 0.985 * equipment,
        "fuel_carbon_kg": 0.0003,
        "refrigerant_carbon_kg": 0.0001,
    }


def rows(resolution: Resolution = LIVE) -> list[Row]:
    """Return every row of every site; a longer one has the sums of as many five seconds."""
    found = []
    scale = resolution.step / 5
    for site, plan in SITES.items():
        for number in range(resolution.rows):
            start = START + number * resolution.step
            second = 2 * number >= resolution.rows
            for group, fields in group_rows(site, plan, float(number % 7), second_half=second):
                known = {n: v * (plan.covered if _is_part(n) else 1.0) for n, v in fields.items()}
                found.append(Row(group, start, _whole(known, plan, scale)))
    return found


def _is_part(name: str) -> bool:
    """Tell whether a field is of what is known of another one."""
    return "_joint_" in name or name in {
        "engine_told_seconds",
        "engine_covered_seconds",
        "engine_computed_covered_seconds",
        "served_covered_seconds",
    }


def _whole(some: Sums, plan: Plan, scale: float) -> Sums:
    whole = dict.fromkeys(ROLLUP_FIELD_NAMES, 0.0) | {n: scale * v for n, v in some.items()}
    installed = fsum(whole[f"{state}_seconds"] for state in STATES)
    whole["installed_seconds"] = installed
    whole["unpriced_seconds"] = plan.unpriced * installed
    for state in STATES:
        whole[f"{state}_drawn_joules"] = _DRAWN_PER_MEASURED * whole[f"{state}_joules"]
    if not plan.priced:
        whole["unpriced_seconds"] = installed
        whole |= {name: 0.0 for name in whole if name.endswith("money")}
    return whole


def quantiles(row: Row) -> Sums:
    """Return the stored quantiles of a row: of nothing observed they are 0."""
    found = dict.fromkeys(QUANTILE_FIELD_NAMES, 0.0)
    for place, metric in enumerate(LATENCIES):
        observed = row.fields[f"{metric}_observed_requests"]
        for rank, name in enumerate(QUANTILES):
            if observed > 0:
                spread = (row.start // 5) % 11
                found[f"{metric}_{name}_seconds"] = 0.1 * (place + 1) + 0.2 * rank + 0.01 * spread
    return found


def points(resolution: Resolution = LIVE) -> list[Point]:
    """Return the rows as they stand in the database."""
    part = {"part": "0"} if resolution is LIVE else {}
    return [
        Point(
            "live" if resolution is LIVE else "kept",
            "rollup",
            tuple(sorted((part | row.group._asdict()).items())),
            {**row.fields, **quantiles(row)},
            row.start,
        )
        for row in rows(resolution)
    ]


def sums(chosen: Iterable[Row]) -> Sums:
    """Add rows, field by field."""
    some = list(chosen)
    return {name: fsum(row.fields[name] for row in some) for name in ROLLUP_FIELD_NAMES}
