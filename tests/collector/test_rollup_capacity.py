"""Limits, contracts and reserves in the rollup: what is stranded, and what was delivered."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_collector.kpi.compute import Window, kpi
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.promised import Down, node_down
from meterhouse_collector.rollup.quarter_node import NodeQuarter
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rows import NodeRow, StateMilliseconds
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.powerable import powerable_watts
from tests.collector.rollups import (
    HARDWARE,
    LENGTH,
    MILLISECONDS,
    START,
    asset,
    index,
    interval,
    node,
    share,
    total,
)

ALL = MILLISECONDS


def cluster(watts: float) -> str:
    return f'[[cluster]]\nname = "c1"\npowerable_watts = {watts}\n'


def sold(units: int, unit: str = "device", *, pools: str = "chat", name: str = "sale") -> str:
    return (
        f'[[contract]]\nname = "{name}"\nside = "sold"\ncounterparty = "A"\ntenant = "acme"\n'
        f'pools = ["{pools}"]\nunit = "{unit}"\nunits = {units}\nrate = 1\n'
        "valid_from = 2026-01-01\n"
    )


def states(*milliseconds: int) -> NodeRow:
    """Return a row of the pool's tenant: active, held idle, free, unhealthy, unknown."""
    times: StateMilliseconds = (*milliseconds, *(0,) * (5 - len(milliseconds)))  # type: ignore[assignment] # five
    return node(share("tenant:acme", times))


def label(name: str, sums: Sums, known: SiteIndex) -> str:
    window = Window(LENGTH, energy_basis(known), "EUR")
    return kpi(name, sums, window=window, floor=0.0).label


def ratio(name: str, sums: Sums, known: SiteIndex) -> tuple[float | None, ...]:
    found = kpi(name, sums, window=Window(LENGTH, energy_basis(known), "EUR"), floor=0.0)
    return found.low, found.value, found.high


def test_room_for_900_with_900_active_and_100_free_is_no_idle_capacity() -> None:
    nodes = {f"n{n}": states(90 * ALL, 0, 10 * ALL) for n in range(10)}
    assets = "".join(asset(name, 100) for name in nodes)
    known = index(assets, HARDWARE, cluster(900_000.0))
    sums = total(roll_up(interval(nodes), known))
    assert sums["stranded_seconds"] == pytest.approx(100 * LENGTH)
    assert ratio("idle_capacity_ratio", sums, known)[1] == pytest.approx(0.0)
    assert "stranded is estimated" in label("idle_capacity_ratio", sums, known)
    unlimited = index(assets, HARDWARE)
    sums = total(roll_up(interval(nodes), unlimited))
    assert ratio("idle_capacity_ratio", sums, unlimited)[1] == pytest.approx(0.1)
    assert "estimated" not in label("idle_capacity_ratio", sums, unlimited)


def test_stranded_is_spread_over_the_pools_of_a_cluster_by_what_is_free() -> None:
    known = index(asset("n1", 4), asset("n2", 4, "spare"), HARDWARE, cluster(4000.0))
    spare = node(share("none", (ALL, 0, 3 * ALL, 0, 0)))
    groups = roll_up(interval({"n1": states(3 * ALL, 0, ALL), "n2": spare}), known)
    stranded = {group.pool: sums["stranded_seconds"] for group, sums in groups.items()}
    assert stranded == {"none": 0.0, "chat": 5.0, "spare": 15.0}


def test_unhealthy_devices_leave_room_and_nothing_free_strands_what_is_available() -> None:
    known = index(asset("n1", 4), HARDWARE, cluster(3000.0))
    down = total(roll_up(interval({"n1": states(3 * ALL, 0, 0, ALL)}), known))
    assert down["stranded_seconds"] == 0.0
    busy = total(roll_up(interval({"n1": states(4 * ALL)}), known))
    assert busy["stranded_seconds"] == LENGTH
    assert ratio("idle_capacity_ratio", busy, known)[1] == 0.0


@pytest.mark.parametrize("hardware", ["", HARDWARE.replace("peak_watts = 1000.0\n", "")])
def test_without_a_peak_of_each_model_no_limit_is_known_in_devices(hardware: str) -> None:
    known = index(asset("n1", 4), hardware, cluster(1.0))
    assert total(roll_up(interval(), known))["stranded_seconds"] == 0.0


