"""Energy at places of the power path that no rollup sums: cooling, and the PDUs. Pure.

Both are of meters with these roles; a place whose meters are not known well enough is left out, as
what counts for PUE is.
"""

from collections.abc import Iterator
from typing import Final

from meterhouse_collector.rollup.meter_sides import energy_side
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import Point
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.power import MeterRole

PATH: Final = "path"
_ROLES: Final[tuple[MeterRole, ...]] = ("cooling", "pdu", "ups_out")


def path_points(index: SiteIndex, interval: IntervalRows, expected: Expected) -> Iterator[Point]:
    """Yield the energy of cooling and of PDUs in a quarter, where their meters tell of it.

    Between UPS and PDU the energy of both is that of the quarters in which both are known.
    """
    known = {role: _joules(index, interval, expected, role) for role in _ROLES}
    cooling, pdu, out = (known[role] for role in _ROLES)
    seconds = float(interval.length_seconds)
    fields: dict[str, float | int | str | bool] = {}
    if cooling is not None:
        fields |= {"cooling_joules": cooling, "cooling_seconds": seconds}
    if pdu is not None:
        fields |= {"pdu_joules": pdu, "pdu_seconds": seconds}
    if pdu is not None and out is not None:
        fields |= {
            "ups_out_joint_joules": out,
            "pdu_joint_joules": pdu,
            "pdu_joint_seconds": seconds,
        }
    if fields:
        yield Point("event", PATH, (("site", index.site),), fields, interval.start_seconds)


def _joules(
    index: SiteIndex, interval: IntervalRows, expected: Expected, role: MeterRole
) -> float | None:
    terms = index.metering(interval.start_seconds).role(role)
    found = energy_side(terms, interval.meters, interval.length_seconds, expected.meter_watts)
    return found.filled if found.joint else None
