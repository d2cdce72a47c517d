"""A short run of chaos, long ones for `make verify`, and the parts that are pure."""

import itertools
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.packets import Packets, again, is_publish
from tests.chaos.run import run
from tests.chaos.schedule import LANES, Schedule, ScheduleError, parse, plan
from tests.chaos.verdict import Verdict
from tests.chaos.windows import Windows
from tests.e2e.fleet_run import Gap, Record

SHORT_SECONDS = 30
LONG_SECONDS = 600
PUBLISH = b"\x30\x05\x00\x01ahi"
ASKED = b"\x32\x07\x00\x01a\x00\x09hi"


def played(seed: int, seconds: float, folder: Path, record: Record) -> Verdict:
    schedule = plan(seed, seconds)
    verdict = run(schedule, folder, print)
    record("seed", seed)
    record("faults", verdict.faults)
    record("reports", verdict.reports)
    assert verdict.good, f"{schedule.text()}{verdict.text()}\n{verdict.line(seed)}"
    assert verdict.faults == schedule.counted > 0
    assert verdict.reports > 0
    return verdict


@pytest.mark.timeout(600)
def test_a_short_run_loses_and_doubles_nothing(tmp_path: Path, record_property: Record) -> None:
    played(7, SHORT_SECONDS, tmp_path, record_property)


@pytest.mark.verify
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_run_loses_and_doubles_nothing(
    tmp_path: Path, seed: int, record_property: Record
) -> None:
    played(seed, LONG_SECONDS, tmp_path, record_property)


@given(st.integers(0, 10**6), st.floats(30, 900))
def test_a_schedule_is_its_seed_and_what_is_printed_of_it(seed: int, seconds: float) -> None:
    schedule = plan(seed, round(seconds))
    assert schedule == plan(seed, round(seconds))
    assert parse(f"before\n{schedule.text()}\nafter: 1 s") == schedule
    assert schedule.counted <= len(schedule.faults)
    assert all(fault.at_seconds > 0 and fault.ends_seconds <= seconds + 5 for fault in schedule[2])


@given(st.integers(0, 10**6))
def test_the_faults_of_one_lane_come_one_after_the_other(seed: int) -> None:
    for name in LANES:
        lane = [fault for fault in plan(seed, 300).faults if fault.lane == name]
        assert all(a.ends_seconds < b.at_seconds for a, b in itertools.pairwise(lane))


def test_three_long_runs_hold_the_number_of_faults_that_is_asked_for() -> None:
    assert all(plan(seed, LONG_SECONDS).counted > 500 for seed in (1, 2, 3))


def test_a_text_without_a_head_is_no_schedule() -> None:
    with pytest.raises(ScheduleError, match="no line begins with seed="):
        parse("chaos\n")


@given(st.lists(st.sampled_from([PUBLISH, ASKED, b"\xc0\x00"]), max_size=6), st.integers(1, 9))
def test_packets_are_whole_however_their_bytes_come(packets: list[bytes], size: int) -> None:
    stream = b"".join(packets)
    reader = Packets()
    found = []
    for begins in range(0, len(stream), size):
        found += reader.feed(stream[begins : begins + size])
    assert found == packets


def test_a_long_packet_is_measured() -> None:
    body = b"x" * 300
    packet = struct.pack("BBB", 0x30, 0x80 | 300 % 128, 300 // 128) + body
    assert Packets().feed(packet + PUBLISH) == [packet, PUBLISH]


def test_what_is_sent_again_says_so_where_it_may() -> None:
    assert is_publish(PUBLISH)
    assert not is_publish(b"\xc0\x00")
    assert again(PUBLISH) == PUBLISH
    assert again(ASKED) == b"\x3a" + ASKED[1:]


def test_a_window_lasts_from_the_last_report_before_to_the_first_after() -> None:
    windows = Windows()
    windows.look("node", 100)
    windows.died("node")
    windows.look("node", 101)
    windows.is_back("node", 107.5)
    windows.look("node", 107)
    assert windows.open_nodes == ["node"]
    windows.look("node", 108)
    assert windows.gaps == [Gap("node", 100, 108)]
    assert windows.excuse("node", 107)
    assert not windows.excuse("node", 108)
    assert not windows.excuse("other", 104)


def test_a_clock_set_back_while_an_agent_is_dead_closes_no_window() -> None:
    windows = Windows()
    windows.look("node", 100)
    windows.died("node")
    windows.stepped("node", 40)
    windows.is_back("node", 45)
    windows.look("node", 100)
    assert windows.open_nodes == ["node"]
    windows.look("node", 102)
    assert windows.gaps == [Gap("node", 100, 102)]


def test_the_last_line_says_it_all() -> None:
    verdict = Verdict(faults=3, reports=9, double=["a row"])
    assert not verdict.good
    assert verdict.line(5) == "chaos seed=5 faults=3 reports=9 lost=0 double=1 wrong=0"
    assert Schedule(1, 30, ()).counted == 0
