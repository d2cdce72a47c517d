"""Why devices are unhealthy: what agents tell, and what an operator says of nodes that are down."""

from datetime import UTC, datetime
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.rollup.cells import NO_REASONS, Cell, Five
from meterhouse_collector.rollup.contributions import contributions
from meterhouse_collector.rollup.downtime import put_down
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.promised import Down, said_to_be_down
from meterhouse_collector.rollup.quarter import sum_node_quarter
from meterhouse_collector.rollup.rates import NO_RATES
from meterhouse_collector.rollup.roll_up import NOTHING_EXPECTED, add_sums, roll_up
from meterhouse_collector.rows import NodeRow, ReasonMilliseconds
from meterhouse_collector.shares import node_row
from meterhouse_collector.site.downtime import SaidDown
from meterhouse_collector.site.index import SiteIndex
from tests.collector.rollups import (
    HARDWARE,
    LENGTH,
    MILLISECONDS,
    START,
    asset,
    engine,
    index,
    interval,
    node,
    share,
    total,
)
from tests.collector.sites import faults

QUARTER = START // 900 * 900
STATES = wire.STATES
REASONS = wire.UNHEALTHY_REASONS


def down(
    *nodes: str,
    reason: str = "lost",
    begins: float = START,
    ends: float | None = None,
    devices: int | None = None,
) -> str:
    until = "" if ends is None else f"ends = {datetime.fromtimestamp(ends, UTC).isoformat()}\n"
    return (
        f'[[downtime]]\nnodes = {list(nodes)}\nreason = "{reason}"\nsaid_by = "ticket 7"\n'
        f"begins = {datetime.fromtimestamp(begins, UTC).isoformat()}\n{until}"
        + ("" if devices is None else f"devices = {devices}\n")
    )


def known(*parts: str, devices: int = 8) -> SiteIndex:
    return index(asset("n1", devices), HARDWARE, *parts)


def by_reason(sums: Sums) -> dict[str, float]:
    return {r: found for r in REASONS if (found := sums[f"unhealthy_{r}_seconds"])}


def states(sums: Sums) -> tuple[float, ...]:
    return tuple(sums[f"{state}_seconds"] for state in STATES)


def test_what_an_agent_tells_stands_in_the_row_by_reason_and_holder() -> None:
    site = index(asset("n1", 4), engine("e", 'served_model = "m"', "n1/d0"))
    inventory = wire.Inventory(
        devices=[wire.Device(device=f"d{n}", vendor="v", accelerator_model="M") for n in range(4)]
    )
    report = wire.Report(
        schema=1,
        site="site",
        node="n1",
        start_seconds=START,
        length_seconds=LENGTH,
        inventory_hash="h",
        accelerators=wire.Accelerators(
            state_milliseconds={
                "unhealthy": [5000, 3000, 2000, 1000],
                "active": [0, 2000, 3000, 4000],
            },
            # What is no word of the contract has no reason, and neither has the last.
            unhealthy_reasons={0: "lost: GPU is lost", 1: "failed", 2: "because"},
        ),
    )
    shares = {each.holder: each for each in node_row(report, inventory, site).shares}
    assert shares["engine:e"].unhealthy_milliseconds == (0, 5000, 0, 0)
    assert shares["tenant:acme"].unhealthy_milliseconds == (3000, 0, 0, 0)
    sums = total(roll_up(interval({"n1": node_row(report, inventory, site)}), site))
    assert sums["unhealthy_seconds"] == 11.0
    assert by_reason(sums) == {"lost": 5.0, "failed": 3.0}


def test_a_quarter_sums_reasons_as_it_sums_states() -> None:
    reasons: tuple[ReasonMilliseconds | None, ...] = ((5000, 0, 0, 0), None, (0, 2000, 0, 3000))
    rows = {
        QUARTER + 5 * at: {"n1": node(share("tenant:acme", (0, 0, 0, 5000, 0), reasons=told))}
        for at, told in enumerate(reasons)
    }
    found = sum_node_quarter(rows, (), QUARTER, devices={})
    assert found is not None
    (only,) = found.shares
    assert only.milliseconds[3] == 15_000
    assert only.unhealthy_milliseconds == (5000, 2000, 0, 3000)


