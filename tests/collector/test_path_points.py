"""Cooling and PDUs: the energy of a quarter that no rollup has, as a point for boards."""

import pytest

from meterhouse_collector.quarters.path import path_points
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.rows import MeterRow, PackedRow, Point, pack
from meterhouse_collector.store import Store
from tests.collector.settling import FIRST
from tests.grafana.plain_path import QUARTER, SITE

NOTHING_EXPECTED = Expected({}, {})
COOLING = {"cooling_joules": 9.0e7, "cooling_seconds": 900.0}
PDU = {"pdu_joules": 6.0e7, "pdu_seconds": 900.0}


def row(joules: float | None, *, covered: float = 1.0) -> MeterRow:
    return MeterRow(QUARTER * 1000, int(QUARTER * 1000 * covered), energy_joules=joules)


def told(name: str, joules: float) -> PackedRow:
    return PackedRow("ledger", "meter", SITE.site, name, "node-1", FIRST, pack(row(joules)))


def fields(expected: Expected = NOTHING_EXPECTED, **meters: MeterRow) -> list[dict[str, object]]:
    named = {name.replace("_", "-"): meter for name, meter in meters.items()}
    interval = IntervalRows(FIRST, QUARTER, {}, named, {})
    return [{**point.fields} for point in path_points(SITE, interval, expected)]


async def test_a_settled_quarter_has_its_cooling_and_a_late_meter_adds_the_pdus(
    store: Store,
) -> None:
    async def points() -> list[Point]:
        return await store.points("event", "path", start_seconds=0, end_seconds=2**33)

    assert await store.write([told("chiller", 9.0e7)]) == []
    await settle_quarters(store, SITE, [FIRST])
    assert await points() == [Point("event", "path", (("site", "site-a"),), {**COOLING}, FIRST)]
    assert await store.write([told("pdu-1", 2.0e7), told("pdu-2", 4.0e7)]) == []
    await settle_quarters(store, SITE, [FIRST])
    assert [point.fields for point in await points()] == [COOLING | PDU]


def test_what_is_not_known_is_left_out() -> None:
    assert fields() == []
    # One of two PDUs says nothing of both, and a meter of half a quarter nothing of the whole.
    assert fields(pdu_1=row(2.0e7)) == []
    assert fields(chiller=row(4.5e7, covered=0.5)) == []
    assert fields(chiller=row(None)) == []


def test_a_small_gap_is_filled_as_that_of_any_meter_is() -> None:
    assert fields(chiller=row(8.955e7, covered=0.995)) == [pytest.approx(COOLING)]
    watts = Expected({"pdu-2": 0.0}, {})
    assert fields(watts, pdu_1=row(6.0e7)) == [PDU]


def test_between_ups_and_pdu_only_what_both_tell_counts() -> None:
    both = {"ups_out_joint_joules": 6.5e7, "pdu_joint_joules": 6.0e7, "pdu_joint_seconds": 900.0}
    assert fields(ups=row(6.5e7), pdu_1=row(2.0e7), pdu_2=row(4.0e7)) == [PDU | both]
