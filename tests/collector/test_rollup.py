"""The rollup: nothing dropped, nothing twice, and every cent of the bill in one state."""

from collections.abc import Mapping
from math import fsum
from typing import NamedTuple, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.rollup.rates import Rates
from meterhouse_collector.rollup.roll_up import (
    NOTHING_EXPECTED,
    add_sums,
    pick_row,
    roll_up,
)
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows, site_energy
from meterhouse_collector.rows import (
    EngineRow,
    MeterRow,
    NodeRow,
    Served,
    Share,
    StateJoules,
    StateMilliseconds,
)
from meterhouse_collector.shares import node_row
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.load import parse_site

START, LENGTH = 1_780_000_000, 5
MILLISECONDS = LENGTH * 1000
KWH = 3.6e6
HEAD = """
name = "site"
currency = "EUR"
time_zone = "UTC"
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
"""
HARDWARE = """
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 1825
life = "1825d"
[[hardware]]
accelerator_model = "L"
vendor = "amd"
price_per_device = 3650
salvage_per_device = 1825
life = "1825d"
"""
TARIFF = "[[tariff]]\nper_kwh = 0.36\nvalid_from = 2026-01-01\n"
UTILITY = '[[meter]]\nname = "utility"\nrole = "boundary"\n'
EXPORT = '[[meter]]\nname = "export"\nrole = "boundary"\nsign = -1\n'
PDU = '[[meter]]\nname = "pdu"\nrole = "it"\ncategory = 2\n'
DAY_RATE = 1.0  # of a device of model M, by price and life

Value = TypeVar("Value")


def asset(node: str, devices: int, pool: str = "chat", model: str = "M") -> str:
    return (
        f'[[asset]]\nnode = "{node}"\npool = "{pool}"\naccelerator_model = "{model}"\n'
        f"devices = {devices}\nin_service = 2026-01-01\n"
    )


def engine(name: str, served: str, *devices: str) -> str:
    listed = ", ".join(f'"{device}"' for device in devices)
    return f'[[engine]]\nname = "{name}"\n{served}\ndevices = [{listed}]\n'


def index(*parts: str) -> SiteIndex:
    return SiteIndex(parse_site(HEAD + "\n".join(parts), "site.toml"))


def share(
    holder: str,
    milliseconds: StateMilliseconds,
    joules: StateJoules = (None, None, None, None, None),
    model: str = "M",
) -> Share:
    return Share(model, holder, milliseconds, joules, "counter", "ok")


def node(*shares: Share, energy: float | None = None) -> NodeRow:
    return NodeRow(
        MILLISECONDS, shares, 0 if energy is None else MILLISECONDS, energy_joules=energy
    )


def meter(energy: float | None, covered: int = MILLISECONDS) -> MeterRow:
    return MeterRow(MILLISECONDS, covered, energy)


def served(
    model: str, output: int | None, read: int | None = 0, cached: int | None = 0, **fields: int
) -> EngineRow:
    covered = fields.get("covered", MILLISECONDS)
    one = Served(model, covered, read, cached, output, {"stop": 2, "length": 1, "abort": 7})
    return EngineRow(MILLISECONDS, (one,))


def interval(
    nodes: Mapping[str, NodeRow] | None = None,
    meters: Mapping[str, MeterRow] | None = None,
    engines: Mapping[str, EngineRow] | None = None,
) -> IntervalRows:
    return IntervalRows(START, LENGTH, nodes or {}, meters or {}, engines or {})


def total(groups: Mapping[GroupKey, Sums]) -> Sums:
    return add_sums(groups.values())


def matrix(sums: Sums, kind: str) -> float:
    return fsum(sums[f"{state}_{kind}_money"] for state in wire.STATES)


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


def test_half_idle_at_a_seventh_of_the_power_pays_an_eighth_of_the_energy() -> None:
    known = index(asset("n1", 2), HARDWARE, UTILITY, TARIFF)
    row = node(share("tenant:acme", (5000, 0, 5000, 0, 0), (3500.0, None, 500.0, None, None)))
    sums = total(roll_up(interval({"n1": row}, {"utility": meter(KWH)}), known))
    assert sums["active_energy_money"] == pytest.approx(0.36 * 0.875)
    assert sums["free_energy_money"] == pytest.approx(0.36 * 0.125)
    assert sums["active_capital_money"] == sums["free_capital_money"]


