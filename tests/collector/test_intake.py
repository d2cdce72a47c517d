"""The intake: what is refused, why, and whether for good; and that nothing ever comes through."""

import logging
import time
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.intake import Grid
from meterhouse_collector.ledger import Entry
from meterhouse_collector.receipts import Address
from meterhouse_collector.rows import PackedRow
from tests.collector.collecting import (
    INVENTORY,
    LENGTH,
    Bench,
    now_on_grid,
    report,
    say,
    status,
    topic,
)

DAY = 86_400
OTHER = wire.Inventory(devices=[*INVENTORY.devices[:1]])
Spoil = Callable[[wire.Report], None]


def bench() -> Bench:
    made = Bench()
    made.hear(status("node-1"), status("node-2"))
    return made


def test_a_report_is_taken_and_counted() -> None:
    it = bench()
    it.hear(report())
    assert [entry.node for entry in it.entries] == ["node-1"]
    assert it.count("reports") == 1
    late = "meterhouse_collector_lateness_seconds_count"
    assert it.telemetry.registry.get_sample_value(late) == 1
    assert it.intake.agents["node-1"].report_seconds > 0
    assert say(it.receipts) == {}


def test_a_report_on_which_this_program_fails_is_kept_by_its_agent() -> None:
    it = bench()

    def fail(*_: object) -> None:
        raise RuntimeError("no way to look at it")

    it.intake.seen = fail
    made = report()
    it.hear(made)
    it.intake.seen = lambda _, __: None
    it.hear(report("node-2"))
    said = say(it.receipts)["node-1"].refused
    assert [(r.start_seconds, r.reason, r.final) for r in said] == [
        (made.start_seconds, "bug", False)
    ]
    assert it.bugs == 1
    assert [entry.node for entry in it.entries][-1] == "node-2"


def test_reports_set_aside_are_counted_by_agent_and_reason() -> None:
    it = bench()
    for _ in range(2):
        it.hear(report(length_seconds=LENGTH + 1))
    it.hear(report("node-2"))
    it.receipts.refused(Address("site-a", "node-2"), 0, "rejected_by_store", final=True)
    it.receipts.refused(Address("site-a", "node-2"), 5, "future", final=False)
    agents = it.intake.agents
    assert dict(agents["node-1"].set_aside) == {"off_grid": 2}
    assert dict(agents["node-2"].set_aside) == {"rejected_by_store": 1}


def spoiled(**changes: object) -> wire.Report:
    return report(**changes)  # type: ignore[arg-type] # fields of a report by name


def columns(**changes: object) -> wire.Accelerators:
    made = report().accelerators
    assert made is not None
    return msgspec.structs.replace(made, **changes)


REFUSED: list[tuple[str, str, bool, Callable[[], wire.Report]]] = [
    ("foreign", "foreign meter", True, lambda: spoiled(node="node-2", meters=[_meter("utility")])),
    ("foreign", "foreign node span", True, lambda: spoiled(spans=[_span("node", "node-2")])),
    ("foreign", "foreign engine", True, lambda: spoiled(node="node-2", engines=[_engine("chat")])),
    ("schema", "newer schema", False, lambda: spoiled(schema=wire.SCHEMA + 1)),
    ("malformed", "older schema", True, lambda: spoiled(schema=0)),
    ("future", "future", False, lambda: spoiled(start=now_on_grid() + 3600)),
    ("too_old", "too old", True, lambda: spoiled(start=now_on_grid() - 36 * DAY)),
    ("off_grid", "off grid", True, lambda: spoiled(start=now_on_grid() - 1)),
    ("off_grid", "other length", True, lambda: spoiled(length_seconds=10)),
    (
        "malformed",
        "more time than there is",
        True,
        lambda: spoiled(accelerators=columns(state_milliseconds={"active": [9000, 1]})),
    ),
    (
        "malformed",
        "short state column",
        True,
        lambda: spoiled(accelerators=columns(state_milliseconds={"active": [1]})),
    ),
    (
        "malformed",
        "long gauge column",
        True,
        lambda: spoiled(accelerators=columns(power_watts=[1.0, 2.0, 3.0])),
    ),
    (
        "malformed",
        "short gauge column",
        True,
        lambda: spoiled(accelerators=columns(utilization_ratio=[0.5])),
    ),
    ("malformed", "meter twice", True, lambda: spoiled(meters=[_meter("m"), _meter("m")])),
    ("malformed", "meter's line break", True, lambda: spoiled(meters=[_meter("m\n")])),
    (
        "malformed",
        "span that ends before it begins",
        True,
        lambda: spoiled(spans=[_span("meter", "m", begins=10_000, ends=9_000)]),
    ),
    ("malformed", "sensor twice", True, lambda: spoiled(sensors=[_sensor("s"), _sensor("s")])),
    ("malformed", "sensor's line break", True, lambda: spoiled(sensors=[_sensor("s\n")])),
    (
        "malformed",
        "sensor that covers more than the interval",
        True,
        lambda: spoiled(sensors=[_sensor(covered=5001)]),
    ),
    (
        "malformed",
        "contact for longer than it was read",
        True,
        lambda: spoiled(sensors=[_sensor(covered=3000, contact_milliseconds=3001)]),
    ),
    (
        "malformed",
        "mean above its maximum",
        True,
        lambda: spoiled(sensors=[_sensor(temperature_celsius=30.1, temperature_celsius_max=30.0)]),
    ),
    (
        "implausible",
        "temperature of the sun",
        True,
        lambda: spoiled(sensors=[_sensor(temperature_celsius=5500.0)]),
    ),
    (
        "implausible",
        "temperature below all cold",
        True,
        lambda: spoiled(sensors=[_sensor(temperature_celsius_max=-273.15)]),
    ),
    (
        "unknown_inventory",
        "unknown inventory",
        False,
        lambda: spoiled(inventory=OTHER),
    ),
]