def test_a_silent_node_is_unknown_until_somebody_says_that_it_is_down() -> None:
    assert states(total(roll_up(interval(), known()))) == (0, 0, 0, 0, 40)
    later = total(roll_up(interval(), known(down("n1", begins=START + LENGTH))))
    assert states(later) == (0, 0, 0, 0, 40)
    sums = total(roll_up(interval(), known(down("n1"))))
    assert states(sums) == (0, 0, 0, 40, 0)
    assert by_reason(sums) == {"lost": 40.0}
    # What it costs goes with its time.
    assert sums["unknown_capital_money"] == 0 < sums["unhealthy_capital_money"]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("planned", (10, 0, 0, 30, 0)),
        ("quarantined", (10, 0, 0, 30, 0)),
        ("failed", (0, 0, 0, 40, 0)),
        ("lost", (0, 0, 0, 40, 0)),
    ],
)
def test_what_is_drained_is_active_until_it_is_done(
    reason: str, expected: tuple[float, ...]
) -> None:
    row = node(share("tenant:acme", (10_000, 5000, 5000, 0, 20_000)))
    sums = total(roll_up(interval({"n1": row}), known(down("n1", reason=reason))))
    assert states(sums) == expected
    assert by_reason(sums) == {reason: expected[3]}


def test_of_a_node_that_is_partly_down_it_is_the_unknown_first() -> None:
    row = node(share("tenant:acme", (20_000, 5000, 5000, 5000, 5000), reasons=(5000, 0, 0, 0)))
    site = known(down("n1", devices=3))
    sums = total(roll_up(interval({"n1": row}), site))
    # 15 device-seconds: 5 that the driver shows as failed, 5 unknown, 5 free.
    assert states(sums) == (20, 5, 0, 15, 0)
    assert by_reason(sums) == {"failed": 5.0, "lost": 10.0}


def test_energy_goes_where_its_time_goes() -> None:
    row = node(share("tenant:acme", (20_000, 0, 20_000, 0, 0), (700.0, None, 80.0, None, None)))
    sums = total(roll_up(interval({"n1": row}), known(down("n1", reason="planned", devices=2))))
    assert states(sums) == (20, 0, 10, 10, 0)
    assert (sums["free_joules"], sums["unhealthy_joules"]) == (40.0, 40.0)


def test_two_words_in_one_quarter_each_have_their_time() -> None:
    silent = interval()._replace(start_seconds=QUARTER, length_seconds=900)
    site = known(
        down("n1", begins=QUARTER + 300, ends=QUARTER + 600),
        down("n1", reason="planned", begins=QUARTER + 600, ends=QUARTER + 700),
    )
    sums = total(roll_up(silent, site))
    assert by_reason(sums) == pytest.approx({"lost": 8 * 300.0, "planned": 8 * 100.0})
    assert sums["unknown_seconds"] == pytest.approx(8 * 500.0)


def test_the_parts_of_things_still_add_up() -> None:
    site = known(down("n1", devices=3))
    rows = interval({"n1": node(share("tenant:acme", (20_000, 0, 10_000, 0, 10_000)))})
    whole = total(roll_up(rows, site))
    parts = contributions(rows, site, NOTHING_EXPECTED, NO_RATES).things.values()
    assert add_sums(s for groups in parts for s in groups.values()) == pytest.approx(whole)


SECONDS = st.tuples(*[st.floats(0, 1e4)] * 5)
CELLS = st.lists(
    st.builds(Cell, st.just(()), SECONDS, SECONDS, st.none(), st.booleans()), min_size=1, max_size=4
)
SAID = st.lists(
    st.builds(
        SaidDown,
        st.sampled_from(REASONS),
        st.floats(0, 5000, exclude_min=True),
        st.none() | st.integers(1, 8),
    ),
    max_size=3,
)