def test_bill_is_the_signed_boundary_and_never_times_a_pue() -> None:
    known = index(asset("n1", 1), UTILITY, EXPORT, PDU, TARIFF)
    row = node(share("tenant:acme", (5000, 0, 0, 0, 0), (3500.0, None, None, None, None)))
    meters = {"utility": meter(3 * KWH), "export": meter(KWH), "pdu": meter(1.6 * KWH)}
    groups = roll_up(interval({"n1": row}, meters), known)
    assert matrix(total(groups), "energy") == pytest.approx(0.72)
    site = groups[GroupKey("site")]
    assert site["facility_joules"] == site["facility_joint_joules"] == 2 * KWH
    assert site["it_joules"] == site["it_joint_joules"] == 1.6 * KWH


def test_bill_without_any_measured_joule_is_still_somebody_s() -> None:
    known = index(asset("n1", 1), UTILITY, TARIFF)
    groups = roll_up(interval({}, {"utility": meter(KWH)}), known)
    assert groups[GroupKey("site")]["unknown_energy_money"] == pytest.approx(0.36)


def test_rest_of_the_node_follows_its_devices() -> None:
    known = index(asset("n1", 1), asset("n2", 1, "spare"), UTILITY, TARIFF)
    nodes = {
        "n1": node(
            share("tenant:acme", (5000, 0, 0, 0, 0), (1.0, None, None, None, None)), energy=3.0
        ),
        "n2": node(share("none", (0, 0, 5000, 0, 0)), energy=1.0),
    }
    sums = total(roll_up(interval(nodes, {"utility": meter(KWH)}), known))
    assert sums["active_energy_money"] == pytest.approx(0.27)
    assert sums["free_energy_money"] == pytest.approx(0.09)
    assert sums["node_energy_joules"] == pytest.approx(4.0)


def test_silent_node_pays_for_its_last_known_power() -> None:
    known = index(asset("n1", 1), asset("n2", 1), UTILITY, TARIFF)
    row = node(share("tenant:acme", (5000, 0, 0, 0, 0), (3000.0, None, None, None, None)))
    expected = Expected({}, {"n2": 200.0})
    sums = total(roll_up(interval({"n1": row}, {"utility": meter(KWH)}), known, expected))
    assert sums["unknown_energy_money"] == pytest.approx(0.09)
    assert sums["unknown_joules"] == 0


def test_without_boundary_meters_the_bill_is_that_of_the_it_energy() -> None:
    rows = interval({"n1": node(energy=KWH)}, {"pdu": meter(2 * KWH)})
    by_meter = roll_up(rows, index(asset("n1", 1), PDU, TARIFF))
    assert matrix(total(by_meter), "energy") == pytest.approx(0.72)
    by_node = roll_up(rows, index(asset("n1", 1), TARIFF))
    assert matrix(total(by_node), "energy") == pytest.approx(0.36)
    assert by_node[GroupKey("site")]["it_joules"] == KWH
    assert by_node[GroupKey("site")]["it_joint_joules"] == 0


def test_hardware_without_a_price_has_no_money_and_is_counted() -> None:
    known = index(asset("n1", 1), UTILITY, TARIFF)
    sums = total(roll_up(interval({}, {"utility": meter(KWH)}), known))
    assert matrix(sums, "capital") == 0
    assert sums["unpriced_seconds"] == 5


def test_missing_boundary_meter_is_filled_by_its_last_power_or_leaves_no_bill() -> None:
    known = index(asset("n1", 1), HARDWARE, UTILITY, PDU, TARIFF)
    rows = interval({}, {"pdu": meter(KWH)})
    blind = total(roll_up(rows, known))
    assert (matrix(blind, "energy"), blind["unpriced_seconds"]) == (0.0, 5.0)
    filled = total(roll_up(rows, known, Expected({"utility": KWH / LENGTH}, {})))
    assert matrix(filled, "energy") == pytest.approx(0.36)
    assert filled["estimated_energy_money"] == pytest.approx(0.36)
    assert filled["facility_joules"] == filled["facility_joint_joules"] == 0


def test_interval_without_a_tariff_has_no_energy_money() -> None:
    known = index(asset("n1", 1), HARDWARE, UTILITY, TARIFF.replace("2026", "2027"))
    sums = total(roll_up(interval({}, {"utility": meter(KWH)}), known))
    assert matrix(sums, "energy") == 0
    assert sums["unpriced_seconds"] == 5


