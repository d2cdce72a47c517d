"""What the alert engine knows, as points for boards."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from meterhouse_collector.alerts import figures, plans
from meterhouse_collector.alerts.conditions.budget import Window, look_at
from meterhouse_collector.alerts.known import DemandKnown, LoadKnown, Source, Things, Use
from meterhouse_collector.rows import Point
from meterhouse_collector.site.contracts import Commitment
from tests.collector.alerting import known
from tests.collector.collecting import index
from tests.collector.test_alert_money import ENDS, HOUR, NOON, budget, spending


def by_tag(points: list[Point], measurement: str, tag: str) -> dict[str, dict[str, object]]:
    found = [p for p in points if p.measurement == measurement]
    return {dict(p.tags).get(tag, ""): {**p.fields} for p in found}


def test_limits_loads_and_the_it_power_that_fits() -> None:
    # The worked example of the definitions: UPS 1,200, IT 1,000, site 1,250 kW leave 200.
    loads = [
        LoadKnown("ups", 1.2e6, 1.0e6, 1.0),
        LoadKnown("feed", 1.75e6, 1.25e6, 1.25),
    ]
    demand = DemandKnown("feed", 1.75e6, 1.25e6, 600.0, 605.0)
    points = figures.live_points(known({}, loads=loads, demand=[demand]))
    assert {p.policy for p in points} == {"live"}
    assert by_tag(points, "limit", "limit") == {
        "ups": {"limit_watts": 1.2e6, "load_watts": 1.0e6, "it_headroom_watts": 2e5},
        "feed": {"limit_watts": 1.75e6, "load_watts": 1.25e6, "it_headroom_watts": 4e5},
    }
    assert by_tag(points, "headroom", "x") == {
        "": {"it_watts": 2e5, "high_it_watts": 2e5, "binding": "ups", "reason": ""}
    }
    assert by_tag(points, "demand", "connection")["feed"]["projected_watts"] == 1.25e6


def test_a_load_that_nobody_knows_is_left_out() -> None:
    loads = [LoadKnown("ups", 1e6, 4e5, 1.0), LoadKnown("feed", 2e6, None, 1.25)]
    demand = DemandKnown("feed", 2e6, None, 0.0, 5.0, "nothing known for 60 s")
    points = figures.live_points(known({}, loads=loads, demand=[demand]))
    assert by_tag(points, "limit", "limit")["feed"] == {"limit_watts": 2e6}
    assert "projected_watts" not in by_tag(points, "demand", "connection")["feed"]
    fits = by_tag(points, "headroom", "x")[""]
    assert (fits.get("it_watts"), fits["high_it_watts"]) == (None, 6e5)
    assert fits["reason"] == "the load is not known at feed"


def test_a_site_without_limits_has_no_headroom() -> None:
    assert figures.live_points(known({})) == []


def test_a_budget_with_its_spend_forecast_and_burns() -> None:
    of, spend = budget(), spending()
    seen = look_at(of, spend, site="site-a", currency="EUR")
    points = figures.budget_points("site-a", of, spend, seen)
    assert {(p.policy, p.start_seconds) for p in points} == {("event", NOON)}
    found = by_tag(points, "budget", "budget")["site"]
    assert found["forecast_money"] == pytest.approx(7200)
    assert found | {"forecast_money": 0} == {
        "amount_money": 7200.0,
        "spent_money": 3240.0,
        "forecast_money": 0,
        "elapsed_ratio": pytest.approx(13.5 / 30),
        "ends_seconds": float(ENDS),
        "basis": "amortised",
        "reason": "",
    }
    burns = by_tag(points, "burn", "window")
    assert burns["3600 s"] == {
        "long_ratio": 1.0,
        "short_ratio": 1.0,
        "limit_ratio": 2.0,
        "reason": "",
    }
    assert burns.keys() == {"3600 s", "21600 s", "259200 s"}


def test_a_budget_of_which_too_little_is_known_says_why() -> None:
    spend = spending(
        spent=None, reason="coverage 40.0% is below 95%", windows={300: Window(300, None)}
    )
    of = budget()
    points = figures.budget_points(
        "site-a", of, spend, look_at(of, spend, site="s", currency="EUR")
    )
    found = by_tag(points, "budget", "budget")["site"]
    assert "spent_money" not in found
    assert "forecast_money" not in found
    assert found["reason"] == "coverage 40.0% is below 95%"
    assert "long_ratio" not in by_tag(points, "burn", "window")["3600 s"]


def test_a_commitment_with_its_projected_use() -> None:
    table = {
        "name": "h100-year",
        "contract": "rented",
        "category": "usage",
        "device_hours": 1000,
        "valid_from": date(2024, 1, 1),
    }
    made = Commitment.model_validate(table)
    use = Use(made, Decimal(1000), Decimal(400), Decimal(1) / HOUR, 1.0, NOON, NOON + 100 * HOUR)
    [point] = figures.commitment_points("site-a", [use])
    assert dict(point.tags) == {"site": "site-a", "commitment": "h100-year", "category": "usage"}
    assert point.fields == {
        "committed": 1000.0,
        "used": 400.0,
        "projected_ratio": pytest.approx(0.5),
        "coverage_ratio": 1.0,
        "reason": "",
    }


def test_the_site_says_its_currency_and_what_its_pue_is() -> None:
    point = figures.site_point(known({}))
    assert point.fields["currency"] == "EUR"
    assert "PUE" in str(point.fields["pue_label"])


RACKS = """
[[pipeline]]
name = "racks"
kind = "devices"
accelerator_model = "h100"
quantity = 400
peak_watts = 1000.0
promised = [{ said = 2001-01-01, due = 2001-11-01 }]
"""
FEED = """
[[grid_connection]]
name = "feed"
contracted_watts = 1000000.0
marginal_pue = 1.25
"""
STEP = """
[[grid_connection.increment]]
name = "phase-2"
watts = 500000.0
promised = [{ said = 2001-01-01, due = 2001-09-01 }]
"""


def test_increments_and_the_month_in_which_planned_load_fits_no_more() -> None:
    # Known at 1e9 seconds, which is 2001-09-09.
    site = index(FEED, STEP.replace("2001-09-01", "2001-12-08"), RACKS)
    # 900 kW now + 400 * 1 kW * 1.25 = 1,400 kW: above 1,000 from November, below 1,500 after.
    loads = [LoadKnown("feed", 1e6, 9e5, 1.25), LoadKnown("ups", 2e6, None, 1.0)]
    points = plans.plan_points(known({}, of=site, loads=loads), {})
    assert {p.policy for p in points} == {"event"}
    [step] = by_tag(points, "increment", "increment").items()
    assert step == ("phase-2", {"added_watts": 5e5, "due_in_days": 90.0})
    found = by_tag(points, "runway", "x")[""]
    assert (found["month"], found["binding"], found["next_month"]) == ("2001-11", "feed", "none")
    assert found["short_watts"] == pytest.approx(4e5)


def test_devices_to_come_have_the_peak_of_their_hardware_and_wait_for_what_they_need() -> None:
    site = index(
        """
