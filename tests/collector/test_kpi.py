"""The KPIs: worked checks, test vectors, bounds, and a catalogue that is complete both ways."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.kpi import cost, idle, pue
from meterhouse_collector.kpi.catalogue import (
    DETAIL_FIELDS,
    LATENCIES,
    ROLLUP_FIELD_NAMES,
    ROLLUP_FIELDS,
    Kpi,
    Need,
)
from meterhouse_collector.kpi.compute import FUNCTIONS, Window, kpi, kpis
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.latency import Histogram
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.kpi.ratios import TOO_LARGE, Ratio, kpi_of
from meterhouse_collector.kpi.value import KpiValue, Reasoned
from meterhouse_collector.money import energy
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from tests.collector.vectors import Vector, vectors

KWH = energy.JOULES_PER_KWH
METERED = EnergyBasis(boundary_metered=True, it_metered=True, category=2, slowest_step_seconds=0.0)
HAS_ALL = METERED._replace(has=frozenset(get_args(Need)))
QUANTILE = "latency_quantile"
HOUR = 3600.0


def given_by(name: str, formula: str) -> list[Vector]:
    """Return the vectors of a name that are for a formula."""
    found = [vector for vector in vectors() if (vector.id, vector.formula) == (name, formula)]
    assert found
    return found


def sums(**fields: float) -> Sums:
    assert fields.keys() <= set(ROLLUP_FIELD_NAMES)
    return {**zero_sums(), **fields}


def joint(facility: float, equipment: float, *, expected: float | None = None) -> Sums:
    return sums(
        interval_seconds=HOUR,
        pue_joint_seconds=HOUR,
        facility_joint_joules=facility * KWH,
        it_joint_joules=equipment * KWH,
        it_expected_joules=(equipment if expected is None else expected) * KWH,
    )


def site_pue(parts: Sums, seconds: float = HOUR, basis: EnergyBasis = METERED) -> KpiValue:
    return pue.pue(parts, window_seconds=seconds, basis=basis)


def test_pue_is_the_ratio_of_sums_and_never_the_mean_of_ratios() -> None:
    [known] = given_by("PUE-WEIGHT", "joint_pue")
    facility, equipment = (branch["kwh"] for branch in known.inputs["branches"])
    parts = [joint(*pair) for pair in zip(facility, equipment, strict=True)]
    found = site_pue(add_sums(parts), seconds=2 * HOUR)
    assert found.value == pytest.approx(known.expected["pue_ratio"], rel=1e-9)
    assert found.value != pytest.approx(known.must_not["pue_ratio"], rel=1e-2)


@pytest.mark.parametrize(
    ("category", "meter"), [(1, "ups_output"), (2, "pdu_output"), (3, "it_input")]
)
def test_pue_says_its_category(category: int, meter: str) -> None:
    [known] = given_by("PUE-CATEGORY", "pue_by_category")
    text = 'name = "s"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
    text += '[[meter]]\nname = "u"\nrole = "boundary"\n'
    text += f'[[meter]]\nname = "i"\nrole = "it"\ncategory = {category}\n'
    basis = pue.energy_basis(SiteIndex(parse_site(text, "s")))
    given_joules = known.inputs["facility_joules"], known.inputs[f"{meter}_joules"]
    found = site_pue(joint(*given_joules), basis=basis)
    assert found.value == pytest.approx(known.expected[f"category_{category}_ratio"], rel=1e-9)
    assert found.label == f"iPUE, category {category}"


def test_mixed_cut_has_its_most_upstream_category() -> None:
    text = 'name = "s"\ncurrency = "EUR"\ntime_zone = "UTC"\n'
    for name, category in (("a", 3), ("b", 1)):
        text += f'[[meter]]\nname = "{name}"\nrole = "it"\ncategory = {category}\nstep = "15m"\n'
    basis = pue.energy_basis(SiteIndex(parse_site(text, "s")))
    assert basis == EnergyBasis(
        boundary_metered=False, it_metered=True, category=1, slowest_step_seconds=900.0
    )


def test_eu_core_vector() -> None:
    [known] = given_by("EU-CORE", "eu_core")
    found = site_pue(joint(known.inputs["facility_kwh"], known.inputs["it_kwh"]))
    assert found.value == pytest.approx(known.expected["pue_ratio"], rel=1e-9)


def test_only_a_trailing_year_is_called_pue() -> None:
    assert pue.label(METERED, 365 * 86400) == "PUE, category 2"
    assert pue.label(METERED, 365 * 86400 - 1) == "iPUE, category 2"


def test_pue_from_nodes_is_an_upper_bound_and_says_so() -> None:
    nodes = METERED._replace(it_metered=False, category=None)
    found = site_pue(joint(1.25, 0.9), basis=nodes)
    assert found.value == pytest.approx(1.39, abs=0.005)  # 10 % of the IT energy is not in nodes
    assert found.label == "iPUE, IT energy from nodes: upper bound"


def test_pue_below_one_keeps_its_value_with_an_alarm_unless_a_battery_discharges() -> None:
    found = site_pue(joint(90, 100))
    assert found.value == pytest.approx(0.9)
    assert found.reason is not None
    assert "below 1" in found.reason
    window = Window(HOUR, METERED._replace(battery_unmetered=True), "EUR")
    assert kpis(joint(90, 100), window=window)["pue"].reason is None


@pytest.mark.parametrize(
    ("parts", "seconds", "basis", "reason"),
    [
        (zero_sums(), HOUR, METERED, "no interval has both"),
        (joint(10, 0), HOUR, METERED, "no IT energy"),
        (joint(10, 8), HOUR, METERED._replace(boundary_metered=False), "no boundary meter"),
        (joint(10, 8), HOUR, METERED._replace(slowest_step_seconds=901), "slowest meter needs"),
        (joint(10, 8, expected=8.5), HOUR, METERED, "coverage 94.1% is below 95%"),
        (joint(10, 8), 2 * HOUR, METERED, "coverage 50.0% is below 95%"),
        (joint(10, 8) | {"pue_unexpected_seconds": 360.0}, HOUR, METERED, "coverage 90.0%"),
    ],
)
def test_pue_without_a_value_says_why(
    parts: Sums, seconds: float, basis: EnergyBasis, reason: str
) -> None:
    found = site_pue(parts, seconds, basis)
    assert found.value is None
    assert found.reason is not None
    assert reason in found.reason
    assert found.numerator == parts["facility_joint_joules"]


def test_window_of_four_steps_of_the_slowest_meter_is_enough() -> None:
    assert site_pue(joint(10, 8), basis=METERED._replace(slowest_step_seconds=900)).value == 1.25


def capacity(**states: float) -> Sums:
    parts = {f"{state}_seconds": seconds for state, seconds in states.items()}
    installed = sum(seconds for state, seconds in states.items() if state != "stranded")
    return sums(installed_seconds=installed, **parts)


def test_idle_ratio_counts_free_and_held_idle() -> None:
    found = idle.idle_capacity_ratio(capacity(active=700, free=200, held_idle=100, unhealthy=50))
    assert (found.value, found.low, found.high, found.coverage) == (0.3, 0.3, 0.3, 1.0)


def test_idle_ratio_does_not_fall_when_idle_devices_go_silent() -> None:
    silent = idle.idle_capacity_ratio(capacity(active=700, free=100, unknown=200))
    assert silent.value is None
    assert silent.reason == "coverage 80.0% is below 95%"
    assert (silent.low, silent.high) == (0.1, 0.3)
    shown = idle.idle_capacity_ratio(capacity(active=700, free=100, unknown=200), floor=0.5)
    assert shown.value == 0.125


def test_stranded_capacity_is_not_idle() -> None:
    found = idle.idle_capacity_ratio(capacity(active=900, free=100, stranded=100))
    assert found.value == 0.0
    more = idle.idle_capacity_ratio(capacity(active=900, free=100, stranded=150))
    assert more.value == 0.0


@pytest.mark.parametrize("states", [{}, {"unhealthy": 5.0}, {"unknown": 5.0}])
def test_idle_ratio_of_nothing_has_no_value(states: dict[str, float]) -> None:
    found = idle.idle_capacity_ratio(capacity(**states))
    assert found.value is None
    assert found.reason is not None


DURATION = st.floats(0, 1e9)


@given(DURATION, DURATION, DURATION, DURATION, DURATION)
def test_idle_ratio_lies_within_its_bounds(
    active: float, held_idle: float, free: float, unknown: float, stranded: float
) -> None:
    parts = capacity(
        active=active, held_idle=held_idle, free=free, unknown=unknown, stranded=stranded
    )
    found = idle.idle_capacity_ratio(parts, floor=0.0)
    if found.value is None:
        assert active + held_idle + max(0.0, free - stranded) == 0
        return
    assert found.low is not None
    assert found.high is not None
    assert 0 <= found.low <= found.value * (1 + 1e-12)
    assert found.value <= found.high * (1 + 1e-12)
    assert found.high <= 1 + 1e-12


@given(st.floats(1, 1e12), st.floats(0, 1e12))
def test_pue_is_at_least_one_where_the_rest_is_not_negative(it: float, rest: float) -> None:
    found = site_pue(joint((it + rest) / KWH, it / KWH))
    assert found.value is not None
    assert found.value >= 1 - 1e-12


def serving(**fields: float) -> Sums:
    covered = {
        "engine_installed_seconds": HOUR,
        "engine_covered_seconds": HOUR,
        "engine_computed_covered_seconds": HOUR,
    }
    return sums(**{**covered, **fields})


def output_cost(parts: Sums, **options: float) -> KpiValue:
    return cost.cost_per_million_output_tokens(parts, currency="USD", **options)  # type: ignore[arg-type] # floor only


def test_cost_per_million_tokens_at_low_and_high_load() -> None:
    known = given_by("CPM-LOAD", "cost_per_million_output_tokens")
    assert [vector.inputs["output_tokens"] / HOUR for vector in known] == [50, 250]
    for vector in known:
        parts = serving(
            serving_money=vector.inputs["serving_money"],
            serving_output_tokens=vector.inputs["output_tokens"],
        )
        found = output_cost(parts)
        assert found.value == pytest.approx(vector.expected, rel=1e-9)
        assert found.unit == "USD per million tokens"


def test_three_denominators_stand_apart() -> None:
    parts = serving(
        serving_money=9.0,
        serving_computed_money=9.0,
        serving_input_tokens=8000,
        serving_output_tokens=1000,
        serving_computed_tokens=8000 - 6400 + 1000,
    )
    found = kpis(parts, window=Window(HOUR, METERED, "EUR"))
    every = found["cost_per_million_tokens"].value
    computed = found["cost_per_million_computed_tokens"].value
    output = found["cost_per_million_output_tokens"].value
    assert every is not None
    assert computed is not None
    assert (every, output) == (1000.0, 9000.0)
    assert computed / every == pytest.approx(3.5, abs=0.05)
    assert found["cost_per_million_tokens"].label == "cost per million tokens"


def test_no_tokens_have_no_cost_but_idle_capacity_has() -> None:
    parts = serving(
        serving_money=5.0, held_idle_capital_money=3.0, free_energy_money=1.5, active_energy_money=9
    )
    found = output_cost(parts)
    assert found.value is None
    assert found.reason == "no tokens; idle capacity cost 4.50 USD"
    assert found.numerator == 5.0


def test_cost_under_the_floor_has_no_value_and_keeps_its_sums() -> None:
    parts = serving(serving_money=5.0, serving_output_tokens=10, engine_covered_seconds=0.9 * HOUR)
    found = output_cost(parts)
    assert found.value is None
    assert (found.numerator, found.denominator, found.coverage) == (5.0, 10, 0.9)
    assert found.reason is not None
    assert found.reason.startswith("coverage 90.0% is below 95%")
    assert output_cost(parts, floor=0.9).value == 500_000.0
    unpriced = output_cost(parts | {"unpriced_seconds": 8.0})
    assert unpriced.reason is not None
    assert "8 device-seconds have no price" in unpriced.reason
    assert unpriced.reason.endswith("idle capacity cost at least 0.00 USD")


def test_cost_where_no_engine_holds_a_device_has_no_value() -> None:
    found = output_cost(sums(free_capital_money=2.0))
    assert found.reason == "no engine holds a device here; idle capacity cost 2.00 USD"


def test_cost_without_boundary_meters_is_a_lower_bound() -> None:
    window = Window(HOUR, METERED._replace(boundary_metered=False), "EUR")
    label = kpis(serving(), window=window)["cost_per_million_tokens"].label
    assert label == "cost per million tokens, energy of IT only: lower bound"


def test_bill_is_metered_energy_times_tariff_or_nothing_known() -> None:
    assert energy.bill(7.2e6, 0.18 / KWH) == pytest.approx(0.36)
    assert energy.bill(0.0, 0.1) == 0.0
    assert energy.bill(None, 0.1) is None
    assert energy.bill(1.0, None) is None


def test_every_kpi_has_function_and_row() -> None:
    assert [kpi.name for kpi in LIVE_KPIS] == list(FUNCTIONS)
    nothing = Histogram((1.0,), (0, 0))
    window = Window(HOUR, HAS_ALL, "EUR", observed=dict.fromkeys(LATENCIES, nothing))
    found = kpis(zero_sums(), window=window)
    assert list(found) == list(FUNCTIONS)
    for name, value in found.items():
        assert value.name == name
        assert value.value is None
        assert value.reason is not None
        assert kpi(name, zero_sums(), window=window) == value


def test_what_has_no_basis_is_not_shown_and_says_what_the_site_lacks() -> None:
    window = Window(HOUR, METERED, "EUR")
    assert list(kpis(zero_sums(), window=window)) == [k.name for k in LIVE_KPIS if k.needs is None]
    assert {kpi.needs for kpi in LIVE_KPIS} - {None} == set(get_args(Need))
    lacking = kpi("wue", sums(water_joint_litres=1.0), window=window)
    assert (lacking.value, lacking.reason) == (None, "the site has no water meter")
    window = window._replace(basis=HAS_ALL)
    unread = kpi("latency_p95_seconds", zero_sums(), window=window)
    assert unread.reason == "latencies are not read for such a window"
    untold = kpi("latency_p95_seconds", zero_sums(), window=window._replace(observed={}))
    assert untold.reason == "no engine told of it"


@pytest.mark.parametrize(
    "row", [row for row in LIVE_KPIS if row.of != QUANTILE], ids=lambda row: row.name
)
def test_numerator_and_denominator_of_the_catalogue_are_what_is_divided(row: Kpi) -> None:
    numbers = {name: float(at) for at, name in enumerate(ROLLUP_FIELD_NAMES, start=1)}
    numbers |= {"free_seconds": 1e3, "stranded_seconds": 1.0}
    found = kpis(numbers, window=Window(HOUR, HAS_ALL, "EUR"), floor=0.0)[row.name]

    def worth(terms: str) -> float:
        total = 0.0
        for term in terms.replace("- ", "+ -").split("+"):
            name = term.strip()
            total += -numbers[name[1:]] if name.startswith("-") else numbers[name]
        return total

    assert found.numerator == pytest.approx(worth(row.numerator))
    assert found.denominator == pytest.approx(worth(row.denominator))
    assert row.unit.replace("currency", "EUR") == found.unit


def test_every_kpi_is_tested_by_a_vector() -> None:
    text = Path(__file__).read_text()
    named = {"pue": "PUE-WEIGHT", "cost_per_million_output_tokens": "CPM-LOAD"}
    worked = {"idle_capacity_ratio", "cost_per_million_tokens", "cost_per_million_computed_tokens"}
    # The others are the very formulas that tests/vectors computes.
    formulas = {kpi.name for kpi in LIVE_KPIS if (kpi.of or kpi.name) in FORMULAS}
    assert named.keys() | worked | formulas == FUNCTIONS.keys()
    for name in worked:
        assert f'["{name}"].value' in text or f"{name}(capacity(" in text
    for name in named.values():
        assert f'given_by("{name}"' in text


def test_catalogue_names_each_field_once_and_with_its_unit() -> None:
    endings = {
        "seconds": ("seconds", "device-seconds"),
        "joules": ("joules",),
        "tokens": ("tokens",),
        "money": ("currency",),
        "litres": ("litres",),
        "kg": ("kg",),
        "requests": ("requests",),
        "succeeded": ("requests",),
        "failed": ("requests",),
    }
    assert len(set(ROLLUP_FIELD_NAMES)) == len(ROLLUP_FIELDS)
    for field in ROLLUP_FIELDS:
        assert field.unit in endings[field.name.rsplit("_", maxsplit=1)[-1]]
        assert field.meaning


def test_detail_fields_are_the_columns_of_the_wire_and_energy() -> None:
    hints = get_type_hints(wire.Accelerators, include_extras=True)
    columns = [name for name, hint in hints.items() if hint == wire.Column]
    assert [field.name for field in DETAIL_FIELDS] == ["energy_joules", *columns]


def test_what_no_number_holds_has_a_reason_in_its_place() -> None:
    found = kpi_of(
        Ratio("x", "1", "x", 5669.0, 3e-306, 1.0, lambda: Reasoned(5669.0 / 3e-306), "nothing"), 0.5
    )
    assert (found.value, found.reason) == (None, TOO_LARGE)
