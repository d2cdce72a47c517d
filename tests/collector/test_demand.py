"""Demand: the utility's intervals and clock, ratchets, and a charge spread over its month."""

from collections.abc import Mapping
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.money.billing_month import billing_month
from meterhouse_collector.money.decimals import add
from meterhouse_collector.money.demand import (
    LiveDemand,
    Peak,
    coincident_kw,
    demand_charge,
    interval_start,
    live_demand,
    mean_kw,
    measured_peak,
    ratcheted_demand,
    share_of_peak,
)
from meterhouse_collector.money.monthly_charges import Known
from meterhouse_collector.site.components import LocalWindow, Step
from tests.collector.bills import (
    BERLIN,
    KOLKATA,
    LORD_HOWE,
    KwhAt,
    instant,
    lines,
    quarters,
    starts,
    tariff,
)

ALWAYS = LocalWindow()
DEMAND = {"kind": "demand", "per_kw": 15}
RATCHET = {**DEMAND, "ratchet_ratio": "0.8", "ratchet_months": 11}


def spike(at: str, kwh: int = 125, zone: ZoneInfo = BERLIN) -> KwhAt:
    """Return one quarter hour of more energy in a month of 1 kWh each."""
    begins = instant(at, zone)
    return lambda start: Decimal(kwh if start == begins else 1)


def kwh_by_start(
    begins: str, *kwh: int | None, zone: ZoneInfo = BERLIN
) -> Mapping[int, Decimal | None]:
    first = instant(begins, zone)
    return {first + 900 * i: None if k is None else Decimal(k) for i, k in enumerate(kwh)}


def test_vector_demand() -> None:
    kw = mean_kw([Decimal(75), Decimal(75)])
    assert kw == 300
    billed = ratcheted_demand(kw, Decimal(500), Decimal("0.8"))
    assert billed == 400
    assert demand_charge(billed, Decimal(15)) == 6000


def test_charge_of_a_peak_does_not_fall_into_its_quarter_hour() -> None:
    at = "2026-01-14T12:00"
    found = lines(quarters("2026-01-01", "2026-02-01", spike(at)), tariff(DEMAND))["demand"]
    assert found.total == 7500
    position = (instant(at) - instant("2026-01-01")) // 900
    peak = found.amounts[position]
    assert peak is not None
    assert peak.quantize(Decimal("1e-20")) == (Decimal(7500) / 2976).quantize(Decimal("1e-20"))
    assert not found.provisional
    assert found.notes == (
        "demand 2026-01: billed 500 kW (so far)",
        "demand 2026-01: measured peak 500 kW from 2026-01-14T11:00Z",
    )


@pytest.mark.parametrize(("interval", "kw"), [("15m", 400), ("30m", 300), ("60m", 275)])
def test_peak_is_a_mean_over_the_interval_on_the_clock(interval: Step, kw: int) -> None:
    # The two highest neighbours, 100 and 100, lie in two half hours of the clock.
    kwh = kwh_by_start("2026-01-14T12:00", 25, 100, 100, 50, 0, 0, 0, 0)
    assert measured_peak(kwh, ALWAYS, interval, BERLIN).kw == kw


def test_hours_begin_on_the_local_clock_of_a_half_hour_zone() -> None:
    start = instant("2026-01-14T12:45", KOLKATA)
    assert interval_start(start, "60m", KOLKATA) == instant("2026-01-14T12:00", KOLKATA)
    assert interval_start(start, "60m", KOLKATA) % 3600 == 1800
    assert interval_start(start, "30m", KOLKATA) == start - 900


def test_hour_that_is_there_twice_is_two_intervals() -> None:
    night = starts("2026-10-25T01:00", "2026-10-25T04:00")
    assert len({interval_start(start, "60m", BERLIN) for start in night}) == 4
    # 100 kWh in 02:15 summer time and 100 kWh in 02:15 winter time make no hour of 200 kWh.
    kwh = {start: Decimal(100 if i in {5, 9} else 0) for i, start in enumerate(night)}
    assert measured_peak(kwh, ALWAYS, "60m", BERLIN).kw == 100


def test_hour_cut_short_by_half_an_hour_of_clock_change_is_a_mean_over_its_half_hour() -> None:
    # On Lord Howe Island 02:00 summer time is 01:30 standard time.
    night = starts("2026-04-05T01:00", "2026-04-05T03:00", LORD_HOWE)
    assert len(night) == 10
    lengths = [interval_start(start, "60m", LORD_HOWE) for start in night]
    assert [lengths.count(begins) for begins in dict.fromkeys(lengths)] == [4, 2, 4]
    kwh = {start: Decimal(50 if i in {4, 5} else 1) for i, start in enumerate(night)}
    assert measured_peak(kwh, ALWAYS, "60m", LORD_HOWE).kw == 200