def _meter(name: str) -> wire.Meter:
    return wire.Meter(meter=name, covered_milliseconds=5000, energy_joules=1.0)


def _sensor(name: str = "leak", covered: int = 5000, **fields: float) -> wire.Sensor:
    made = {"sensor": name, "covered_milliseconds": covered, **fields}
    return wire.Sensor(**made)  # type: ignore[arg-type] # fields of a sensor by name


def _engine(name: str) -> wire.Engine:
    return wire.Engine(engine=name, served_model="llama", covered_milliseconds=5000)


def _span(kind: wire.ThingKind, thing: str, begins: int = 0, ends: int = 1) -> wire.Span:
    return wire.Span(
        kind=kind,
        thing=thing,
        quantity="energy_joules",
        from_milliseconds=begins,
        to_milliseconds=ends,
        amount=1.0,
        method="interpolated",
        reason="restart",
    )


@pytest.mark.parametrize(
    ("reason", "final", "make"),
    [(reason, final, make) for reason, _, final, make in REFUSED],
    ids=[name for _, name, _, _ in REFUSED],
)
def test_a_refusal_is_counted_and_said_and_touches_nobody_else(
    reason: str,
    final: bool,  # noqa: FBT001 - a column of the table above
    make: Callable[[], wire.Report],
) -> None:
    it = bench()
    bad = make()
    it.hear(bad)
    assert it.entries == []
    assert it.refused(reason, final=final) == 1
    receipt = say(it.receipts)[bad.node]
    expected = wire.Refusal(start_seconds=bad.start_seconds, reason=reason, final=final)
    assert receipt.refused == [expected]
    it.hear(report("node-1"), report("node-2"))
    assert [entry.node for entry in it.entries] == ["node-1", "node-2"]
    assert it.bugs == 0


def test_a_report_on_another_node_s_topic_is_refused_to_whom_the_topic_is() -> None:
    it = bench()
    it.intake.message(topic("report", "node-2"), wire.encode(report("node-1")))
    assert (it.entries, it.refused("foreign")) == ([], 1)
    assert list(say(it.receipts)) == ["node-2"]


def test_another_site_s_reports_and_status_are_counted_and_not_answered() -> None:
    it = bench()
    it.hear(report(site="site-b"), status(site="site-b"))
    assert (it.refused("foreign"), it.refused("status_foreign")) == (1, 1)
    assert say(it.receipts) == {}


def test_an_oversized_report_is_refused_by_its_start() -> None:
    it = bench()
    payload = wire.encode(report())
    it.intake.message(topic("report"), payload[:-1] + b" " * wire.MAX_PAYLOAD_BYTES + b"}")
    assert it.refused("oversized") == 1
    assert [r.reason for r in say(it.receipts)["node-1"].refused] == ["oversized"]


