"""PUE, demand, headroom, coverage, cost per token: when each alerts, and when it has no value."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.alerts.conditions import coverage, energy
from meterhouse_collector.alerts.known import DemandKnown, LoadKnown
from meterhouse_collector.alerts.power import PowerWatch, of_meters, projected_mean_watts
from meterhouse_collector.kpi.headroom import headroom
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.targets import Scope
from tests.collector.alerting import (
    CHAT,
    SITE,
    WINDOW_SECONDS,
    devices,
    known,
    one,
    sums,
    threshold,
    verdict,
)
from tests.collector.collecting import SITE as SITE_TEXT
from tests.collector.collecting import index

IT_METER = '[[meter]]\nname = "pdu"\nrole = "it"\ncategory = 2\n'
METERED = index(IT_METER)
START = 1_700_000_100 // 900 * 900


def site_energy(facility: float, equipment: float) -> Sums:
    return sums(
        interval_seconds=WINDOW_SECONDS,
        facility_joint_joules=facility,
        it_joint_joules=equipment,
        it_expected_joules=equipment,
        pue_joint_seconds=WINDOW_SECONDS,
    )


@pytest.mark.parametrize(("facility", "does"), [(161, "fires"), (159, "keeps"), (149, "clears")])
def test_a_pue_above_its_range(facility: float, does: str) -> None:
    watch = threshold("pue", above=1.6, clear=1.5)
    seen = known({SITE: site_energy(facility, 100)}, of=METERED)
    assert verdict(one(energy.pue_beyond(watch, seen))) == does
    assert verdict(one(energy.pue_below_one(seen))) == "clears"


def test_a_pue_below_its_range() -> None:
    seen = known({SITE: site_energy(105, 100)}, of=METERED)
    assert verdict(one(energy.pue_beyond(threshold("pue", below=1.1), seen))) == "fires"


def test_a_pue_below_one_is_an_alarm_unless_a_battery_may_discharge_unmetered() -> None:
    groups = {SITE: site_energy(99, 100)}
    found = one(energy.pue_below_one(known(groups, of=METERED)))
    assert (verdict(found), found.value) == ("fires", 0.99)
    assert found.reason is not None
    assert "boundary" in found.reason
    unmetered = known(groups, of=METERED, battery_unmetered=True)
    assert verdict(one(energy.pue_below_one(unmetered))) == "unknown"


def test_without_joint_energy_there_is_no_pue_and_no_alarm() -> None:
    seen = known({SITE: sums(interval_seconds=WINDOW_SECONDS)}, of=METERED)
    assert verdict(one(energy.pue_below_one(seen))) == "unknown"
    assert verdict(one(energy.pue_beyond(threshold("pue", above=1.6), seen))) == "unknown"
    of_pool = threshold("pue", above=1.6, scope=Scope(pool="chat"))
    assert verdict(one(energy.pue_beyond(of_pool, seen))) == "unknown"


def test_the_projected_mean_is_energy_so_far_and_recent_power_for_the_rest() -> None:
    # 600 s at 900 kW, then 1,200 kW for the last 300 s: 1,000 kW.
    projected = projected_mean_watts(
        energy_joules=600 * 900e3, known_seconds=600, recent_watts=1200e3, interval_seconds=900
    )
    assert projected == pytest.approx(1000e3)


@given(st.floats(0, 1e9), st.integers(0, 900))
def test_constant_power_projects_itself(watts: float, seconds: int) -> None:
    projected = projected_mean_watts(
        energy_joules=watts * seconds,
        known_seconds=seconds,
        recent_watts=watts,
        interval_seconds=900,
    )
    assert projected == pytest.approx(watts)


CONNECTION = """
[[grid_connection]]
name = "feed"
contracted_watts = 1000000.0
marginal_pue = 1.25
"""


def feed(watch: PowerWatch, start: int, watts: float | None, intervals: int = 1) -> int:
    for _ in range(intervals):
        known_energy = watts is not None
        site_sums = sums(
            interval_seconds=5.0,
            billed_joules=(watts or 0.0) * 5,
            unbilled_seconds=0.0 if known_energy else 5.0,
        )
        watch.add(IntervalRows(start, 5, {}, {}, {}), site_sums)
        start += 5
    return start


def demand(watch: PowerWatch) -> DemandKnown:
    [found] = watch.demand(START + 1)
    return found


def test_demand_heading_over_the_contract_fires_before_the_interval_ends() -> None:
    watch = PowerWatch(index(CONNECTION))
    start = feed(watch, START, 900e3, 120)
    assert demand(watch).projected_watts == pytest.approx(900e3)
    calm = known({}, demand=[demand(watch)])
    assert verdict(one(energy.demand_over_contract(calm))) == "clears"
    start = feed(watch, start, 1_500e3, 12)
    # 600 s at 900 kW, 60 s at 1,500 kW, and 240 s to come at that.
    found = demand(watch)
    assert found.projected_watts == pytest.approx(1100e3)
    assert (found.known_seconds, found.elapsed_seconds) == (660, 660)
    hot = known({}, demand=[found])
    assert verdict(one(energy.demand_over_contract(hot))) == "fires"
    assert verdict(one(energy.demand_beyond(threshold("demand", above=1.2e6), hot))) == "clears"
    assert verdict(one(energy.demand_beyond(threshold("demand", above=1.05e6), hot))) == "fires"
    # The next interval begins anew: nothing of this one counts.
    start = feed(watch, start, 1_500e3, 48)
    feed(watch, start, 500e3, 12)
    assert demand(watch).projected_watts == pytest.approx(500e3)


def test_what_was_missed_of_an_interval_is_taken_to_be_as_what_is_recent() -> None:
    watch = PowerWatch(index(CONNECTION))
    start = feed(watch, START + 600, 800e3, 10)
    assert demand(watch).projected_watts == pytest.approx(800e3)
    start = feed(watch, start, None, 11)
    assert demand(watch).projected_watts == pytest.approx(800e3)
    feed(watch, start, None, 2)
    silent = known({}, demand=[demand(watch)])
    assert verdict(one(energy.demand_over_contract(silent))) == "unknown"
    assert verdict(one(energy.demand_beyond(threshold("demand", above=1.0), silent))) == "unknown"


def test_a_demand_interval_begins_on_the_local_clock_as_the_bill_does() -> None:
    hourly = CONNECTION + 'demand_interval = "1h"\n'
    hour = START // 3600 * 3600
    for zone, begun_after in (("UTC", 0), ("Asia/Kolkata", 1800), ("Asia/Kathmandu", 900)):
        site = SiteIndex(parse_site(SITE_TEXT.replace('"UTC"', f'"{zone}"') + hourly, "site.toml"))
        watch = PowerWatch(site)
        feed(watch, hour, 900e3, 2400 // 5)
        assert demand(watch).elapsed_seconds == 2400 - begun_after


def metered(watts: dict[str, tuple[float, float]]) -> dict[str, MeterRow]:
    return {
        name: MeterRow(5000, 5000, energy_joules=mean * 5, power_watts_max=maximum)
        for name, (mean, maximum) in watts.items()
    }


def test_a_connection_with_meters_is_measured_by_them() -> None:
    watch = PowerWatch(index(CONNECTION + 'meters = ["utility"]\n'))
    rows = metered({"utility": (700e3, 900e3)})
    for start in range(START, START + 60, 5):
        watch.add(IntervalRows(start, 5, {}, rows, {}), None)
    assert demand(watch).projected_watts == pytest.approx(700e3)
    # Half an interval is no measurement of it.
    part = {"utility": MeterRow(5000, 2500, energy_joules=1e9)}
    watch.add(IntervalRows(START + 60, 5, {}, part, {}), None)
    found = demand(watch)
    assert found.projected_watts == pytest.approx(700e3)
    assert (found.known_seconds, found.elapsed_seconds) == (60, 65)


PATH = """
[[meter]]
name = "ups-a"
role = "ups_out"
[[meter]]
name = "ups-b"
role = "ups_out"
[[power]]
name = "ups-a"
kind = "ups"
unit_watts = 1200000.0
pair = "ups-b"
meters = ["ups-a"]
[[power]]
name = "ups-b"
kind = "ups"
unit_watts = 1200000.0
pair = "ups-a"
meters = ["ups-b"]
"""


def test_one_side_of_two_must_carry_both() -> None:
    watch = PowerWatch(index(PATH))
    rows = metered({"ups-a": (400e3, 450e3), "ups-b": (500e3, 550e3)})
    watch.add(IntervalRows(START, 5, {}, rows, {}), None)
    loads = watch.loads(START)
    assert loads == (
        LoadKnown("ups-a", 1.2e6, 1e6, 1.0),
        LoadKnown("ups-b", 1.2e6, 1e6, 1.0),
    )
    found = one(energy.headroom_below(threshold("headroom", below=250e3), known({}, loads=loads)))
    assert (found.value, verdict(found)) == (200e3, "fires")


BEFORE = """
[[meter]]
name = "t"
role = "ups_in"
[[power]]
name = "transformer"
kind = "transformer"
parent = "feed"
unit_watts = 1500000.0
meters = ["t"]
[[power]]
name = "board"
kind = "switchboard"
parent = "transformer"
unit_watts = 1400000.0
load = "mean"
meters = ["t"]
"""


def test_before_the_ups_a_watt_of_it_adds_its_cooling_too() -> None:
    rows = metered({"t": (1000e3, 1100e3)})
    for parts, marginal in ((CONNECTION, 1.25), (CONNECTION.replace("marginal_pue", "#"), None)):
        watch = PowerWatch(index(parts, BEFORE))
        watch.add(IntervalRows(START, 5, {}, rows, {}), None)
        assert watch.loads(START)[1:] == (
            LoadKnown("transformer", 1.5e6, 1.1e6, marginal),
            LoadKnown("board", 1.4e6, 1.0e6, marginal),
        )


def test_a_meter_has_the_share_of_its_own_time() -> None:
    dated = index(
        """