[[hardware]]
accelerator_model = "h200"
vendor = "nvidia"
price_per_device = 1
life = "1d"
peak_watts = 1000.0
[[pipeline]]
name = "permit"
kind = "permit"
promised = [{ said = 2001-01-01, due = 2002-02-01 }]
[[pipeline]]
name = "racks"
kind = "devices"
accelerator_model = "h200"
quantity = 400
needs = ["permit"]
promised = [{ said = 2001-01-01, due = 2001-11-01 }]
"""
    )
    loads = [LoadKnown("ups", 1e6, 9e5, 1.0)]
    points = plans.plan_points(known({}, of=site, loads=loads), {})
    found = by_tag(points, "runway", "x")[""]
    assert (found["month"], found["binding"], found["short_watts"]) == ("2002-02", "ups", 3e5)


def test_without_a_known_load_there_is_no_runway() -> None:
    assert (
        plans.plan_points(known({}, loads=[LoadKnown("ups", 2e6, None, 1.0)]), {"ups": 9e6}) == []
    )


def test_cooling_and_what_gives_power_beside_the_grid() -> None:
    things = Things(
        cooling=(LoadKnown("chillers", 1.2e6, 9e5, 1.0),),
        sources=(Source("battery", "b1", 2e5), Source("generator", "g1", None)),
    )
    points = figures.live_points(replace(known({}), things=things))
    assert by_tag(points, "limit", "kind") == {
        "cooling": {"limit_watts": 1.2e6, "load_watts": 9e5, "it_headroom_watts": 3e5}
    }
    assert by_tag(points, "source", "source") == {"b1": {"power_watts": 2e5}}
    # What cannot be cooled on the design day does not fit, whatever the power path carries.
    loads = [LoadKnown("ups", 2e6, 9e5, 1.0)]
    points = figures.live_points(replace(known({}, loads=loads), things=things))
    fits = by_tag(points, "headroom", "x")[""]
    assert (fits["it_watts"], fits["binding"]) == (3e5, "chillers")


def test_a_limit_where_nobody_states_what_it_adds_has_a_load_and_no_headroom() -> None:
    loads = [LoadKnown("ups", 1e6, 4e5, 1.0), LoadKnown("feed", 1e6, 9e5, None)]
    points = figures.live_points(known({}, loads=loads))
    limit = by_tag(points, "limit", "limit")["feed"]
    assert limit == {"limit_watts": 1e6, "load_watts": 9e5}
    fits = by_tag(points, "headroom", "x")[""]
    assert (fits.get("it_watts"), fits["high_it_watts"], fits["binding"]) == (None, 6e5, "ups")


MORE = FEED.replace("1000000", "1500000") + "valid_from = 2001-10-01\n"


@pytest.mark.parametrize(
    ("parts", "month"),
    [
        (FEED, "2001-11"),
        # It was due a week ago, and is not there.
        (FEED + STEP, "2001-11"),
        (FEED + STEP.replace("09-01", "10-01"), "none"),
        # A tenth of both is kept free: 1,350 kW for 1,400.
        (FEED + "margin_ratio = 0.1\n" + STEP.replace("09-01", "10-01"), "2001-11"),
        (FEED + MORE, "none"),
        (FEED + MORE.replace("1500000", "1300000"), "2001-11"),
        # What the first contract was promised ends with it.
        (FEED + STEP.replace("09-01", "10-02") + MORE.replace("15", "10"), "2001-11"),
        (FEED + "valid_to = 2001-10-01\n" + STEP.replace("09-01", "10-02"), "2001-11"),
    ],
)
def test_planned_load_is_held_against_limits_at_their_dates(parts: str, month: str) -> None:
    # Known at 1e9 seconds, which is 2001-09-09; 900 kW now and 500 kW in November.
    loads = [LoadKnown("feed", 9e5 if "margin" in parts else 1e6, 9e5, 1.25)]
    points = plans.plan_points(known({}, of=index(RACKS, parts), loads=loads), {})
    assert by_tag(points, "runway", "x")[""]["month"] == month


def test_planned_devices_must_be_cooled_too() -> None:
    site = index(RACKS)
    things = Things(cooling=(LoadKnown("chillers", 1.2e6, 9e5, 1.0),))
    of_power = known({}, of=site, loads=[LoadKnown("ups", 2e6, 9e5, 1.0)])
    points = plans.plan_points(replace(of_power, things=things), {})
    found = by_tag(points, "runway", "x")[""]
    assert (found["month"], found["binding"], found["short_watts"]) == ("2001-11", "chillers", 1e5)
