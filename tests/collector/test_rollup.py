"""The rollup: nothing dropped, nothing twice, whatever the order and the cut."""

from math import fsum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import QUANTILE_FIELD_NAMES, ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.roll_up import add_sums, pick_row, roll_up
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, site_energy
from meterhouse_collector.rows import MeterRow
from meterhouse_collector.site.index import GroupKey, SiteIndex
from tests.collector.rollups import (
    ALL_LATENCIES,
    DAY_RATE,
    ENERGY_METERS,
    EXPECTED,
    FACTORS,
    FLEET,
    HARDWARE,
    INTERVALS,
    KWH,
    LATER,
    LENGTH,
    MILLISECONDS,
    REGISTERED,
    START,
    WHOLE,
    asset,
    engine,
    index,
    interval,
    matrix,
    meter,
    node,
    reverse,
    served,
    share,
    telling,
    total,
    water,
)


def test_silent_registered_node_is_unknown_and_still_costs_capital() -> None:
    known = index(asset("n1", 8), HARDWARE)
    sums = total(roll_up(interval(), known))
    assert sums["unknown_seconds"] == sums["installed_seconds"] == 40.0
    assert sums["unknown_capital_money"] == pytest.approx(40 / 86400 * DAY_RATE)
    assert sums["interval_seconds"] == LENGTH


def test_group_is_put_on_from_the_site_model() -> None:
    known = index(asset("n1", 1), asset("n2", 1, "spare", "L"), HARDWARE)
    groups = roll_up(interval(), known)
    assert set(groups) == {
        GroupKey("site"),
        GroupKey("site", "c1", "chat", "acme", "nvidia", "M"),
        GroupKey("site", "c1", "spare", "none", "amd", "L"),
    }
    assert all(tuple(sums) == ROLLUP_FIELD_NAMES for sums in groups.values())
    assert all(type(value) is float for sums in groups.values() for value in sums.values())


def test_zero_sums_overwrite_a_group_that_vanished() -> None:
    assert tuple(zero_sums()) == ROLLUP_FIELD_NAMES
    assert set(zero_sums().values()) == {0.0}


def test_device_that_no_register_has_counts_only_as_telemetry_shows_it() -> None:
    known = index(asset("n1", 1), HARDWARE)
    stranger = node(share("unregistered", (5000, 0, 0, 0, 0), model="X"))
    groups = roll_up(interval({"n9": stranger}), known)
    group = groups[GroupKey("site", pool="unregistered", accelerator_model="X")]
    assert group["active_seconds"] == group["installed_seconds"] == group["unpriced_seconds"] == 5
    assert total(roll_up(interval(), known))["installed_seconds"] == 5


def test_row_of_an_older_register_is_put_on_the_one_in_force() -> None:
    row = node(share("unregistered", (5000, 0, 10000, 0, 0)))
    late = index(asset("n1", 3), HARDWARE)
    assert "unregistered" not in {group.pool for group in roll_up(interval({"n1": row}), late)}
    fewer = total(roll_up(interval({"n1": row}), index(asset("n1", 1), HARDWARE)))
    assert fewer["installed_seconds"] == pytest.approx(15)
    assert fewer["unpriced_seconds"] == pytest.approx(15)  # without a tariff nothing has a price
    serve = engine("e1", 'served_model = "llama"', "n1/*")
    held = total(roll_up(interval({"n1": row}), index(asset("n1", 3), serve)))
    assert (held["held_idle_seconds"], held["free_seconds"]) == (10, 0)
    more = total(roll_up(interval({"n1": row}), index(asset("n1", 4))))
    assert (more["installed_seconds"], more["unknown_seconds"]) == (20, 5)


def test_picked_row_has_the_highest_coverage_then_method_then_name() -> None:
    low, high = meter(1.0, covered=4000), meter(2.0)
    between = MeterRow(MILLISECONDS, MILLISECONDS, 3.0, energy_method="interpolated")
    assert pick_row({"a": low, "b": high}) is high
    assert pick_row({"a": between, "b": high}) is high
    assert pick_row({"b": high, "a": meter(2.5)}).energy_joules == 2.5
    assert pick_row({"a": meter(None), "b": low}) is low
    one, two = served("m", 1, covered=1), served("m", 2)
    assert pick_row({"a": one, "b": two}) is two
    full, empty = node(share("none", (5000, 0, 0, 0, 0))), node(share("none", (0, 0, 0, 0, 5000)))
    assert pick_row({"a": empty, "b": full}) is full


@settings(max_examples=150, deadline=None)
@given(INTERVALS, EXPECTED)
def test_states_sum_to_installed_in_every_group(rows: IntervalRows, expected: Expected) -> None:
    groups = roll_up(rows, WHOLE, expected)
    for sums in groups.values():
        assert tuple(sums) == ROLLUP_FIELD_NAMES
        states = fsum(sums[f"{state}_seconds"] for state in wire.STATES)
        assert states == pytest.approx(sums["installed_seconds"], rel=1e-12, abs=1e-12)
        told = fsum(sums[f"unhealthy_{reason}_seconds"] for reason in wire.UNHEALTHY_REASONS)
        assert told <= sums["unhealthy_seconds"] + 1e-9
    registered = [s for group, s in groups.items() if group.pool != "unregistered"]
    assert add_sums(registered)["installed_seconds"] == pytest.approx(REGISTERED * LENGTH)