class Joint(NamedTuple):
    counts: bool
    facility: float | None
    it: float | None


def joint(known: SiteIndex, rows: IntervalRows, expected: Expected = NOTHING_EXPECTED) -> Joint:
    found = site_energy(rows, known, expected)
    return Joint(found.joint, found.facility.filled, found.it.filled)


def test_interval_counts_though_a_percent_of_a_side_is_missing() -> None:
    known = index(UTILITY, *(asset(f"n{number}", 1) for number in range(1000)))
    expected = Expected({}, {f"n{number}": 100.0 for number in range(1000)})
    row = node(energy=500.0)
    for missing, counts in ((0, True), (10, True), (11, False)):
        nodes = {f"n{number}": row for number in range(missing, 1000)}
        rows = interval(nodes, {"utility": meter(600_000.0)})
        assert joint(known, rows, expected) == (counts, 600_000.0, 500_000.0)
        groups = roll_up(rows, known, expected)[GroupKey("site")]
        assert groups["it_joint_joules"] == (500_000.0 if counts else 0.0)
        assert groups["it_expected_joules"] == 500_000.0
        assert groups["it_joules"] == 500.0 * (1000 - missing)


def test_ten_percent_of_it_missing_is_no_pue_rather_than_a_wrong_one() -> None:
    meters = "".join(PDU.replace("pdu", f"pdu{number}") for number in range(10))
    known = index(UTILITY, meters)
    rows = {f"pdu{number}": meter(100.0) for number in range(9)} | {"utility": meter(1250.0)}
    window = Window(LENGTH, energy_basis(known), "EUR")
    expected = Expected({"pdu9": 20.0}, {})
    found = kpis(total(roll_up(interval({}, rows), known, expected)), window=window)["pue"]
    assert found.value is None
    whole = kpis(total(roll_up(interval({}, rows | {"pdu9": meter(100.0)}), known)), window=window)
    assert whole["pue"].value == 1.25


def test_gap_of_unknown_size_does_not_count_and_is_not_hidden() -> None:
    known = index(UTILITY, PDU, PDU.replace("pdu", "pdu2"))
    rows = interval({}, {"utility": meter(1250.0), "pdu": meter(500.0)})
    assert joint(known, rows) == (False, 1250.0, None)
    site = roll_up(rows, known)[GroupKey("site")]
    assert site["pue_unexpected_seconds"] == LENGTH
    assert (site["it_expected_joules"], site["it_joules"]) == (0.0, 500.0)


def test_nameplate_weighs_a_silent_meter_but_bills_no_large_one() -> None:
    small = PDU.replace("pdu", "pdu2") + "peak_watts = 1.0\n"
    rows = interval({}, {"utility": meter(1250.0), "pdu": meter(1000.0)})
    assert joint(index(UTILITY, PDU, small), rows) == (True, 1250.0, 1005.0)
    large = UTILITY.replace("utility", "feed2") + "peak_watts = 1000.0\n"
    found = site_energy(rows, index(UTILITY, large, PDU), NOTHING_EXPECTED)
    assert (found.joint, found.billed) == (False, None)


def test_partly_covered_meter_is_filled_at_its_own_power() -> None:
    rows = interval({}, {"utility": meter(1000.0, covered=4975), "pdu": meter(500.0)})
    found = joint(index(UTILITY, PDU), rows)
    assert found.counts
    assert found.facility == pytest.approx(1000 / 0.995)
    stale = MeterRow(MILLISECONDS, MILLISECONDS, 1000.0, quality="stale")
    assert not joint(index(UTILITY, PDU), interval({}, {"utility": stale})).counts


SERVE = (HARDWARE, UTILITY, TARIFF)
CHAT = GroupKey("site", "c1", "chat", "acme", "nvidia", "M", "llama")


