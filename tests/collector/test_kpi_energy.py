"""Energy: the traps of PUE and carbon, what fills a gap, and what production shares with them."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import fsum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent.accumulate.amount import Laid
from meterhouse_agent.accumulate.energy import Energy
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.grid import split
from meterhouse_collector.formula import FormulaError, answer
from meterhouse_collector.kpi import pue as production
from meterhouse_collector.kpi.energy import facility_energy, it_energy, pue, pue_by_category
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.joint_pue import JointPue, Series, joint_pue
from meterhouse_collector.kpi.losses import power_path_losses
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.kpi.renewable import Source, energy_by_source, ere, erf, ref
from meterhouse_collector.kpi.token_energy import tokens_per_second_per_megawatt
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site

KWH = 3_600_000.0
HOUR = 3600.0
METERED = EnergyBasis(boundary_metered=True, it_metered=True, category=1, slowest_step_seconds=0.0)
ENERGY = st.floats(1e-3, 1e15)


def ask(name: str, **inputs: Any) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """Return what the command answers."""
    return answer(name, json.dumps(inputs))["value"]


def joint(facility: float, equipment: float) -> Sums:
    """Return the sums of an hour that counts for both sides."""
    return zero_sums() | {
        "interval_seconds": HOUR,
        "pue_joint_seconds": HOUR,
        "facility_joint_joules": facility,
        "it_joint_joules": equipment,
        "it_expected_joules": equipment,
    }


def fleet(joules: Sequence[float], alive: float, count: int, seed: int) -> list[Series]:
    """Return a feed of 1.25 and IT meters that are each there with a probability."""
    chance = random.Random(seed)
    series = [Series("feed", "facility", [1.25 * fsum(joules)] * count)]
    for at, each in enumerate(joules):
        # All are known at first, so that a gap has a last hour to be filled from.
        seen = [1.0 if k == 0 else chance.random() for k in range(count)]
        read = [each if k == 0 or seen[k] < alive else None for k in range(count)]
        series.append(Series(f"it{at}", "it", read))
    return series


def whole(found: Sequence[Series]) -> float:
    """Return the share of intervals in which every branch is there."""
    rows = list(zip(*(each.joules for each in found), strict=True))
    return sum(None not in row for row in rows) / len(rows)


def test_trap_4_1_energy_is_summed_before_it_is_divided() -> None:
    branches = [Series("f", "facility", [100, 1100]), Series("i", "it", [50, 1000])]
    found = joint_pue(interval_seconds=HOUR, branches=branches)
    assert found.pue_ratio == pytest.approx(1200 / 1050, rel=1e-12)
    assert found.pue_ratio != pytest.approx((100 / 50 + 1100 / 1000) / 2, rel=1e-2)


def test_trap_4_1_a_pue_below_one_alarms_and_is_not_clamped() -> None:
    found = pue(facility_joules=90, it_joules=100)
    assert found.value == 0.9
    assert found.reason is not None
    assert "below 1" in found.reason
    assert pue(facility_joules=90, it_joules=100, battery_unmetered=True).reason is None


def test_trap_4_2_only_intervals_that_both_sides_have_are_divided() -> None:
    facility = [125.0] * 20
    equipment = [100.0] * 19 + [None]
    branches = [Series("f", "facility", facility), Series("i", "it", equipment)]
    # Of equal intervals one in twenty is missing: just enough is covered, and the ratio holds.
    found = joint_pue(interval_seconds=HOUR, branches=branches)
    assert found.pue_ratio == pytest.approx(1.25, rel=1e-12)
    assert found.pue_ratio != pytest.approx(fsum(facility) / (19 * 100), rel=1e-3)
    assert found.joint_intervals_count == 19
    assert found.coverage_ratio == pytest.approx(0.95, rel=1e-12)


def test_trap_4_2_missing_on_either_side_is_no_zero() -> None:
    for side in ("facility", "it"):
        read: dict[str, list[float | None]] = {"facility": [125.0] * 2, "it": [100.0] * 2}
        read[side][1] = None
        branches = [Series("f", "facility", read["facility"]), Series("i", "it", read["it"])]
        found = joint_pue(interval_seconds=HOUR, branches=branches)
        assert found.pue_ratio is None
        assert found.reason == "coverage 50.0% is below 95%"
        assert (found.facility_joint_joules, found.it_joint_joules) == (125.0, 100.0)


def test_trap_4_5_a_slow_meter_is_divided_over_its_own_time() -> None:
    minute, quarter = 60_000, 900_000
    ticks = 900_000
    pieces = [p.ticks for p in split(30_000, 30_000 + quarter, ticks, minute)]
    assert sum(pieces) == ticks
    assert pieces[0] == pieces[-1] == ticks // 30  # half a minute at each end
    facility = [p * 1.25 for p in pieces]
    branches = [Series("f", "facility", facility), Series("i", "it", [float(p) for p in pieces])]
    assert joint_pue(interval_seconds=60, branches=branches).pue_ratio == pytest.approx(1.25)


def test_trap_4_5_no_ratio_below_four_steps_of_the_slowest_meter() -> None:
    slow = METERED._replace(slowest_step_seconds=900.0)
    assert production.pue(joint(125, 100), window_seconds=3599, basis=slow).value is None
    assert production.pue(joint(125, 100), window_seconds=HOUR, basis=slow).value == 1.25


def test_trap_4_7_nothing_is_counted_twice() -> None:
    with pytest.raises(FormulaError, match="only one of them"):
        ask("facility_energy", import_kwh=1, generators=[{"fuel_kwh": 3, "output_kwh": 1}])
    assert it_energy(it_joules=[100.0], mechanical_joules=[5.0]) == 95.0
    with pytest.raises(ValueError, match="named twice: roof"):
        energy_by_source(sources=[Source("roof", 1.0), Source("roof", 1.0)])
    twice = ref(renewable_joules=11, facility_joules=10)
    assert twice.value is None
    assert twice.reason is not None


def test_trap_4_7_partial_pues_do_not_multiply() -> None:
    found = ask("pue_of_partials", partial_pue_ratio=[1.2, 1.1], it_kwh=[100, 100])
    assert found == pytest.approx(1.3, rel=1e-12)
    assert found != pytest.approx(1.2 * 1.1, rel=1e-3)


def test_trap_4_8_power_is_not_held_over_a_gap() -> None:
    """Power is integrated between near samples; over a longer gap it is missing."""
    timeline = Timeline(5000)
    energy = Energy(Whose(kind="meter", thing="m", quantity="energy_joules"))
    pieces = []
    for at in (0, 5000, 10_000, 100_000):
        laid = energy.feed(None, 1000.0, at, timeline, 10_000)
        pieces.append(_joules(laid))
    assert pieces == [0.0, 5000.0, 5000.0, 0.0]  # not the 90,000 J that holding would give


def _joules(laid: Laid) -> float:
    return fsum(piece.ticks * laid.unit for piece in laid.pieces)


@pytest.mark.parametrize(
    ("name", "inputs", "si"),
    [
        ("pue", {"facility_kwh": 125, "it_mwh": 0.1}, 1.25),
        ("pue", {"facility_joules": 4.5e8, "it_megajoules": 360}, 1.25),
        ("facility_power", {"it_kilowatts": 1, "pue_ratio": 1.25}, 1250.0),
        ("facility_power", {"it_watts": 1, "pue_percent": 125}, 1.25),
        ("wue", {"water_m3": 1.5, "it_mwh": 1}, 1.5),
        ("cue_of_grid", {"intensity_pounds_per_mwh": 870, "pue_ratio": 1}, 0.3946253619),
        ("cue_of_grid", {"intensity_kg_per_joule": 0.4 / KWH, "pue_ratio": 1}, 0.4),
    ],
)
def test_trap_4_13_units_of_one_quantity_are_converted(
    name: str, inputs: dict[str, float], si: float
) -> None:
    assert ask(name, **inputs) == pytest.approx(si, rel=1e-12)


@pytest.mark.parametrize(
    ("inputs", "fault"),
    [
        ({"facility_kilowatts": 125, "it_kwh": 100}, "facility_kilowatts: is no input"),
        ({"facility": 125, "it_kwh": 100}, "facility: is no input"),
        ({"facility_kwh": 1, "facility_joules": 1, "it_kwh": 1}, "facility_joules: given twice"),
        ({"facility_kwh": "125", "it_kwh": 100}, 'facility_joules is "125": a number'),
        ({"facility_kwh": True, "it_kwh": 100}, "facility_joules is true: a number"),
        ({"facility_kwh": None, "it_kwh": 100}, "facility_joules is null: a number"),
        ({"facility_kwh": 125}, "it_joules: is missing"),
    ],
)
def test_trap_4_13_what_is_no_energy_is_turned_down(inputs: dict[str, Any], fault: str) -> None:
    with pytest.raises(FormulaError) as caught:
        ask("pue", **inputs)
    assert any(line.startswith(fault) for line in caught.value.faults), caught.value.faults


def test_trap_4_15_each_share_is_of_the_energy_in_its_definition() -> None:
    facility, equipment, part = 10_000.0, 8_000.0, 1_500.0
    assert erf(reused_joules=part, facility_joules=facility).value == part / facility
    assert ref(renewable_joules=part, facility_joules=facility).value == part / facility
    effectiveness = ere(facility_joules=facility, reused_joules=part, it_joules=equipment).value
    assert effectiveness == pytest.approx((1 - part / facility) * facility / equipment)
    assert ask("ref", renewable_kwh=60, facility_kwh=100) == 0.6  # a ratio, and not 60


def test_a_percent_of_nodes_may_be_missing_in_each_interval() -> None:
    nodes = fleet([100.0] * 1000, alive=0.999, count=60, seed=7)
    assert whole(nodes) < 0.6  # about 37 % is what requiring every one would leave
    found = joint_pue(interval_seconds=60, branches=nodes)
    assert found.joint_intervals_count == 60
    assert found.pue_ratio == pytest.approx(1.25, rel=1e-12)
    assert found.filled_joules > 0


def test_small_meters_may_be_missing_and_large_ones_not() -> None:
    # 39 meters of half a percent and a large one: what counts is their energy, not their number.
    meters = fleet([100.0] * 39 + [16_100.0], alive=0.99, count=400, seed=3)
    assert whole(meters) == pytest.approx(0.67, abs=0.06)
    found = joint_pue(interval_seconds=60, branches=meters)
    assert found.joint_intervals_count > 390
    assert found.coverage_ratio > 0.97
    assert found.pue_ratio == pytest.approx(1.25, rel=1e-9)


@pytest.mark.parametrize(("missing", "counts"), [(1, True), (2, False)])
def test_an_interval_counts_up_to_a_percent(missing: int, *, counts: bool) -> None:
    nodes = [Series(f"n{at}", "it", [1.0, None if at < missing else 1.0]) for at in range(100)]
    branches = [Series("f", "facility", [125.0, 125.0]), *nodes]
    found = joint_pue(interval_seconds=60, branches=branches)
    assert found.joint_intervals_count == (2 if counts else 1)


def test_a_gap_is_filled_from_the_last_hour_only() -> None:
    equipment: list[float | None] = [900.0, *[100.0] * 60, None]
    small = Series("small", "it", equipment)
    large = Series("large", "it", [100_000.0] * 62)
    branches = [Series("f", "facility", [125_000.0] * 62), small, large]
    found = joint_pue(interval_seconds=60, branches=branches)
    assert found.filled_joules == pytest.approx(100.0, rel=1e-12)


def test_a_gap_of_unknown_size_is_not_filled() -> None:
    branches = [
        Series("f", "facility", [125.0, 125.0]),
        Series("known", "it", [100.0, 100.0]),
        Series("new", "it", [None, 1.0]),
    ]
    found = joint_pue(interval_seconds=HOUR, branches=branches)
    assert found.joint_intervals_count == 1
    assert found.pue_ratio is None  # half the time is not known
    assert found.coverage_ratio == 0.5


def test_joint_pue_has_the_label_and_the_smallest_window_of_production() -> None:
    branches = [
        Series("f", "facility", [125.0] * 4),
        Series("rack", "it", [50.0] * 4, category=3),
        Series("ups", "it", [50.0] * 4, category=1),
    ]
    found = joint_pue(interval_seconds=900, branches=branches, slowest_step_seconds=900)
    assert (found.pue_ratio, found.label) == (1.25, "iPUE, category 1")  # the most upstream
    short = joint_pue(interval_seconds=899, branches=branches, slowest_step_seconds=900)
    assert short.pue_ratio is None
    assert short.reason == "a window of 3596 s: the slowest meter needs 3600 s"
    nodes = [branches[0], Series("n", "it", [90.0] * 4)]
    bound = joint_pue(interval_seconds=900, branches=nodes)
    assert bound.label == "iPUE, IT energy from nodes: upper bound"
    assert bound.pue_ratio == pytest.approx(1.39, abs=0.005)
    year = joint_pue(interval_seconds=365 * 86400 / 4, branches=branches)
    assert year.label == "PUE, category 1"


def test_exported_energy_is_taken_off() -> None:
    branches = [
        Series("feed", "facility", [150.0]),
        Series("export", "facility", [25.0], factor=-1.0),
        Series("ups", "it", [100.0]),
    ]
    assert joint_pue(interval_seconds=HOUR, branches=branches).pue_ratio == 1.25
    more = [Series("export", "facility", [200.0], factor=-1.0), *branches[::2]]
    found = joint_pue(interval_seconds=HOUR, branches=more)
    assert found.pue_ratio is None
    assert found.reason is not None
    assert "below 0" in found.reason


def test_a_change_of_category_in_the_window_is_flagged() -> None:
    text = 'name = "s"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
    text += '[[meter]]\nname = "u"\nrole = "boundary"\n'
    text += '[[meter]]\nname = "a"\nrole = "it"\ncategory = 1\nvalid_to = 2026-02-01\n'
    text += '[[meter]]\nname = "b"\nrole = "it"\ncategory = 3\nvalid_from = 2026-02-01\n'
    index = SiteIndex(parse_site(text, "s"))
    january, february, march = (
        datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (1, 2, 3)
    )
    labels = [
        production.label(production.energy_basis(index, window), 86400)
        for window in ((january, february), (february, march), (january, march))
    ]
    assert labels == [
        "iPUE, category 1",
        "iPUE, category 3",
        "iPUE, category 1, which changes in the window",
    ]


def test_a_battery_without_a_meter_is_known_while_it_is_there() -> None:
    text = 'name = "s"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
    text += '[[storage]]\nname = "b"\nrated_watts = 1e5\ncapacity_kwh = 100.0\n'
    text += "valid_from = 2026-02-01\nvalid_to = 2026-03-01\n"
    index = SiteIndex(parse_site(text, "s"))
    january, february, march, april = (
        datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (1, 2, 3, 4)
    )
    for window, unmetered in (
        ((january, february), False),
        ((january, march), True),
        ((february, march), True),
        ((march, april), False),
    ):
        basis = production.energy_basis(index, window)
        assert basis.battery_unmetered == unmetered
        found = production.pue(
            joint(90.0, 100.0),
            window_seconds=HOUR,
            basis=METERED._replace(battery_unmetered=basis.battery_unmetered),
        )
        assert (found.value, found.reason is None) == (0.9, unmetered)


COLOCATION = """
[[colocation]]
name = "{0}"
committed_kw = 10
per_kw = 1
per_kwh = 1
{1}
valid_from = 2026-02-01
"""


@pytest.mark.parametrize(
    ("tables", "stated"),
    [
        ([("a", "landlord_pue = 1.4")], 1.4),
        ([("a", "landlord_pue = 1.4"), ("b", "landlord_pue = 1.4")], 1.4),
        ([("a", "landlord_pue = 1.4"), ("b", "landlord_pue = 1.3")], None),
        ([("a", "landlord_pue = 1.4"), ("b", "")], None),
        ([("a", "")], None),
    ],
)
def test_a_tenant_without_meters_shows_the_figure_of_the_landlord_as_an_estimate(
    tables: list[tuple[str, str]], stated: float | None
) -> None:
    text = 'name = "s"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
    text += "".join(COLOCATION.format(*each) for each in tables)
    index = SiteIndex(parse_site(text, "s"))
    january, february, march = (
        datetime(2026, month, 1, tzinfo=UTC).timestamp() for month in (1, 2, 3)
    )
    # The contract begins in February: nobody states anything of January, nor of both.
    for begins, ends in ((january, february), (january, march)):
        assert production.energy_basis(index, (begins, ends)).landlord_pue_ratio is None
    basis = production.energy_basis(index, (february, march))
    sums = zero_sums() | {"interval_seconds": HOUR, "it_expected_joules": 100.0}
    found = production.pue(sums, window_seconds=HOUR, basis=basis)
    assert found.value == stated
    if stated is None:
        assert found.reason == "the site has no boundary meter"
        return
    assert found.label == "the landlord's PUE, estimated"
    assert found.numerator == pytest.approx(140.0)
    dark = sums | {"pue_unexpected_seconds": 360.0}
    assert production.pue(dark, window_seconds=HOUR, basis=basis).value is None
    nothing = sums | {"it_expected_joules": 0.0}
    assert production.pue(nothing, window_seconds=HOUR, basis=basis).reason == "no IT energy"
    # A meter of the boundary says more than a landlord.
    metered = basis._replace(boundary_metered=True, it_metered=True, category=1)
    assert production.pue(joint(125, 100), window_seconds=HOUR, basis=metered).value == 1.25


def test_production_has_no_pue_of_facility_energy_below_zero() -> None:
    found = production.pue(joint(-1.0, 100.0), window_seconds=HOUR, basis=METERED)
    assert found.value is None
    assert found.reason is not None
    assert "below 0" in found.reason


@given(ENERGY, ENERGY)
def test_production_and_formula_are_one_function(facility: float, equipment: float) -> None:
    live = production.pue(joint(facility, equipment), window_seconds=HOUR, basis=METERED)
    plain = FORMULAS["pue"](facility_joules=facility, it_joules=equipment)
    assert (live.value, live.reason) == plain


@given(st.lists(st.tuples(ENERGY, ENERGY), min_size=1, max_size=20))
def test_joint_pue_is_the_ratio_of_sums(intervals: list[tuple[float, float]]) -> None:
    facility, equipment = zip(*intervals, strict=True)
    branches = [Series("f", "facility", facility), Series("i", "it", equipment)]
    found: JointPue = joint_pue(interval_seconds=60, branches=branches)
    assert found.pue_ratio == fsum(facility) / fsum(equipment)
    assert found.coverage_ratio == 1.0


@given(ENERGY, st.floats(0, 1), st.floats(0, 1))
def test_the_same_site_has_a_higher_pue_further_in(joules: float, ups: float, pdu: float) -> None:
    found = pue_by_category(
        facility_joules=joules,
        ups_output_joules=joules,
        pdu_output_joules=joules * (0.5 + ups / 2),
        it_input_joules=joules * (0.5 + ups / 2) * (0.5 + pdu / 2),
    )
    first, second, third = found[:3]
    assert first is not None
    assert second is not None
    assert third is not None
    assert first <= second <= third


@given(st.lists(ENERGY, min_size=1, max_size=9))
def test_what_is_lost_and_what_arrives_is_what_went_in(joules: list[float]) -> None:
    down = sorted(joules, reverse=True)
    stages = [
        {"name": str(at), "input_joules": into, "output_joules": out}
        for at, (into, out) in enumerate(pairwise(down))
    ]
    found = ask("power_path_losses", stages=stages)
    if not stages:
        assert found["loss_joules"] is None
        return
    assert found["loss_joules"] + down[-1] == pytest.approx(down[0], rel=1e-9)
    assert found["efficiency_ratio"] == pytest.approx(down[-1] / down[0], rel=1e-9)
    assert power_path_losses(stages=[]).reason == "no stage"


@given(st.floats(1, 1e9), st.floats(1, 1e9), st.floats(1, 1e7))
def test_tokens_for_each_megawatt_are_a_rate_over_a_power(
    tokens: float, watts: float, seconds: float
) -> None:
    found = tokens_per_second_per_megawatt(output_tokens=tokens, energy_joules=watts * seconds)
    assert found.value == pytest.approx((tokens / seconds) / (watts / 1e6), rel=1e-9)


def test_storage_gives_back_what_it_took() -> None:
    charged = facility_energy(import_joules=100, storage_charge_joules=40)
    discharged = facility_energy(import_joules=60, storage_discharge_joules=40)
    assert (charged, discharged) == (60.0, 100.0)
    with pytest.raises(ValueError, match="more left the boundary"):
        facility_energy(import_joules=1, export_joules=2)
