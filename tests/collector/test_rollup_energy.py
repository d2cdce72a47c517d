"""Energy in the rollup: what counts for PUE, and every cent of the bill in one state."""

from math import fsum
from typing import NamedTuple

import msgspec
import pytest

from meterhouse_agent import wire
from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.jointly import side
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.roll_up import NOTHING_EXPECTED, roll_up
from meterhouse_collector.rollup.site_energy import (
    Expected,
    IntervalRows,
    site_branches,
    site_energy,
)
from meterhouse_collector.rows import MeterRow, NodeRow, StateJoules
from meterhouse_collector.site.index import GroupKey, SiteIndex
from tests.collector.rollups import (
    EXPORT,
    HARDWARE,
    KWH,
    LENGTH,
    MILLISECONDS,
    PDU,
    TARIFF,
    UTILITY,
    asset,
    index,
    interval,
    matrix,
    meter,
    node,
    share,
    total,
)


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


# A node of one device that reported for one second of five, at 600 W, and was silent for four.
HEARD = NodeRow(
    MILLISECONDS,
    (share("tenant:acme", (1000, 0, 0, 0, 4000), (500.0, None, None, None, None)),),
    1000,
    energy_joules=600.0,
)


@pytest.mark.parametrize(("watts", "gap"), [(200.0, 800.0), (None, 2400.0)])
def test_node_that_was_silent_for_a_part_pays_for_that_part(
    watts: float | None, gap: float
) -> None:
    known = index(asset("n1", 1), asset("n2", 1), UTILITY, TARIFF)
    whole = node(
        share("tenant:acme", (5000, 0, 0, 0, 0), (9.0, None, None, None, None)), energy=3e3
    )
    expected = Expected({}, {} if watts is None else {"n2": watts})
    rows = interval({"n1": whole, "n2": HEARD}, {"utility": meter(KWH)})
    sums = total(roll_up(rows, known, expected))
    assert sums["active_drawn_joules"] == pytest.approx(3600.0)
    assert sums["unknown_drawn_joules"] == pytest.approx(gap)
    assert sums["unknown_energy_money"] == pytest.approx(0.36 * gap / (3600 + gap))
    assert sums["node_energy_joules"] == pytest.approx(3600.0)
    assert matrix(sums, "energy") == pytest.approx(0.36)


def test_drawn_joules_are_the_it_energy_that_is_filled() -> None:
    known = index(asset("n1", 1), asset("n2", 1), TARIFF)
    for row in (HEARD, node(share("none", (0, 0, 5000, 0, 0)), energy=70.0)):
        expected = Expected({}, {"n1": 300.0, "n2": 200.0})
        sums = total(roll_up(interval({"n2": row}), known, expected))
        drawn = fsum(sums[f"{state}_drawn_joules"] for state in wire.STATES)
        assert drawn == pytest.approx(sums["it_expected_joules"])


@pytest.mark.parametrize("joules", [(None,) * 5, (0.0,) * 5])
def test_gap_of_a_node_whose_devices_show_no_energy_goes_by_time(joules: StateJoules) -> None:
    row = msgspec.structs.replace(
        HEARD, shares=(share("tenant:acme", (1000, 0, 0, 0, 4000), joules),)
    )
    sums = total(roll_up(interval({"n1": row}), index(asset("n1", 1), TARIFF)))
    assert sums["active_drawn_joules"] == pytest.approx(600.0)
    assert sums["unknown_drawn_joules"] == pytest.approx(2400.0)


def test_gap_of_a_meter_of_a_node_alone_follows_its_devices() -> None:
    shares = (share("tenant:acme", (2500, 0, 2500, 0, 0), (300.0, None, 100.0, None, None)),)
    row = msgspec.structs.replace(HEARD, shares=shares)
    sums = total(roll_up(interval({"n1": row}), index(asset("n1", 1), TARIFF)))
    assert sums["active_drawn_joules"] == pytest.approx(3000 * 0.75)
    assert sums["free_drawn_joules"] == pytest.approx(3000 * 0.25)


def test_devices_that_are_measured_without_their_node_have_no_gap() -> None:
    known = index(asset("n1", 1), TARIFF)
    row = node(share("tenant:acme", (5000, 0, 0, 0, 0), (500.0, None, None, None, None)))
    sums = total(roll_up(interval({"n1": row}), known, Expected({}, {"n1": 900.0})))
    assert (sums["active_drawn_joules"], sums["unknown_drawn_joules"]) == (500.0, 0.0)
    nothing = node(share("tenant:acme", (0, 0, 0, 0, 5000)))
    silent = total(roll_up(interval({"n1": nothing}), known, Expected({}, {"n1": 900.0})))
    assert silent["unknown_drawn_joules"] == pytest.approx(4500.0)


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
        assert groups["estimated_joint_joules"] == (500.0 * missing if counts else 0.0)


def test_a_node_that_is_silent_for_hours_weighs_its_peak_and_no_more() -> None:
    row = node(energy=5000.0)
    for hardware, missing, counts in (
        (HARDWARE, 1, True),
        (HARDWARE, 10, True),
        (HARDWARE, 11, False),
        ("", 1, False),
    ):
        known = index(UTILITY, hardware, *(asset(f"n{number}", 1) for number in range(1000)))
        nodes = {f"n{number}": row for number in range(missing, 1000)}
        found = joint(known, interval(nodes, {"utility": meter(6e6)}))
        # One device of model M draws 1,000 W at most.
        assert found == (counts, 6e6, 5e6 if counts else None)
        groups = roll_up(interval(nodes, {"utility": meter(6e6)}), known)
        site = groups[GroupKey("site")]
        assert site["pue_unexpected_seconds"] == (0 if counts else LENGTH)
        assert site["estimated_joint_joules"] == (5000.0 * missing if counts else 0.0)
        # What it drew is nobody's: its peak only says how little is missing.
        drawn = fsum(total(groups)[f"{state}_drawn_joules"] for state in wire.STATES)
        assert drawn == pytest.approx(5000.0 * (1000 - missing))
        branches = site_branches(interval(nodes), known, NOTHING_EXPECTED).it
        assert side(found for _, found in branches).joint == counts
        assert sum(found.nameplate for _, found in branches) == (missing if counts else 0)


def test_a_pue_says_which_part_of_it_is_estimated() -> None:
    known = index(UTILITY, PDU, PDU.replace("pdu", "pdu2"))
    window = Window(LENGTH, energy_basis(known), "EUR")
    rows = {"utility": meter(1250.0), "pdu": meter(990.0), "pdu2": meter(10.0)}
    expected = Expected({"pdu2": 2.0}, {})
    for gone, says in (({}, ""), ({"pdu2"}, ", 0.4% estimated")):
        left = {name: row for name, row in rows.items() if name not in gone}
        found = kpis(total(roll_up(interval({}, left), known, expected)), window=window)["pue"]
        assert found.value == 1.25
        assert found.label == f"iPUE, category 2{says}"


def test_gaps_of_what_comes_and_of_what_leaves_are_both_estimated() -> None:
    known = index(UTILITY, UTILITY.replace("utility", "campus"), EXPORT, PDU)
    rows = interval({}, {"utility": meter(2000.0), "pdu": meter(1000.0)})
    expected = Expected({"campus": 1.0, "export": 1.0}, {})
    site = roll_up(rows, known, expected)[GroupKey("site")]
    assert (site["facility_joint_joules"], site["estimated_joint_joules"]) == (2000.0, 10.0)


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