def test_limit_of_a_cluster_is_the_least_of_its_power_path_and_cooling() -> None:
    def piece(name: str, kind: str, watts: float, more: str = "") -> str:
        return (
            f'[[power]]\nname = "{name}"\nkind = "{kind}"\nunit_watts = {watts}\n'
            f'clusters = ["c1"]\n{more}'
        )

    path = (
        piece("ups", "ups", 300.0, "units = 3\nspare_units = 1\n"),
        piece("pdu-a", "pdu", 700.0, 'pair = "pdu-b"\n'),
        piece("pdu-b", "pdu", 650.0, 'pair = "pdu-a"\n'),
    )
    cooling = (
        '[[cooling]]\nname = "cdu"\nkind = "cdu"\nunit_heat_watts = 550.0\nclusters = ["c1"]\n'
    )
    for parts, watts in (((), None), (path[:1], 600.0), (path[1:], 650.0), ((*path, cooling), 550)):
        assert powerable_watts(index(*parts).dated, START).get("c1") == watts
    by_hand = index(*path, cooling, cluster(9.0))
    assert powerable_watts(by_hand.dated, START) == {"c1": 9.0}


def test_eighty_failed_devices_of_8000_are_eight_percent_of_the_nodes() -> None:
    nodes = {f"n{n}": states(8 * ALL) for n in range(1000)}
    nodes |= {f"n{n}": states(7 * ALL, 0, 0, ALL) for n in range(80)}
    assets = "".join(asset(name, 8) for name in nodes)
    for unit, units, delivered in (("node", 1000, 0.92), ("device", 8000, 0.99)):
        known = index(assets, sold(units, unit))
        groups = roll_up(interval(nodes), known)
        sums = groups[GroupKey("site", tenant="acme")]
        assert sums["sold_contracted_seconds"] == 8000 * LENGTH
        assert ratio("delivered_ratio", sums, known) == pytest.approx((delivered,) * 3)


def test_unknown_units_bound_what_was_delivered() -> None:
    known = index(asset("n1", 2), asset("n2", 2), asset("n3", 2), sold(3, "node"))
    rows = interval({"n1": states(2 * ALL), "n2": states(ALL, 0, 0, ALL)})
    found = total(roll_up(rows, known))
    assert ratio("delivered_ratio", found, known) == pytest.approx((1 / 3, 1 / 2, 2 / 3))
    names = ("contracted", "delivered", "undetermined")
    assert [found[f"sold_{name}_seconds"] for name in names] == [30.0, 10.0, 10.0]


def test_no_more_is_delivered_than_contracted_and_contracts_for_the_same_share_it() -> None:
    known = index(asset("n1", 4), sold(3))
    assert total(roll_up(interval({"n1": states(4 * ALL)}), known))["sold_delivered_seconds"] == 15
    twice = index(asset("n1", 4), sold(3), sold(3, name="more"))
    found = total(roll_up(interval({"n1": states(4 * ALL)}), twice))
    assert (found["sold_contracted_seconds"], found["sold_delivered_seconds"]) == (30.0, 20.0)


def test_contract_for_what_is_not_there_is_not_delivered() -> None:
    known = index(asset("n1", 4), sold(2, "node", pools="spare"))
    found = total(roll_up(interval(), known))
    assert ratio("delivered_ratio", found, known) == (0.0, 0.0, 0.0)


def test_nodes_of_a_rack_are_down_together_between_the_longest_and_the_sum() -> None:
    racked = "".join(asset(n, 1) + 'rack = "r1"\n' for n in ("n1", "n2"))
    rack = '[[power]]\nname = "r1"\nkind = "rack"\nunit_watts = 1.0\n'
    known = index(racked, asset("n3", 2), rack, sold(2, "rack"))
    rows = {"n1": states(3000, 0, 0, 2000), "n2": states(4000, 0, 0, 1000), "n3": states(2 * ALL)}
    found = total(roll_up(interval(rows), known))
    names = ("contracted", "delivered", "undetermined")
    assert [found[f"sold_{name}_seconds"] for name in names] == [20.0, 14.0, 2.0]


def test_availability_and_allocation_are_of_what_is_known() -> None:
    known = index(asset("n1", 10))
    sums = total(roll_up(interval({"n1": states(5 * ALL, ALL, ALL, ALL, 2 * ALL)}), known))
    assert ratio("availability", sums, known) == pytest.approx((0.7, 7 / 8, 0.9))
    assert ratio("allocation_ratio", sums, known) == pytest.approx((6 / 9, 6 / 7, 8 / 9))


def test_reserve_stands_at_its_pool() -> None:
    reserve = '[[pool]]\nname = "standby"\ncluster = "c1"\nreserve_devices = 3\n'
    groups = roll_up(interval(), index(reserve))
    assert groups[GroupKey("site", "c1", "standby")]["reserve_seconds"] == 3 * LENGTH


def test_node_without_a_row_is_down_for_an_unclear_time() -> None:
    assert node_down(None, ALL) == Down(0, ALL)
    assert node_down(states(ALL, 0, 0, 2 * ALL, ALL), ALL) == Down(ALL, 0)


