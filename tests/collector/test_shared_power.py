"""Network and storage are borne by installed share: an idle device as much as a busy one."""

from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.rollup.contributions import contributions
from meterhouse_collector.rollup.pricing import Sums, drawn_joules
from meterhouse_collector.rollup.rates import NO_RATES
from meterhouse_collector.rollup.roll_up import add_sums, roll_up
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.web.nodes import node_views
from tests.collector.rollups import (
    EXPECTED,
    FLEET,
    HARDWARE,
    INTERVALS,
    KWH,
    LENGTH,
    PDU,
    TARIFF,
    UTILITY,
    asset,
    engine,
    index,
    interval,
    meter,
    node,
    served,
    share,
    total,
)
from tests.collector.sites import faults

FABRIC = """
[[meter]]
name = "fabric-pdu"
role = "rack"
parent = "pdu"
[[shared_equipment]]
name = "fabric"
kind = "network"
price = 0
in_service = 2026-01-01
life = "1825d"
meters = ["fabric-pdu"]
"""


def known(*parts: str) -> SiteIndex:
    return index(asset("n1", 1), asset("n2", 1), HARDWARE, UTILITY, PDU, TARIFF, *parts)


def half_idle(fabric: float | None) -> IntervalRows:
    """Return a device at work at 700 W and one that idles at 100 W, and what is beside them."""
    busy = node(share("tenant:acme", (5000, 0, 0, 0, 0), (3500.0, None, None, None, None)))
    idle = node(share("tenant:acme", (0, 0, 5000, 0, 0), (None, None, 500.0, None, None)))
    meters = {"utility": meter(KWH), "pdu": meter(KWH / 2)}
    if fabric is not None:
        meters["fabric-pdu"] = meter(fabric)
    return interval({"n1": busy, "n2": idle}, meters)


def energy(sums: Sums) -> tuple[float, float]:
    return sums["active_energy_money"], sums["free_energy_money"]


def test_an_idle_device_bears_as_much_of_the_network_as_a_busy_one() -> None:
    alone = total(roll_up(half_idle(1000.0), known()))
    assert energy(alone) == pytest.approx((0.36 * 7 / 8, 0.36 / 8))
    sums = total(roll_up(half_idle(1000.0), known(FABRIC)))
    # 3,500 and 500 J at the devices, and 500 J for each of 1,000 J in the network.
    assert (sums["active_drawn_joules"], sums["free_drawn_joules"]) == (4000.0, 1000.0)
    assert (sums["active_joules"], sums["free_joules"]) == (3500.0, 500.0)
    assert energy(sums) == pytest.approx((0.36 * 4 / 5, 0.36 / 5))


def test_a_gap_has_the_last_known_power_and_without_one_nothing_is_made_up() -> None:
    expected = Expected({"fabric-pdu": 200.0}, {})
    sums = total(roll_up(half_idle(None), known(FABRIC), expected))
    assert (sums["active_drawn_joules"], sums["free_drawn_joules"]) == (4000.0, 1000.0)
    sums = total(roll_up(half_idle(None), known(FABRIC)))
    assert (sums["active_drawn_joules"], sums["free_drawn_joules"]) == (3500.0, 500.0)


def test_before_it_is_in_service_and_once_it_is_retired_nobody_bears_it() -> None:
    for dates in ("in_service = 2026-06-01", "in_service = 2026-01-01\nretired = 2026-05-01"):
        site = known(FABRIC.replace("in_service = 2026-01-01", dates))
        assert total(roll_up(half_idle(1000.0), site))["free_drawn_joules"] == 500.0


def test_what_serves_bears_its_part() -> None:
    site = known(engine("e1", 'served_model = "llama"', "n1/*"), FABRIC)
    busy = node(share("engine:e1", (5000, 0, 0, 0, 0), (3500.0, None, None, None, None)))
    rows = half_idle(1000.0)
    rows = rows._replace(nodes={**rows.nodes, "n1": busy}, engines={"e1": served("llama", 100, 50)})
    # Its device with its network, and the free one of its pool.
    assert total(roll_up(rows, site))["served_drawn_joules"] == pytest.approx(5000.0)


def test_the_nodes_still_come_to_what_the_site_costs() -> None:
    site, rows = known(FABRIC), half_idle(1000.0)
    groups = roll_up(rows, site)
    hours = [view.money_per_hour for view in node_views(rows, groups, site)]
    sums = total(groups)
    spent = sum(sums[f"{state}_{kind}_money"] for state in wire.STATES for kind in KINDS)
    assert None not in hours
    assert fsum(hour or 0.0 for hour in hours) == pytest.approx(spent * 3600 / LENGTH)


@settings(max_examples=100, deadline=None)
@given(INTERVALS, EXPECTED, st.floats(0, 1e6))
def test_nothing_is_lost_and_the_parts_of_things_still_add_up(
    rows: IntervalRows, expected: Expected, fabric: float
) -> None:
    plain, shared = index(*FLEET), index(*FLEET, FABRIC)
    rows = rows._replace(meters={**rows.meters, "fabric-pdu": meter(fabric)})
    before = total(roll_up(rows, plain, expected))
    after = total(roll_up(rows, shared, expected))
    assert drawn_joules([after]) == pytest.approx(drawn_joules([before]) + fabric)
    for state in wire.STATES:
        name = f"{state}_drawn_joules"
        seconds = after[f"{state}_seconds"] / after["installed_seconds"]
        assert after[name] - before[name] == pytest.approx(fabric * seconds, abs=1e-3)
    parts = contributions(rows, shared, expected, NO_RATES).things.values()
    summed = add_sums(s for groups in parts for s in groups.values())
    assert drawn_joules([summed]) == pytest.approx(drawn_joules([after]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (FABRIC.replace('kind = "network"', 'kind = "building"'), 'meters with kind = "network"'),
        (FABRIC.replace('meters = ["fabric-pdu"]', 'meters = ["nowhere"]'), "found 'nowhere'"),
    ],
)
def test_what_has_no_meter_or_is_no_network_is_refused(text: str, fault: str) -> None:
    (found,) = faults(
        'name = "site"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
        + PDU
        + text.replace("price = 0", "price = 1")
    )
    assert fault in found