@settings(max_examples=150, deadline=None)
@given(INTERVALS, EXPECTED, st.sampled_from([WHOLE, LATER]))
def test_matrix_adds_up_to_capital_and_bill(
    rows: IntervalRows, expected: Expected, known: SiteIndex
) -> None:
    sums = total(roll_up(rows, known, expected))
    plans = [known.plan(name, START) for name in known.nodes]
    capital = fsum(
        (slot.capital_per_second or 0.0) * LENGTH
        for plan in plans
        if plan is not None
        for slot in plan.slots
    )
    assert matrix(sums, "capital") == pytest.approx(capital, rel=1e-9)
    billed = site_energy(rows, known, expected).billed
    due = 0.0 if billed is None else billed * 0.36 / KWH
    scale = fsum(abs(sums[f"{state}_energy_money"]) for state in wire.STATES)
    assert matrix(sums, "energy") == pytest.approx(due, rel=1e-9, abs=1e-9 * scale + 1e-300)
    assert sums["serving_money"] <= matrix(sums, "capital") + max(due, 0.0) + 1e-9


@settings(max_examples=100, deadline=None)
@given(INTERVALS, EXPECTED, st.sampled_from([WHOLE, LATER]))
def test_order_of_rows_changes_no_digit(
    rows: IntervalRows, expected: Expected, known: SiteIndex
) -> None:
    turned = rows._replace(
        nodes=reverse(rows.nodes), meters=reverse(rows.meters), engines=reverse(rows.engines)
    )
    assert roll_up(rows, known, expected) == roll_up(turned, known, expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(INTERVALS, min_size=2, max_size=4), st.data())
def test_sums_add_up_over_intervals_and_groups(
    parts: list[IntervalRows], data: st.DataObject
) -> None:
    rows = [sums for part in parts for sums in roll_up(part, WHOLE).values()]
    whole = add_sums(rows)
    assert add_sums(data.draw(st.permutations(rows))) == whole
    cut = data.draw(st.integers(0, len(rows)))
    split = add_sums([add_sums(rows[:cut]), add_sums(rows[cut:])])
    for name in ROLLUP_FIELD_NAMES:
        assert split[name] == pytest.approx(whole[name], rel=1e-9, abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(INTERVALS)
def test_a_register_of_later_loses_no_device_second(rows: IntervalRows) -> None:
    sums = total(roll_up(rows, LATER))
    shown = {name: sum(sum(s.milliseconds) for s in row.shares) for name, row in rows.nodes.items()}
    registered = {"n1": 2, "n2": 3, "n4": 1}
    due = sum(
        max(shown.get(name, 0), registered.get(name, 0) * MILLISECONDS)
        for name in shown.keys() | registered.keys()
    )
    assert sums["installed_seconds"] == pytest.approx(due / 1000, rel=1e-9)


@settings(max_examples=100, deadline=None)
@given(INTERVALS, EXPECTED)
def test_kpis_of_any_sums_have_a_finite_value_or_a_reason(
    rows: IntervalRows, expected: Expected
) -> None:
    groups = roll_up(rows, WHOLE, expected)
    window = Window(LENGTH, energy_basis(WHOLE), "EUR")
    for sums in (*groups.values(), total(groups)):
        for value in kpis(sums, window=window).values():
            assert (value.value is None) <= (value.reason is not None)
            assert value.value is None or abs(value.value) != float("inf")


ROOF_FACTOR = FACTORS.partition("[[emission_factor]]")[2].partition("[[emission_factor]]")[0]
ROOF_FACTOR = "[[emission_factor]]" + ROOF_FACTOR.replace('"grid"', '"roof"')


def test_every_field_of_the_catalogue_is_written_by_some_interval() -> None:
    known = index(*FLEET)
    rows = interval(
        {
            "n1": node(
                share(
                    "engine:e1",
                    (2000, 1000, 1500, 250, 250),
                    (1.0, 1.0, 1.0, 1.0, 1.0),
                    reasons=(100, 50, 60, 40),
                ),
                share("tenant:acme", (2000, 1000, 1500, 250, 250), (1.0, 1.0, 1.0, 1.0, 1.0)),
                share("none", (2000, 1000, 1500, 250, 250), (1.0, 1.0, 1.0, 1.0, 1.0)),
                energy=30.0,
            ),
            "n3": node(share("engine:e1", (5000, 0, 0, 0, 0), (9.0, None, None, None, None))),
            "n9": node(share("unregistered", (5000, 0, 0, 0, 0))),
        },
        {
            **dict.fromkeys(ENERGY_METERS, meter(KWH)),
            "export": meter(1.0, 4999),
            "ups-out": meter(KWH / 2),
            "water": water(9.0),
        },
        {"e1": telling(served("llama", 10, 30, 20), ALL_LATENCIES)},
    )
    silent = roll_up(interval(), known)
    unfactored = roll_up(rows, index(*(part for part in FLEET if part != FACTORS), ROOF_FACTOR))
    second = (1.0, 1.0, 1.0)
    devices = {(group.pool, group.accelerator_model): second for group in roll_up(rows, known)}
    rates = Rates(devices, second, 1.0, 1.0, 1.0)
    groups = roll_up(rows, known, rates=rates)
    sums = add_sums([total(groups), total(silent), total(unfactored)])
    assert {name for name, value in sums.items() if value == 0} == set()
    quantiles = next(g for group, g in groups.items() if group.served_model == "llama")
    assert all(quantiles[name] > 0 for name in QUANTILE_FIELD_NAMES)