def test_a_report_cut_off_is_refused_by_its_start() -> None:
    it = bench()
    payload = wire.encode(report())
    it.intake.message(topic("report"), payload[: len(payload) // 2])
    assert it.refused("malformed") == 1
    assert [r.final for r in say(it.receipts)["node-1"].refused] == [True]


@pytest.mark.parametrize("start", [b"9" * 40, b"-5", b"1e3", b'"5"', b"null"])
def test_a_start_that_is_none_is_counted_and_spoils_no_receipt(start: bytes) -> None:
    it = bench()
    good = wire.encode(report())
    bad = good.replace(b'"start_seconds":%d' % report().start_seconds, b'"start_seconds":' + start)
    assert bad != good
    it.intake.message(topic("report"), bad)
    assert it.refused("malformed") == 1
    it.receipts.stored(Address("site-a", "node-1"), now_on_grid())
    assert say(it.receipts)["node-1"].refused == []
    assert it.bugs == 0


def test_an_unknown_inventory_is_asked_for_and_the_report_then_taken() -> None:
    it = Bench()
    it.hear(report())
    receipt = say(it.receipts)["node-1"]
    assert receipt.inventory_wanted == [wire.inventory_hash(INVENTORY)]
    assert [r.final for r in receipt.refused] == [False]
    it.hear(status(), report())
    assert len(it.entries) == 1


def test_what_nodes_have_in_common_is_kept_once() -> None:
    it = bench()
    it.hear(report(), report("node-2"))
    one, other = (it.intake.agents[name] for name in ("node-1", "node-2"))
    (mine,), (theirs,) = (
        [each.inventory for each in agent.inventories.values()] for agent in (one, other)
    )
    assert mine == theirs == INVENTORY
    assert mine.meters is theirs.meters
    for device, same in zip(mine.devices, theirs.devices, strict=True):
        assert device.vendor is same.vendor
        assert device.accelerator_model is same.accelerator_model
        assert device.capabilities is same.capabilities
    first, second = it.entries
    assert first.start_seconds is second.start_seconds
    assert first.node is one.node


def test_a_report_without_accelerators_needs_no_inventory() -> None:
    it = Bench()
    it.hear(report(accelerators=None, host=wire.Host(covered_milliseconds=5000)))
    assert len(it.entries) == 1


def inventories(it: Bench) -> list[tuple[int, wire.Inventory]]:
    return [
        (row.start_seconds, msgspec.json.decode(row.row, type=wire.Inventory))
        for row in it.rows
        if isinstance(row, PackedRow) and row.measurement == "inventory"
    ]


def test_an_inventory_is_written_from_the_first_report_that_has_it() -> None:
    it, now = bench(), now_on_grid()
    it.hear(report(start=now - 10), report(start=now - 5))
    assert inventories(it) == [(now - 10, INVENTORY)]
    it.hear(status(inventory=OTHER))
    assert len(inventories(it)) == 1
    with_one = columns(
        state_milliseconds={"active": [5000]}, state_joules={"active": [1.0]}, power_watts=[1.0]
    )
    it.hear(report(start=now, inventory=OTHER, accelerators=with_one))
    assert inventories(it)[1:] == [(now, OTHER)]


def test_the_inventory_of_a_backlog_does_not_replace_the_present_one() -> None:
    it, now = bench(), now_on_grid()
    it.hear(report(start=now))
    it.hear(status(inventory=OTHER))
    with_one = columns(
        state_milliseconds={"active": [5000]}, state_joules={"active": [1.0]}, power_watts=[1.0]
    )
    for start in (now - 600, now - 595):
        it.hear(report(start=start, inventory=OTHER, accelerators=with_one))
    it.hear(report(start=now + 5))
    assert inventories(it) == [(now, INVENTORY), (now - 600, OTHER)]


def test_a_report_beyond_the_room_there_is_gets_no_receipt_and_is_counted() -> None:
    it = bench()
    it.full = True
    it.hear(report())
    assert it.count("dropped", reason="intake_full") == 1
    assert it.count("reports") == 0
    assert say(it.receipts) == {}


def test_status_of_another_node_malformed_or_with_a_wrong_hash_is_counted() -> None:
    it = Bench()
    it.intake.message(topic("status", "node-2"), wire.encode(status("node-1")))
    it.intake.message(topic("status"), b"{")
    it.hear(status(inventory_hash="0" * 16))
    assert (it.refused("status_foreign"), it.refused("status_malformed")) == (1, 2)
    it.hear(report())
    assert it.refused("unknown_inventory", final=False) == 1


def test_a_status_beyond_the_quota_of_agents_is_counted_and_those_known_go_on() -> None:
    it = Bench()
    it.hear(status("node-1"))
    known = it.intake.agents["node-1"]
    it.intake.agents |= {f"n{number}": known for number in range(200_000 - 1)}
    it.hear(status("node-2"), status("node-1"), report("node-1"))
    assert it.refused("status_quota", final=False) == 1
    assert "node-2" not in it.intake.agents
    assert len(it.entries) == 1


def test_inventories_of_one_node_are_bounded_and_the_one_in_use_stays() -> None:
    it = Bench()
    for number in range(40):
        device = wire.Device(device=f"gpu-{number}", vendor="v", accelerator_model="m")
        it.hear(status(), status(inventory=wire.Inventory(devices=[device])))
    assert len(it.intake.agents["node-1"].inventories) == 8
    it.hear(report())
    assert len(it.entries) == 1


def test_refusals_are_logged_once_and_so_is_their_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    it = bench()
    for _ in range(20):
        it.hear(spoiled(start=now_on_grid() - 1))
    it.hear(report(), report())
    assert it.refused("off_grid") == 20
    lines = [record.getMessage() for record in caplog.records]
    assert [line for line in lines if "off_grid" in line][1:] == []
    assert [line for line in lines if "taken again" in line] == [
        "node-1: reports are taken again",
    ]


def test_detail_is_written_once_a_minute_and_while_it_is_kept() -> None:
    it = bench()
    first = int(time.time()) // LENGTH * LENGTH - 120
    for start in range(first, first + 120, LENGTH):
        it.hear(report(start=start))
    due = [entry.start_seconds for entry in it.entries if _has_detail(entry)]
    assert len(due) == 2
    assert due[1] - due[0] == 60
    it.hear(report(start=due[0] - 20 * DAY))
    assert not _has_detail(it.entries[-1])


def _has_detail(entry: Entry) -> bool:
    return any(row.policy == "detail" for row in entry.rows)


@given(st.integers(0, 10**9))
def test_in_each_interval_a_like_part_of_the_nodes_has_its_turn(number: int) -> None:
    grid, start = Grid(5, 60), number * 5
    nodes = [f"node-{n}" for n in range(1200)]
    turns = [[grid.is_turn_of(node, start + 5 * n) for n in range(12)] for node in nodes]
    assert {sum(of_node) for of_node in turns} == {1}
    assert all(80 <= sum(together) <= 120 for together in zip(*turns, strict=True))
    assert Grid(5, 5).is_turn_of(nodes[0], start)


TOPICS = st.one_of(
    st.text(max_size=80),
    st.sampled_from(
        [topic("report"), topic("status"), topic("receipt"), topic("report", "node-3")]
    ),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(TOPICS, st.binary(max_size=300))
@settings(deadline=None)
def test_no_bytes_on_any_topic_raise(where: str, payload: bytes) -> None:
    it = bench()
    it.intake.message(where, payload)
    assert (it.entries, it.bugs) == ([], 0)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_no_change_of_a_good_message_raises(data: st.DataObject) -> None:
    it = bench()
    kind = data.draw(st.sampled_from(["report", "status"]))
    good = report(meters=[_meter("utility")], engines=[_engine("chat")])
    message = wire.encode(good if kind == "report" else status())
    tree = msgspec.json.decode(message)
    branch = tree
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [value for value in branch.values() if isinstance(value, dict) and value]
        if inner:
            branch = data.draw(st.sampled_from(inner))
    branch[data.draw(st.sampled_from(sorted(branch)))] = data.draw(JSON)
    it.intake.message(topic(kind), msgspec.json.encode(tree))
    say(it.receipts)
    assert it.bugs == 0


@given(st.data())
@settings(deadline=None)
def test_no_flipped_byte_raises(data: st.DataObject) -> None:
    it = bench()
    payload = bytearray(wire.encode(report(spans=[_span("node", "node-1")])))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    it.intake.message(topic("report"), bytes(payload))
    say(it.receipts)
    assert it.bugs == 0