@given(CELLS, SAID)
def test_time_and_energy_only_move_to_unhealthy(cells: list[Cell], said: list[SaidDown]) -> None:
    found = put_down(cells, said, MILLISECONDS)
    for before, after in zip(cells, found, strict=True):
        for one, other in ((before.seconds, after.seconds), (before.joules, after.joules)):
            assert fsum(other) == pytest.approx(fsum(one))
            assert other[3] >= one[3]
            assert all(other[state] <= one[state] for state in (0, 1, 2, 4))
        moved = after.seconds[3] - before.seconds[3]
        assert fsum(after.reasons or NO_REASONS) == pytest.approx(moved, abs=1e-6)


def test_a_unit_of_a_contract_is_down_as_long_as_somebody_says_so() -> None:
    for found, said, expected in (
        (Down(0, 5000), SaidDown("lost", 5000, None), Down(5000, 0)),
        (Down(0, 5000), SaidDown("lost", 2000, 1), Down(2000, 3000)),
        (Down(4000, 0), SaidDown("lost", 1000, 1), Down(4000, 0)),
        # 3,000 of its device time did not compute.
        (Down(0, 0), SaidDown("lost", 5000, None), Down(5000, 0)),
        (Down(0, 0), SaidDown("planned", 5000, None), Down(3000, 0)),
    ):
        assert said_to_be_down(found, [said], 5000, 3000) == expected
    sold = (
        '[[contract]]\nname = "sale"\nside = "sold"\ncounterparty = "A"\ntenant = "acme"\n'
        'pools = ["chat"]\nunit = "node"\nunits = 1\nrate = 1\nvalid_from = 2026-01-01\n'
    )
    silent = total(roll_up(interval(), known(sold)))
    assert (silent["sold_delivered_seconds"], silent["sold_undetermined_seconds"]) == (0, 40)
    lost = total(roll_up(interval(), known(sold, down("n1"))))
    assert (lost["sold_delivered_seconds"], lost["sold_undetermined_seconds"]) == (0, 0)
    busy: NodeRow = node(share("tenant:acme", (40_000, 0, 0, 0, 0)))
    up = total(roll_up(interval({"n1": busy}), known(sold)))
    assert up["sold_delivered_seconds"] == 40
    one = total(roll_up(interval({"n1": busy}), known(sold, down("n1", devices=1))))
    assert one["sold_delivered_seconds"] == 0
    # What is drained is up until it is done, as its states are active.
    drained = total(roll_up(interval({"n1": busy}), known(sold, down("n1", reason="planned"))))
    assert (drained["active_seconds"], drained["sold_delivered_seconds"]) == (40, 40)


HEAD = (
    'name = "site"\ncurrency = "EUR"\ntime_zone = "UTC"\npool = [{name = "chat", cluster = "c"}]\n'
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            down("n2"),
            "downtime.0.nodes: found 'n2', allowed: a node of the asset register",
        ),
        (
            down("n1", ends=START + 60) + down("n1", begins=START + 30),
            "allowed: one at a time for a node",
        ),
        (down("n1", ends=START - 60), "downtime.0: found"),
        (down("n1", "n1"), "downtime.0: found"),
        (down("n1", reason="tired"), "downtime.0.reason: found 'tired'"),
        (down("n1", devices=0), "downtime.0.devices: found 0"),
        (down("n1").replace("+00:00", ""), "downtime.0.begins: found"),
        (down("n1").replace('said_by = "ticket 7"\n', ""), "downtime.0.said_by: "),
    ],
)
def test_what_contradicts_itself_is_a_fault(text: str, expected: str) -> None:
    (fault,) = faults(HEAD + asset("n1", 8) + text)
    assert expected in fault


def test_one_word_may_follow_another() -> None:
    assert known(down("n1", ends=START + 60) + down("n1", begins=START + 60)).said_down(
        START + 30, 60
    ) == {"n1": (SaidDown("lost", 30_000.0, None, "ticket 7"),) * 2}


FIVE: Five = (1.0, 0.0, 0.0, 0.0, 0.0)


def test_nothing_said_changes_nothing() -> None:
    cells = [Cell((), FIVE, FIVE, None, unmetered=False)]
    assert put_down(cells, (), MILLISECONDS) == cells