def test_peak_outside_the_window_is_not_billed() -> None:
    window = {"days": ["mon", "tue", "wed", "thu", "fri"], "from_time": "08:00", "to_time": "20:00"}
    of = quarters("2026-01-01", "2026-02-01", spike("2026-01-17T12:00"))
    assert lines(of, tariff({**DEMAND, **window}))["demand"].total == 60
    of = quarters("2026-01-01", "2026-02-01", spike("2026-01-16T20:00"))
    assert lines(of, tariff({**DEMAND, **window}))["demand"].total == 60
    of = quarters("2026-01-01", "2026-02-01", spike("2026-01-16T19:45"))
    assert lines(of, tariff({**DEMAND, **window}))["demand"].total == 7500


def test_month_outside_the_season_costs_nothing() -> None:
    summer = tariff({**DEMAND, "months": [6, 7, 8]})
    assert lines(quarters("2026-01-01", "2026-02-01"), summer)["demand"].total == 0


def test_peak_belongs_to_its_local_month() -> None:
    at = spike("2026-02-01T00:00")
    of = quarters("2026-01-01", "2026-03-01", at)
    found = lines(of, tariff(DEMAND))["demand"]
    assert instant("2026-02-01") == instant("2026-01-31T23:00+00:00")
    january = billing_month(instant("2026-01-15"), BERLIN).quarters
    assert add(a for a in found.amounts[:january] if a is not None) == 60
    assert found.total == 60 + 7500


def test_ratchet_over_the_months_before() -> None:
    of = quarters("2026-01-01", "2026-03-01", spike("2026-01-14T12:00"))
    assert lines(of, tariff(RATCHET))["demand"].total == 7500 + 15 * 400


@pytest.mark.parametrize(("month", "kw"), [((2025, 2), 400), ((2025, 1), 4)])
def test_ratchet_forgets_after_its_months(month: tuple[int, int], kw: int) -> None:
    known = Known(peaks_kw={("demand", *month): Decimal(500), ("other", 2025, 12): Decimal(9000)})
    found = lines(quarters("2026-01-01", "2026-02-01"), tariff(RATCHET), known=known)["demand"]
    assert found.total == 15 * kw


def test_ratchet_does_not_feed_on_itself() -> None:
    known = Known(peaks_kw={("demand", 2025, 12): Decimal(500)})
    of = quarters("2026-01-01", "2026-03-01")
    assert lines(of, tariff(RATCHET), known=known)["demand"].total == 2 * 15 * 400


def test_open_month_is_provisional_and_a_new_peak_states_it_again() -> None:
    at = "2026-01-14T12:00"
    levy = {"kind": "levy", "per_cent": 5, "of": ["demand"]}
    found = lines(quarters("2026-01-01", at, spike(at)), tariff(DEMAND, levy))
    before = found["demand"]
    assert found["levy"].provisional
    after = lines(quarters("2026-01-01", "2026-01-14T12:15", spike(at)), tariff(DEMAND))["demand"]
    assert before.provisional
    assert after.provisional
    assert before.amounts[0] is not None
    assert after.amounts[0] is not None
    assert after.amounts[0] / before.amounts[0] == pytest.approx(125)


def test_open_month_is_billed_by_its_forecast_and_the_closed_one_is_not() -> None:
    known = Known(forecast_kw={"demand": Decimal(800)})
    half = lines(quarters("2026-01-01", "2026-01-17"), tariff(DEMAND), known=known)["demand"]
    assert half.notes[0] == "demand 2026-01: billed 800 kW (forecast)"
    whole = lines(quarters("2026-01-01", "2026-02-01"), tariff(DEMAND), known=known)["demand"]
    assert whole.total == 60


def test_month_whose_beginning_is_not_known_has_no_peak() -> None:
    of = quarters("2026-01-10", "2026-01-11")
    found = lines(of, tariff(DEMAND))["demand"]
    assert found.reasons[0] == "demand: the month's earlier quarter hours are not known"
    known = Known(peaks_kw={("demand", 2026, 1): Decimal(31)})
    later = lines(of, tariff(DEMAND), known=known)["demand"]
    assert later.known.quantize(Decimal("1e-20")) == 15


