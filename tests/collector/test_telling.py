"""Who is waited for before an interval is rolled up."""

import pytest

from meterhouse_collector.ledger import Entry
from meterhouse_collector.rollup.site_energy import IntervalRows
from meterhouse_collector.rows import MeterRow, NodeRow
from meterhouse_collector.telling import TELLING_SECONDS, Telling

START = 1_700_000_000
LENGTH = 5
ROW = NodeRow(LENGTH * 1000)
METER = MeterRow(LENGTH * 1000, LENGTH * 1000)


def rows(start: int, *nodes: str, meters: tuple[str, ...] = ()) -> IntervalRows:
    return IntervalRows(start, LENGTH, dict.fromkeys(nodes, ROW), dict.fromkeys(meters, METER), {})


def told(telling: Telling, *nodes: str, meters: tuple[str, ...] = ()) -> bool:
    return telling.all_told(dict.fromkeys(nodes), dict.fromkeys(meters), {})


def test_all_that_told_of_an_interval_are_waited_for() -> None:
    telling = Telling()
    assert not told(telling, "a"), "nobody is not all"
    telling.note(rows(START, "a", "b", meters=("m",)))
    assert not told(telling, "a", "b")
    assert not told(telling, "a", meters=("m",))
    assert told(telling, "a", "b", "new", meters=("m",))


@pytest.mark.parametrize("after_seconds", [TELLING_SECONDS - LENGTH, TELLING_SECONDS])
def test_who_is_silent_for_a_minute_is_waited_for_no_more(after_seconds: int) -> None:
    telling = Telling()
    telling.note(rows(START, "a", "b"))
    telling.note(rows(START + after_seconds, "a"))
    assert told(telling, "a") is (after_seconds == TELLING_SECONDS)


def test_who_tells_late_is_waited_for_from_then_on() -> None:
    telling = Telling()
    telling.note(rows(START, "a"))
    telling.late(Entry("site", "b", START, ROW, {"m": METER}, {}, []))
    assert not told(telling, "a")
    assert told(telling, "a", "b", meters=("m",))
    telling.note(rows(START - LENGTH, "c"))
    assert not told(telling, "a", "b", meters=("m",)), "an interval rolled up later than its time"
