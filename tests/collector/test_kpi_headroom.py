"""Headroom at each node of the power path, and the runway of what is promised."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi import headroom, redundancy, runway
from meterhouse_collector.kpi.headroom import DemandInterval, PathLimit
from meterhouse_collector.kpi.redundancy import PhaseLoad
from meterhouse_collector.kpi.runway import Delivery, Increment, PlannedLimit, Promise

KW = 1000.0


def test_ups_is_compared_with_what_it_feeds_and_not_with_the_site() -> None:
    """UPS 1,200, IT 1,000, site 1,250 kW: +200, not -50."""
    found = headroom.headroom(
        limits=[
            PathLimit("ups", 1200 * KW, 1000 * KW, 1.0),
            PathLimit("grid", 2000 * KW, 1250 * KW, 1.25),
        ]
    )

    assert found == (200 * KW, 200 * KW, "ups", None)


def test_limit_with_an_unknown_load_leaves_an_upper_bound_only() -> None:
    found = headroom.headroom(
        limits=[PathLimit("ups", 1200, 1000, 1.0), PathLimit("grid", 1, None, 1.25)]
    )

    assert found == (None, 200, "ups", "the load is not known at grid")
    nothing = headroom.headroom(limits=[PathLimit("grid", 1, None, 1.25)])
    assert nothing.high_it_watts is None
    assert headroom.headroom(limits=[]).reason == "no limit with a known load"


WATTS = st.floats(0, 1e9)


@given(st.lists(st.tuples(WATTS, WATTS, st.floats(0.1, 3)), min_size=1, max_size=6), WATTS)
def test_what_fits_passes_no_limit(limits: list[tuple[float, float, float]], more: float) -> None:
    path = [PathLimit(f"l{at}", *limit) for at, limit in enumerate(limits)]
    found = headroom.headroom(limits=path)

    assert found.it_watts is not None
    fits = all(load + more * marginal <= limit for limit, load, marginal in limits)
    assert fits == (more <= found.it_watts) or more == pytest.approx(found.it_watts, abs=1e-3)


def test_contract_counts_the_mean_of_its_interval_and_a_breaker_the_maximum() -> None:
    intervals = [DemandInterval(900, 1300), DemandInterval(1000, 1100)]

    assert headroom.compared_load_watts(intervals=intervals, limit="contract").value == 1000
    assert headroom.compared_load_watts(intervals=intervals, limit="breaker").value == 1300
    nothing = headroom.compared_load_watts(intervals=[], limit="breaker")
    assert nothing == (None, "nothing was measured")


def test_2n_pair_fails_at_half_of_the_load_that_two_sides_could_carry() -> None:
    """Each side at 52 % of its rating is too much once the other is lost."""
    found = redundancy.two_n_headroom(
        phases=[PhaseLoad(52, 52, 52, 52)],
        side_phase_watts=100,
        side_phase_volt_amperes=100,
        margin_ratio=0,
    )

    assert found == (-4, -4, None)


def test_2n_pair_is_as_good_as_its_fullest_phase_in_watts_and_in_volt_amperes() -> None:
    found = redundancy.two_n_headroom(
        phases=[PhaseLoad(50, 20, 60, 30), PhaseLoad(10, 40, 70, 25)],
        side_phase_watts=100,
        side_phase_volt_amperes=120,
        margin_ratio=0.1,
    )

    assert found == (20, 13, None)
    empty = redundancy.two_n_headroom(
        phases=[], side_phase_watts=1, side_phase_volt_amperes=1, margin_ratio=0
    )
    assert empty.reason == "no phase was measured"


@pytest.mark.parametrize(
    ("flow", "heat", "left"), [(100.0, 1000 * KW, 200 * KW), (25.0, 1000 * KW, 46.5 * KW)]
)
def test_cooling_is_the_lesser_of_units_at_n_and_the_water_side(
    flow: float, heat: float, left: float
) -> None:
    found = redundancy.cooling_headroom_watts(
        units_count=4,
        redundant_count=1,
        unit_design_day_watts=400 * KW,
        flow_litres_per_second=flow,
        rise_limit_kelvin=10,
        heat_watts=heat,
    )

    assert found == pytest.approx(left)


JANUARY = date(2027, 1, 15)


def planned(on: str, limit: float, name: str = "grid", peak: float = 1250.0) -> PlannedLimit:
    return PlannedLimit(name, date.fromisoformat(on), limit, peak, 1.2 if name == "grid" else 1.0)


def added(on: str, watts: float) -> Increment:
    return Increment(date.fromisoformat(on), 1, watts)


@pytest.mark.parametrize(
    ("increments", "limits", "month", "binding"),
    [
        ([], [planned("2026-01-01", 1250)], None, None),
        ([], [planned("2026-01-01", 1249)], "2027-01", "grid"),
        ([added("2027-03-31", 100)], [planned("2026-01-01", 1370)], None, None),
        ([added("2027-03-31", 101)], [planned("2026-01-01", 1370)], "2027-03", "grid"),
        # What was promised for last year and is not there may come any day.
        ([added("2026-03-31", 101)], [planned("2026-01-01", 1370)], "2027-01", "grid"),
        # The feed is raised in time; ten days late; and lowered by a contract that ends.
        (
            [added("2027-03-10", 200)],
            [planned("2026-01-01", 1300), planned("2027-03-10", 1500)],
            None,
            None,
        ),
        (
            [added("2027-03-10", 200)],
            [planned("2026-01-01", 1300), planned("2027-03-20", 1500)],
            "2027-03",
            "grid",
        ),
        ([], [planned("2027-05-01", 1000), planned("2026-01-01", 1300)], "2027-05", "grid"),
        # 200 W of IT are 240 W at the grid: there it fits, at the UPS it does not.
        (
            [added("2027-04-02", 200)],
            [planned("2026-01-01", 1490), planned("2026-01-01", 1100, "ups", 1000)],
            "2027-04",
            "ups",
        ),
    ],
)
def test_runway_is_the_first_month_that_does_not_fit(
    increments: list[Increment], limits: list[PlannedLimit], month: str | None, binding: str | None
) -> None:
    found = runway.runway(today_on=JANUARY, increments=increments, limits=limits)

    assert (found.month, found.binding) == (month, binding)
    assert (found.reason is None) == (month is not None)


def test_runway_says_what_binds_once_the_first_limit_is_out_of_the_way() -> None:
    found = runway.runway(
        today_on=JANUARY,
        increments=[added("2027-03-10", 200), added("2027-09-10", 200)],
        limits=[planned("2026-01-01", 1300), planned("2026-01-01", 1300, "ups", 1000)],
    )

    assert found == ("2027-03", "grid", 190, "2027-09", "ups", None)


def test_slippage_is_by_revision_however_they_are_ordered() -> None:
    promises = [
        Promise(date(2026, 5, 1), date(2026, 6, 21)),
        Promise(date(2026, 1, 1), date(2026, 6, 1)),
        Promise(date(2026, 3, 1), date(2026, 7, 1)),
    ]

    assert runway.slippage(promises=promises) == (20, -10, 1, None)
    assert runway.slippage(promises=promises[:1]) == (0, 0, 0, None)
    assert runway.slippage(promises=[]).reason == "nothing was promised"


def test_devices_that_wait_for_production_are_not_in_the_mean() -> None:
    found = runway.days_to_production(
        today_on=date(2026, 6, 1),
        deliveries=[
            Delivery(100, date(2026, 1, 1), date(2026, 1, 31)),
            Delivery(50, date(2026, 5, 2)),
        ],
    )

    assert found == (30, 50, 30, None)
    with pytest.raises(ValueError, match="days_to_production is -1"):
        runway.days_to_production(
            today_on=date(2026, 6, 1),
            deliveries=[Delivery(1, date(2026, 1, 2), date(2026, 1, 1))],
        )