def test_cost_follows_the_engine_s_devices_and_its_share_of_the_pool_s_rest() -> None:
    known = index(asset("n1", 4), engine("e1", 'served_model = "llama"', "n1/a"), *SERVE)
    row = node(
        share("engine:e1", (5000, 0, 0, 0, 0), (300.0, None, None, None, None)),
        share("tenant:acme", (5000, 0, 10000, 0, 0), (300.0, None, 400.0, None, None)),
    )
    rows = interval({"n1": row}, {"utility": meter(KWH)}, {"e1": served("llama", 10, 30, 20)})
    groups = roll_up(rows, known)
    second = DAY_RATE / 86400
    mine = 5 * second + 0.108
    rest = 10 * second + 0.144
    assert groups[CHAT]["serving_money"] == pytest.approx(mine + rest / 2)
    assert groups[CHAT]["serving_output_tokens"] == 10
    assert groups[CHAT]["serving_input_tokens"] == 30
    assert groups[CHAT]["serving_computed_tokens"] == 20
    assert groups[CHAT]["serving_computed_money"] == groups[CHAT]["serving_money"]
    assert groups[CHAT]["requests_succeeded"] == 3
    assert groups[CHAT]["engine_covered_seconds"] == groups[CHAT]["engine_installed_seconds"] == 5


@pytest.mark.parametrize(
    "row", [None, served("llama", None), served("llama", 5, None), served("other", 5)]
)
def test_engine_without_token_coverage_leaves_both_sides(row: EngineRow | None) -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), *SERVE)
    engines = {} if row is None else {"e1": row}
    sums = total(roll_up(interval({}, {"utility": meter(KWH)}, engines), known))
    assert sums["serving_money"] == sums["serving_output_tokens"] == 0
    assert (sums["engine_installed_seconds"], sums["engine_covered_seconds"]) == (5, 0)


def test_engine_without_a_price_leaves_both_sides() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), UTILITY, TARIFF)
    rows = interval({}, {"utility": meter(KWH)}, {"e1": served("llama", 5)})
    sums = total(roll_up(rows, known))
    assert (sums["serving_output_tokens"], sums["output_tokens"]) == (0, 5)


def test_partly_covered_engine_leaves_the_rest_of_its_money() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), *SERVE)
    rows = [
        interval({}, {"utility": meter(0.0)}, {"e1": served("llama", 5, 1, None, covered=covered)})
        for covered in (5000, 2500)
    ]
    whole, half = (total(roll_up(row, known)) for row in rows)
    assert half["serving_money"] == pytest.approx(whole["serving_money"] / 2)
    assert half["engine_covered_seconds"] == 2.5
    assert whole["serving_computed_tokens"] == whole["engine_computed_covered_seconds"] == 0


def test_declared_weights_split_an_engine_of_several_models() -> None:
    weights = 'served_models = { "a" = 0.25, "b" = 0.75 }'
    known = index(asset("n1", 1), engine("e1", weights, "n1/*"), *SERVE)
    both = EngineRow(
        MILLISECONDS,
        tuple(Served(model, MILLISECONDS, 0, 0, 10) for model in ("a", "b")),
    )
    groups = roll_up(interval({}, {"utility": meter(0.0)}, {"e1": both}), known)
    money = {g.served_model: s["serving_money"] for g, s in groups.items() if s["serving_money"]}
    assert money["b"] == pytest.approx(3 * money["a"])
    assert fsum(money.values()) == pytest.approx(matrix(total(groups), "capital"))


def test_engine_across_pools_and_nodes_keeps_its_tokens() -> None:
    serve = engine("e1", 'served_model = "llama"', "n1/*", "n2/*")
    known = index(asset("n1", 1), asset("n2", 3, "spare"), serve, *SERVE)
    groups = roll_up(interval({}, {"utility": meter(0.0)}, {"e1": served("llama", 100)}), known)
    tokens = {group.pool: sums["output_tokens"] for group, sums in groups.items()}
    assert tokens == {"none": 0, "chat": 25, "spare": 75}


def test_tokens_of_an_engine_that_no_model_names_are_counted_but_cost_nothing() -> None:
    groups = roll_up(interval({}, {}, {"e9": served("llama", 100)}), index(asset("n1", 1)))
    group = groups[GroupKey("site", served_model="llama")]
    assert (group["output_tokens"], group["serving_output_tokens"]) == (100, 0)


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


FLEET = (
    HARDWARE,
    UTILITY,
    EXPORT,
    PDU,
    TARIFF,
    asset("n1", 2),
    asset("n1", 1, "spare"),
    asset("n2", 2, "spare", "L"),
    asset("n3", 1, "spare"),
    engine("e1", 'served_model = "llama"', "n1/d0", "n3/*"),
    engine("e2", 'served_models = { "a" = 0.25, "b" = 0.75 }', "n2/d1"),
)
REGISTERED = 6
WHOLE = index(*FLEET)
LATER = index(
    HARDWARE,
    UTILITY,
    EXPORT,
    PDU,
    TARIFF,
    asset("n1", 2),
    asset("n2", 3, "chat", "L"),
    asset("n4", 1),
    engine("e1", 'served_model = "llama"', "n2/*"),
)
ENERGY = st.none() | st.floats(0, 1e7)