def test_interval_not_wholly_measured_makes_the_peak_a_lower_bound() -> None:
    kwh = kwh_by_start("2026-01-14T12:00", 25, None, 50, 50)
    begins = instant("2026-01-14T12:30")
    assert measured_peak(kwh, ALWAYS, "30m", BERLIN) == Peak(begins, Decimal(200), 1)
    assert measured_peak(kwh, ALWAYS, "60m", BERLIN) == Peak(None, None, 1)
    gap = instant("2026-01-14T12:00")
    of = quarters("2026-01-01", "2026-02-01", lambda s: None if s == gap else Decimal(1))
    found = lines(of, tariff(DEMAND))["demand"]
    assert found.provisional
    assert found.notes[-1] == "demand 2026-01: intervals not measured, 1: a lower bound"


def test_month_without_any_reading_has_no_charge() -> None:
    found = lines(quarters("2026-01-01", "2026-02-01", lambda _: None), tariff(DEMAND))["demand"]
    assert found.total is None
    assert found.reasons[0] == "demand: no interval is measured"


def test_live_is_the_highest_of_what_is_known() -> None:
    kw = Decimal(100), Decimal(200), Decimal(300)
    assert live_demand(*kw) == LiveDemand(kw=Decimal(300), binding="forecast")
    assert live_demand(kw[0], kw[1], None) == LiveDemand(kw=Decimal(200), binding="ratchet")
    assert live_demand(kw[2], kw[1], None) == LiveDemand(kw=Decimal(300), binding="so_far")
    assert live_demand(None, None, None) is None


def test_share_of_the_peak_interval() -> None:
    assert share_of_peak(Decimal(25), Decimal(125)) == Decimal("0.2")
    assert share_of_peak(Decimal(0), Decimal(0)) is None
    assert share_of_peak(Decimal(126), Decimal(125)) is None


def test_contracted_power_is_billed_drawn_or_not() -> None:
    contracted = tariff({"kind": "contracted", "per_kva": "2.5", "kva": 1200})
    of = quarters("2026-02-01", "2026-03-01", lambda _: None)
    assert lines(of, contracted)["contracted"].total == 3000


def test_coincident_peak_is_a_mean_over_the_hours_of_the_month() -> None:
    hours = ["2026-01-14T17:00+01:00", "2026-01-20T18:00+01:00", "2025-07-01T17:00+02:00"]
    component = tariff({"kind": "coincident_peak", "per_kw": 3, "hours": hours})
    first, second = instant("2026-01-14T17:00"), instant("2026-01-20T18:00")

    def kwh(start: int) -> Decimal | None:
        if first <= start < first + 3600:
            return Decimal(10)
        return Decimal(30 if second <= start < second + 3600 else 1000)

    january = lines(quarters("2026-01-01", "2026-02-01", kwh), component)["coincident_peak"]
    assert january.total == 3 * 80
    assert not january.provisional
    february = lines(quarters("2026-02-01", "2026-03-01", kwh), component)["coincident_peak"]
    assert february.total == 0
    half = lines(quarters("2026-01-01", "2026-01-17", kwh), component)["coincident_peak"]
    assert half.provisional
    assert (half.known * 31 / 16).quantize(Decimal("1e-20")) == 3 * 40


def test_coincident_hour_that_was_not_measured_has_no_power() -> None:
    kwh = kwh_by_start("2026-01-14T12:00", 25, None, 50, 50)
    assert coincident_kw(kwh, [instant("2026-01-14T12:00")]) is None
    assert coincident_kw(kwh, []) is None
    component = tariff(
        {"kind": "coincident_peak", "per_kw": 3, "hours": ["2026-01-14T17:00+01:00"]}
    )
    gap = instant("2026-01-14T17:15")
    of = quarters("2026-01-01", "2026-02-01", lambda s: None if s == gap else Decimal(1))
    found = lines(of, component)["coincident_peak"]
    assert found.reasons[5] == "coincident_peak: an hour of the peak is not measured"


@given(st.lists(st.decimals(0, 10**6, places=4), min_size=4, max_size=48))
def test_longer_intervals_never_have_a_higher_peak(kwh: list[Decimal]) -> None:
    first = instant("2026-01-14T12:00")
    whole = kwh[: len(kwh) // 4 * 4]
    by_start = {first + 900 * i: k for i, k in enumerate(whole)}
    short, half, hour = (
        measured_peak(by_start, ALWAYS, step, BERLIN).kw for step in ("15m", "30m", "60m")
    )
    assert short is not None
    assert half is not None
    assert hour is not None
    assert short >= half >= hour >= mean_kw(whole)
