"""Fault codes (XID): from a report to events and to who is woken, once however often they come."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_agent.wire import slot_of
from meterhouse_collector.alerts.known import Fault
from meterhouse_collector.alerts.xids import FATAL, WINDOW_SECONDS, XidWatch
from meterhouse_collector.gathered import Gathered, packed, told_of, unpacked
from meterhouse_collector.ledger import Entry, entry_of, installed
from meterhouse_collector.rows import Point
from meterhouse_collector.shares import ReportError
from meterhouse_collector.xids import ToldXid, told, told_in, xid_points
from tests.collector.collecting import INVENTORY, LENGTH, MemoryStore, index, report
from tests.collector.test_alert_engine import START, Site
from tests.collector.test_feed import START as SPLIT_START
from tests.collector.test_feed import Split

KNOWN = index()
HAS = installed("site-a", "node-1", INVENTORY)
UNKNOWN = 999
APPLICATION = (13, 31, 43, 45)


def columns(xids: dict[int, list[int]]) -> wire.Accelerators:
    return wire.Accelerators(state_milliseconds={"active": [5000, 5000]}, xids=xids)


def faulty(xids: dict[int, list[int]], start: int = START, node: str = "node-1") -> Entry:
    made = report(node, start, accelerators=columns(xids))
    decoded = wire.decode_report(wire.encode(made))
    return entry_of(decoded, installed("site-a", node, INVENTORY), KNOWN, detail=False)


def points(entry: Entry) -> list[Point]:
    return [row for row in entry.rows if isinstance(row, Point)]


def test_each_code_of_a_device_is_one_event_of_its_interval() -> None:
    found = points(faulty({0: [31, 79, 79], 1: [UNKNOWN]}))
    assert [(dict(p.tags)["device"], dict(p.tags)["xid"], p.fields) for p in found] == [
        ("gpu-0", "31", {"code": 31.0, "count": 1.0}),
        ("gpu-0", "79", {"code": 79.0, "count": 2.0}),
        ("gpu-1", "999", {"code": 999.0, "count": 1.0}),
    ]
    for point in found:
        assert (point.policy, point.measurement, point.start_seconds) == ("event", "event", START)
        assert {("site", "site-a"), ("node", "node-1"), ("kind", "xid")} <= set(point.tags)


async def test_a_report_that_comes_again_writes_the_same_events() -> None:
    store = MemoryStore()
    for _ in range(3):
        await store.write(faulty({0: [31, 79, 79]}).rows)
    kinds = [dict(point.tags)["xid"] for point in store.point_rows.values()]
    assert kinds == ["31", "79"]


def test_without_a_code_there_is_no_event() -> None:
    assert points(faulty({})) == []
    assert points(faulty({0: []})) == []


@pytest.mark.parametrize("column", [2, -1, 10**6])
def test_a_code_of_a_device_that_is_not_there_is_refused(column: int) -> None:
    with pytest.raises(ReportError, match=f"an XID of device {column} of 2"):
        faulty({column: [79]})


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"0":[-1]}',
        b'{"0":["79"]}',
        b'{"0":79}',
        b'{"gpu-0":[79]}',
        b"[79]",
        b'{"0":[%s]}' % b",".join([b"13"] * (wire.MAX_XIDS + 1)),
    ],
)
def test_what_are_no_codes_is_refused(wrong: bytes) -> None:
    good = wire.encode(report(accelerators=columns({0: [79]})))
    with pytest.raises(wire.WireError):
        wire.decode_report(good.replace(b'{"0":[79]}', wrong))


def test_codes_that_nobody_knows_make_no_series_of_their_own() -> None:
    found = points(faulty({0: [256, 998, 1000, 2**53]}))
    assert {dict(point.tags)["xid"] for point in found} == {"other"}


@given(
    st.dictionaries(
        st.sampled_from(["gpu-0", "gpu-1"]),
        st.lists(st.integers(0, 2**53), min_size=1, max_size=wire.MAX_XIDS).map(tuple),
    )
)
def test_events_say_what_was_told(xids: dict[str, tuple[int, ...]]) -> None:
    made = list(xid_points("site-a", "node-1", START, xids))
    assert list(told_in(made, "site-a")) == list(told("node-1", START, xids))
    assert list(told_in(made, "site-b")) == []


def test_other_events_are_no_codes() -> None:
    tags = (("kind", "xid"), ("site", "site-a"))
    assert list(told_in([Point("event", "event", tags, {"code": "x"}, START)], "site-a")) == []
    alert = (("kind", "alert"), ("site", "site-a"))
    fields: dict[str, float | int | str | bool] = {"code": 79.0, "count": 1.0}
    assert list(told_in([Point("event", "event", alert, fields, START)], "site-a")) == []


def test_codes_reach_the_steward_also_without_detail() -> None:
    made = faulty({0: [31, 79]}, SPLIT_START)
    gathered = Gathered(began_seconds=1, readers={"node-1": told_of(made)}).without_detail()
    read = unpacked(packed(gathered, "site-a", "07", "a", SPLIT_START))
    assert read is not None
    assert list(read.entries("site-a", SPLIT_START)) == [replace(made, rows=[])]
    calm = told_of(faulty({}, SPLIT_START))
    row = packed(Gathered(began_seconds=1, readers={"n": calm}), "site-a", "07", "a", SPLIT_START)
    assert "xids" not in row.row


async def test_an_intake_that_was_killed_before_it_told_takes_the_codes_up() -> None:
    it = Split(a="00-63")
    heard: list[Entry] = []
    it.feed._news = it.feed._news._replace(entry=heard.append)
    made = faulty({0: [79, 79], 1: [48]}, SPLIT_START)
    await it.store.write(made.rows)
    await it.begin("a", slot_of("node-1")).read_back(it.store)
    await it.pass_seconds(20)
    assert [entry.xids for entry in heard] == [{"gpu-0": (79, 79), "gpu-1": (48,)}]


def test_a_code_stands_for_a_quarter_hour_after_the_last() -> None:
    watch = XidWatch()
    watch.add([ToldXid("node-1", "gpu-0", 79, 1, START), ToldXid("node-1", "gpu-1", 48, 2, START)])
    watch.add([ToldXid("node-1", "gpu-0", 79, 2, START + 600)])
    # The same again, as after a restart.
    watch.add([ToldXid("node-1", "gpu-0", 79, 2, START + 600)])
    both = (Fault("node-1", "gpu-0", 79, 3.0), Fault("node-1", "gpu-1", 48, 2.0))
    assert watch.faults(START + WINDOW_SECONDS - 1) == both
    last = (Fault("node-1", "gpu-0", 79, 2.0), Fault("node-1", "gpu-1", 48, 0.0))
    assert watch.faults(START + WINDOW_SECONDS) == last
    assert watch.faults(START + WINDOW_SECONDS + 1) == last[:1]
    assert watch.faults(START + 600 + WINDOW_SECONDS) == (Fault("node-1", "gpu-0", 79, 0.0),)
    assert watch.faults(START + 600 + WINDOW_SECONDS) == ()


def test_only_codes_that_call_for_hands_are_watched() -> None:
    watch = XidWatch()
    watch.add(ToldXid("node-1", "gpu-0", xid, 1, START) for xid in range(UNKNOWN + 1))
    assert {fault.xid for fault in watch.faults(START)} == FATAL.keys()
    assert not FATAL.keys() & {*APPLICATION, UNKNOWN}


def test_the_runbook_has_the_codes_that_wake_somebody_and_says_once_what_to_do_about_each() -> None:
    page = (Path(__file__).parents[2] / "docs/runbooks/alerts/accelerator_xid.md").read_text()
    table = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    listed = [int(code) for row in table for code in row.split(", ")]
    assert sorted(listed) == sorted(FATAL)
    _, told_what = page.split("## What to do")
    firsts = re.findall(r"(?:device for|node for|For) ([\d, and]+)", told_what)
    done = [int(code) for first in firsts for code in re.findall(r"\d+", first)]
    assert sorted(done) == sorted(FATAL)


def firing(site: Site) -> list[dict[str, str]]:
    return [
        dict(key.labels)
        for key, entry in site.alerts.book.open.items()
        if entry.rule.kind == "accelerator_xid" and entry.state.phase == "firing"
    ]


async def told_to(site: Site, xids: dict[int, list[int]]) -> None:
    made = faulty(xids, int(site.now) // LENGTH * LENGTH)
    site.alerts.add(made)
    site.rows += made.rows
    await site.write()


async def test_a_fatal_code_wakes_somebody_and_is_over_a_quarter_hour_later() -> None:
    site = Site(MemoryStore(), START, KNOWN)
    await site.begin()
    await site.run(60, "active")
    await told_to(site, {0: [*APPLICATION, UNKNOWN]})
    await site.run(60, "active")
    assert firing(site) == []
    await told_to(site, {1: [79]})
    await site.run(60, "active")
    mine = {"site": "site-a", "node": "node-1", "device": "gpu-1", "xid": "79"}
    assert firing(site) == [mine]
    await site.run(600, "active")
    await told_to(site, {1: [79]})
    await site.run(600, "active")
    assert firing(site) == [mine]
    await site.run(360, "active")
    assert firing(site) == []


async def restarted(after_seconds: float) -> Site:
    """Return a site that fired, was stopped, and began again."""
    first = Site(MemoryStore(), START, KNOWN)
    await first.begin()
    await first.run(60, "active")
    await told_to(first, {1: [79]})
    await first.run(60, "active")
    assert len(firing(first)) == 1
    again = Site(first.store, first.now + after_seconds, KNOWN)
    await again.begin()
    assert len(firing(again)) == 1
    return again


async def test_a_restart_neither_ends_nor_keeps_it() -> None:
    site = await restarted(30)
    await site.run(300, "active")
    assert len(firing(site)) == 1
    await site.run(600, "active")
    assert firing(site) == []


async def test_what_a_long_stop_outlasted_is_over() -> None:
    site = await restarted(1200)
    await site.run(60, "active")
    assert firing(site) == []


async def test_of_a_steward_the_feed_brings_the_codes() -> None:
    it = Split(a="00-63")
    watch = XidWatch()
    it.feed._news = it.feed._news._replace(
        entry=lambda entry: watch.add(told(entry.node, entry.start_seconds, entry.xids))
    )
    for _ in range(2):
        it.take(faulty({0: [31, 79]}, SPLIT_START))
        await it.pass_seconds(20)
    assert watch.faults(it.clock.now) == (Fault("node-1", "gpu-0", 79, 1.0),)