[[meter]]
name = "half"
role = "ups_out"
share = 0.5
valid_to = 2020-02-01
[[meter]]
name = "half"
role = "ups_out"
valid_from = 2020-02-01
"""
    )
    rows = metered({"half": (100.0, 120.0)})
    change = int(dated.dated.meter.instants[0])
    for start, mean in ((change - 5, 50.0), (change, 100.0)):
        part = of_meters(dated, IntervalRows(start, 5, {}, rows, {}), ["half"])
        assert part is not None
        assert part.mean_watts == mean


def test_one_side_of_two_is_its_lower_rating_less_its_margin() -> None:
    # 1,200 kW, and 1,250 kVA at 0.9: 1,125 kW, of which a tenth is kept free.
    both = "unit_watts = 1200000.0\nunit_volt_amperes = 1.25e6\npower_factor_ratio = 0.9\n"
    sides = PATH.replace("unit_watts = 1200000.0\n", f"{both}margin_ratio = 0.1\n")
    watch = PowerWatch(index(sides))
    rows = metered({"ups-a": (400e3, 450e3), "ups-b": (500e3, 550e3)})
    watch.add(IntervalRows(START, 5, {}, rows, {}), None)
    found = known({}, loads=watch.loads(START))
    assert [limit.limit_watts for limit in found.limits] == pytest.approx([1012.5e3] * 2)
    assert headroom(limits=found.limits).it_watts == pytest.approx(12.5e3)
    # What the other side carries is not known: neither is what this one must.
    half = metered({"ups-a": (400e3, 450e3)})
    alone = PowerWatch(index(sides))
    alone.add(IntervalRows(START, 5, {}, half, {}), None)
    assert {load.load_watts for load in alone.loads(START)} == {None}


def test_headroom_is_of_each_limit_at_its_own_node() -> None:
    """The worked check of the definitions: UPS 1,200, IT 1,000, site 1,250 kW: +200, not -50."""
    loads = [LoadKnown("ups", 1.2e6, 1e6, 1.0), LoadKnown("feed", 2e6, 1.25e6, 1.25)]
    found = one(energy.headroom_below(threshold("headroom", below=0.0), known({}, loads=loads)))
    assert (found.value, verdict(found)) == (200e3, "clears")


def test_with_a_load_that_nobody_knows_only_an_upper_bound_fires() -> None:
    loads = [LoadKnown("ups", 1.2e6, 1e6, 1.0), LoadKnown("feed", 2e6, None, 1.25)]
    found = one(energy.headroom_below(threshold("headroom", below=150e3), known({}, loads=loads)))
    assert (found.value, found.low, verdict(found)) == (200e3, -inf, "unknown")
    found = one(energy.headroom_below(threshold("headroom", below=250e3), known({}, loads=loads)))
    assert verdict(found) == "fires"
    assert verdict(one(energy.headroom_below(threshold("headroom", below=1.0), known({})))) == (
        "unknown"
    )


def test_coverage_of_devices_energy_and_tokens_each() -> None:
    groups = {
        SITE: site_energy(150, 100) | {"it_expected_joules": 200.0},
        CHAT: devices(active=8, unknown=2)
        | {"engine_installed_seconds": 100.0, "engine_covered_seconds": 99.0},
    }
    watch = threshold("coverage", below=0.95)
    found = {
        dict(o.labels)["of"]: o for o in coverage.coverage_lost(watch, known(groups, of=METERED))
    }
    assert {name: o.value for name, o in found.items()} == {
        "devices": 0.8,
        "energy": 0.5,
        "tokens": 0.99,
    }
    assert {name: verdict(o) for name, o in found.items()} == {
        "devices": "fires",
        "energy": "fires",
        "tokens": "clears",
    }
    nothing = coverage.coverage_lost(
        threshold("coverage", below=0.5, scope=Scope(pool="x")), known({})
    )
    assert [verdict(o) for o in nothing] == ["unknown", "unknown"]


@pytest.mark.parametrize(("money", "does"), [(3.0, "fires"), (1.0, "clears")])
def test_the_cost_per_million_tokens(money: float, does: str) -> None:
    serving = sums(
        engine_installed_seconds=100.0,
        engine_covered_seconds=100.0,
        serving_money=money,
        serving_output_tokens=1e6,
    )
    watch = threshold("cost_per_million_tokens", above=2.0)
    found = one(coverage.cost_per_million_tokens(watch, known({CHAT: serving})))
    assert (found.value, verdict(found)) == (money, does)
    idle = serving | {"serving_output_tokens": 0.0}
    found = one(coverage.cost_per_million_tokens(watch, known({CHAT: idle})))
    assert verdict(found) == "unknown"


IN_KVA = "contracted_volt_amperes = 1e6\npower_factor_ratio = 0.9"


@pytest.mark.parametrize(
    ("ratings", "limit"),
    [
        ("contracted_watts = 1000000.0", 1e6),
        (IN_KVA, 9e5),
        (f"contracted_watts = 850000.0\n{IN_KVA}", 8.5e5),
        (f"contracted_watts = 1e6\n{IN_KVA}", 9e5),
    ],
)
def test_a_contract_in_watts_and_in_volt_amperes_is_held_to_the_lower(
    ratings: str, limit: float
) -> None:
    watch = PowerWatch(index(CONNECTION.replace("contracted_watts = 1000000.0", ratings)))
    end = feed(watch, 1_700_000_100 // 900 * 900, 8e5, 12)
    (demand,) = watch.demand(end - 1)
    (load,) = watch.loads(end - 1)
    assert demand.contracted_watts == pytest.approx(limit)
    assert (load.limit_watts, load.load_watts) == pytest.approx((limit, 8e5))
