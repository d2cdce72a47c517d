"""Which meters and nodes the flows of a site are sums of, field by field. Pure.

Each field here is the filled side of PUE, or of a role of meters, wherever it counts at all.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.jointly import Branch
from meterhouse_collector.rollup.meter_sides import energy_branches, volume_branches
from meterhouse_collector.rollup.site_energy import Branches, Expected, IntervalRows
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.power import MeterRole

_FACILITY: Final = ("reused_heat_facility_joint_joules", "sources_joint_joules")
_IT: Final = ("water_it_joint_joules", "water_source_it_joint_joules", "carbon_it_joint_joules")
_ROLES: Final[dict[str, MeterRole]] = {
    "ups_in_joint_joules": "ups_in",
    "ups_out_joint_joules": "ups_out",
    "reused_heat_joint_joules": "heat_reuse",
}
_WATER: Final = ("water_joint_litres",)


class Thing(NamedTuple):
    """What brings something to a figure; ``site`` is what belongs to no single thing."""

    kind: Literal["node", "meter", "engine", "site"]
    name: str


Found = list[tuple[Thing, Branch]]


def flow_branches(
    interval: IntervalRows, index: SiteIndex, expected: Expected, branches: Branches
) -> dict[str, Found]:
    """Return the branches of each field that is a side; where it is not zero they add up to it."""
    tree = index.metering(interval.start_seconds)
    rows, length = interval.meters, interval.length_seconds
    kind: Literal["meter", "node"] = "meter" if branches.it_metered else "node"
    found = dict.fromkeys(_FACILITY, _things("meter", branches.facility))
    found |= dict.fromkeys(_IT, _things(kind, branches.it))
    for field, role in _ROLES.items():
        parts = energy_branches(tree.role(role), rows, length, expected.meter_watts)
        found[field] = _things("meter", parts)
    water = _things("meter", volume_branches(tree.role("water"), rows, length))
    return found | dict.fromkeys(_WATER, water)


def _things(kind: Literal["meter", "node"], parts: Iterable[tuple[str, Branch]]) -> Found:
    return [(Thing(kind, name), part) for name, part in parts]
