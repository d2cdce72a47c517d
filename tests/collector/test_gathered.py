"""Slots as they are written, and rows of a slot there and back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meterhouse_agent import wire
from meterhouse_collector.gathered import (
    SLOT_NAMES,
    Gathered,
    packed,
    parse_slots,
    slots_text,
    told_of,
    unpacked,
)
from meterhouse_collector.ledger import entry_of, installed
from meterhouse_collector.rows import PackedRow, Table
from tests.collector.collecting import INVENTORY, now_on_grid, report
from tests.collector.test_live import KNOWN, entry, meter


@given(st.sets(st.sampled_from(SLOT_NAMES), min_size=1))
def test_slots_are_read_as_they_are_said(slots: set[str]) -> None:
    assert parse_slots(slots_text(slots)) == slots


def test_ranges_and_single_slots_together() -> None:
    assert parse_slots("00-02, 63") == {"00", "01", "02", "63"}
    assert slots_text(["63", "00", "01", "02"]) == "00-02,63"


@pytest.mark.parametrize("text", ["", "0-3", "00-64", "5", "31-00", "00-", "-31", "aa", "00,,01"])
def test_what_names_no_slots_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="slots are a text"):
        parse_slots(text)


def test_an_entry_comes_back_as_it_was_but_for_what_is_written() -> None:
    start = now_on_grid()
    given_entry = entry("node-1", start, meters=meter(5.0))
    gathered = Gathered(began_seconds=1, readers={"node-1": told_of(given_entry)})
    read = unpacked(packed(gathered, "site-a", "07", "a", start))
    assert read is not None
    assert list(read.entries("site-a", start)) == [replace(given_entry, rows=[])]


def test_sensors_are_told_with_an_entry_and_also_of_a_slot_that_is_too_large() -> None:
    start = now_on_grid()
    sensors = {
        "inlet": wire.Sensor(sensor="inlet", covered_milliseconds=5000, temperature_celsius=23.5),
        "leak": wire.Sensor(sensor="leak", covered_milliseconds=5000, contact_milliseconds=10),
    }
    given_entry = replace(entry("node-1", start), sensors=sensors)
    gathered = Gathered(began_seconds=1, readers={"node-1": told_of(given_entry)})
    for told in (gathered, gathered.without_detail()):
        read = unpacked(packed(told, "site-a", "07", "a", start))
        assert read is not None
        assert [made.sensors for made in read.entries("site-a", start)] == [sensors]


def detailed(nodes: int) -> Gathered:
    has = installed("site-a", "node-1", INVENTORY)
    made = entry_of(report("node-1"), has, KNOWN, detail=True)
    return Gathered(began_seconds=1, readers={f"n{n}": told_of(made) for n in range(nodes)})


def test_what_devices_read_is_told_with_it_where_it_is_due() -> None:
    start = now_on_grid()
    read = unpacked(packed(detailed(1), "site-a", "07", "a", start))
    assert read is not None
    ((row,),) = [made.rows for made in read.entries("site-a", start)]
    assert isinstance(row, Table)
    columns = dict(zip(row.series.names, json.loads(row.columns), strict=True))
    assert columns["power_watts"] == [500.0, 500.0]


def test_a_slot_that_is_too_large_is_told_without_its_detail() -> None:
    read = unpacked(packed(detailed(4_000), "site-a", "07", "a", now_on_grid()))
    assert read is not None
    assert len(read.readers) == 4_000
    assert not any(told.detail for told in read.readers.values())
    assert all(told.node is not None for told in read.readers.values())


def test_a_row_that_cannot_be_read_is_none() -> None:
    assert unpacked(PackedRow("part", "gathered", "site-a", "07", "a", 0, "{")) is None