@st.composite
def node_rows(draw: st.DrawFn, name: str) -> NodeRow:
    model = "L" if name == "n2" else "M"
    names = [f"d{number}" for number in range(draw(st.integers(0, 4)))]
    inventory = wire.Inventory(
        devices=[wire.Device(device=d, vendor="v", accelerator_model=model) for d in names]
    )
    times: dict[wire.State, list[int]] = {state: [] for state in wire.STATES}
    for _ in names:
        left = MILLISECONDS
        for state in wire.STATES:
            times[state].append(draw(st.integers(0, left)))
            left -= times[state][-1]
    joules: dict[wire.State, list[float | None]] = {
        state: [draw(ENERGY) for _ in names] for state in wire.STATES
    }
    energy = draw(ENERGY)
    report = wire.Report(
        schema=1,
        site="site",
        node=name,
        start_seconds=START,
        length_seconds=LENGTH,
        inventory_hash="h",
        accelerators=wire.Accelerators(state_milliseconds=times, state_joules=joules),
        host=wire.Host(covered_milliseconds=MILLISECONDS, energy_joules=energy),
    )
    return node_row(report, inventory, WHOLE)


def some(values: Mapping[str, st.SearchStrategy[Value]]) -> st.SearchStrategy[dict[str, Value]]:
    return st.fixed_dictionaries({}, optional=dict(values))


METERS = st.builds(meter, ENERGY, st.integers(0, MILLISECONDS))
TOKENS = st.none() | st.integers(0, 10**6)
ENGINES = st.builds(served, st.sampled_from(["llama", "a", "b", "x"]), TOKENS, TOKENS)
INTERVALS = st.builds(
    interval,
    some({name: node_rows(name) for name in ("n1", "n2", "n3", "n9")}),
    some(dict.fromkeys(("utility", "export", "pdu"), METERS)),
    some(dict.fromkeys(("e1", "e2", "e9"), ENGINES)),
)
EXPECTED = st.builds(
    Expected,
    some(dict.fromkeys(("utility", "export", "pdu"), st.floats(0, 1e6))),
    some(dict.fromkeys(("n1", "n2"), st.floats(0, 1e4))),
)


def reverse(values: Mapping[str, Value]) -> dict[str, Value]:
    return dict(reversed(list(values.items())))


@settings(max_examples=150, deadline=None)
@given(INTERVALS, EXPECTED)
def test_states_sum_to_installed_in_every_group(rows: IntervalRows, expected: Expected) -> None:
    groups = roll_up(rows, WHOLE, expected)
    for sums in groups.values():
        assert tuple(sums) == ROLLUP_FIELD_NAMES
        states = fsum(sums[f"{state}_seconds"] for state in wire.STATES)
        assert states == pytest.approx(sums["installed_seconds"], rel=1e-12, abs=1e-12)
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


def test_every_field_of_the_catalogue_is_written_by_some_interval() -> None:
    known = index(*FLEET)
    rows = interval(
        {
            "n1": node(
                share("engine:e1", (1000, 1000, 1000, 1000, 1000), (1.0, 1.0, 1.0, 1.0, 1.0)),
                share("tenant:acme", (1000, 1000, 1000, 1000, 1000), (1.0, 1.0, 1.0, 1.0, 1.0)),
                share("none", (1000, 1000, 1000, 1000, 1000), (1.0, 1.0, 1.0, 1.0, 1.0)),
                energy=30.0,
            ),
            "n9": node(share("unregistered", (5000, 0, 0, 0, 0))),
        },
        {"utility": meter(KWH), "export": meter(1.0, 4999), "pdu": meter(KWH / 2)},
        {"e1": served("llama", 10, 30, 20)},
    )
    silent = roll_up(interval(), known)
    second = (1.0, 1.0, 1.0)
    devices = {(group.pool, group.accelerator_model): second for group in roll_up(rows, known)}
    rates = Rates(devices, second, 1.0, 1.0, 1.0)
    sums = add_sums([total(roll_up(rows, known, rates=rates)), total(silent)])
    # Nothing states a limit of power yet, so nothing is stranded.
    assert {name for name, value in sums.items() if value == 0} == {"stranded_seconds"}