@st.composite
def device_states(draw: st.DrawFn) -> NodeRow:
    """Draw a row of two devices, each in one state for the whole interval."""
    times = [0, 0, 0, 0, 0]
    for _ in range(2):
        times[draw(st.integers(0, 4))] += ALL
    return states(*times)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | device_states(), min_size=1, max_size=6))
def test_quarter_delivers_what_its_intervals_did(rows: list[NodeRow | None]) -> None:
    known = index(asset("n1", 2), sold(1, "node"))
    live = [total(roll_up(interval({} if row is None else {"n1": row}), known)) for row in rows]
    quarter = NodeQuarter(START, LENGTH * len(rows))
    for number, row in enumerate(rows):
        if row is not None:
            quarter.add(START + number * LENGTH, {"n1": row})
    whole = quarter.row([], {})
    kept = interval({} if whole is None else {"n1": whole})
    sums = total(roll_up(kept._replace(length_seconds=LENGTH * len(rows)), known))
    for name in ("contracted", "delivered", "undetermined"):
        field = f"sold_{name}_seconds"
        assert sums[field] == pytest.approx(sum(each[field] for each in live))


BOUGHT = (
    '[[contract]]\nname = "rent"\nside = "bought"\ncounterparty = "N"\npools = ["chat", "spare"]\n'
    "units = 20\nrate = 1\nvalid_from = 2026-01-01\n"
)


def test_idle_capacity_is_split_by_contract_and_held_against_what_is_bought() -> None:
    known = index(asset("n1", 4), asset("n2", 4, "spare"), HARDWARE, sold(4), BOUGHT)
    spare = node(share("none", (0, 0, 3 * ALL, 0, ALL)))
    nodes = {"n1": states(2 * ALL, ALL, ALL), "n2": spare}
    groups = roll_up(interval(nodes), known)
    sums = total(groups)
    assert (sums["sold_idle_seconds"], sums["sold_unknown_seconds"]) == (2 * LENGTH, 0)
    assert ratio("idle_capacity_ratio", sums, known) == pytest.approx((5 / 8, 5 / 7, 6 / 8))
    assert ratio("sold_idle_ratio", sums, known) == pytest.approx((2 / 8, 2 / 7, 2 / 8))
    assert ratio("unsold_idle_ratio", sums, known) == pytest.approx((3 / 8, 3 / 7, 4 / 8))
    assert ratio("contracted_idle_ratio", sums, known) == pytest.approx((5 / 20, 5 / 20, 6 / 20))
    chat = next(s for group, s in groups.items() if group.pool == "chat")
    assert ratio("unsold_idle_ratio", chat, known)[1] == 0.0
    unsold = index(asset("n1", 4), asset("n2", 4, "spare"), HARDWARE)
    sums = total(roll_up(interval(nodes), unsold))
    assert sums["sold_idle_seconds"] == 0
    assert ratio("sold_idle_ratio", sums, unsold)[1] is None


def test_what_is_held_idle_and_sold_stays_so_where_more_is_stranded_than_is_free() -> None:
    known = index(asset("n1", 10), HARDWARE, cluster(6000.0), sold(10))
    # Room for 6 of 10, of which 7 are at work, 2 held and 1 is free.
    sums = total(roll_up(interval({"n1": states(7 * ALL, 2 * ALL, ALL)}), known))
    assert sums["stranded_seconds"] == pytest.approx(4 * LENGTH)
    assert sums["sold_idle_seconds"] == pytest.approx(2 * LENGTH)
    assert ratio("sold_idle_ratio", sums, known)[1] == pytest.approx(2 / 9)
    assert ratio("unsold_idle_ratio", sums, known)[1] == pytest.approx(0.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=7, max_size=7))
def test_the_parts_of_idle_capacity_add_up_to_it(amounts: list[float]) -> None:
    active, held, free, stranded, unknown, mine, theirs = amounts
    known = index(asset("n1", 4), HARDWARE, sold(4), BOUGHT)
    sums = total(roll_up(interval({"n1": states(4 * ALL)}), known)) | {
        "active_seconds": active,
        "held_idle_seconds": held,
        "free_seconds": free,
        "stranded_seconds": stranded,
        "unknown_seconds": unknown,
        "installed_seconds": active + held + free + unknown,
        "sold_idle_seconds": mine - theirs,
        "sold_unknown_seconds": mine,
    }
    whole, one, other = (
        ratio(name, sums, known)
        for name in ("idle_capacity_ratio", "sold_idle_ratio", "unsold_idle_ratio")
    )
    if whole[1] is None or one[1] is None or other[1] is None:
        assert active + held + max(0.0, free - stranded) == 0
    else:
        assert one[1] + other[1] == pytest.approx(whole[1], abs=1e-12)
        for low, value, high in (one, other):
            assert low is not None
            assert value is not None
            assert high is not None
            assert 0 <= low <= value + 1e-12
            assert low <= high <= 1 + 1e-12
