"""The contract: golden messages, topics, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from tests.contract import messages

FOLDERS = sorted(p for p in Path(__file__).parent.iterdir() if p.name.isdigit())
GOLDEN = FOLDERS[-1]


def _golden(name: str, folder: Path = GOLDEN) -> bytes:
    return (folder / f"{name}.json").read_bytes().strip()


def test_the_newest_golden_folder_is_the_schema_in_force() -> None:
    assert int(GOLDEN.name) == wire.SCHEMA


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("report", messages.REPORT),
        ("receipt", messages.RECEIPT),
        ("status", messages.STATUS),
    ],
)
def test_the_agent_produces_the_golden_bytes(
    name: str, message: wire.Report | wire.Receipt | wire.Status
) -> None:
    assert wire.encode(message) == _golden(name)


def test_the_collector_decodes_every_golden_message() -> None:
    assert wire.decode_report(_golden("report")) == messages.REPORT
    assert wire.decode_receipt(_golden("receipt")) == messages.RECEIPT
    assert wire.decode_status(_golden("status")) == messages.STATUS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: p.name)
def test_every_released_schema_still_decodes(folder: Path) -> None:
    assert wire.decode_report(_golden("report", folder)).node == "node-1"


def test_the_golden_report_says_every_field_of_the_contract() -> None:
    """A field that no golden message carries could change unseen."""
    said = json.loads(_golden("report"))
    # One meter counts energy and one a volume.
    meters = {field: value for meter in said["meters"] for field, value in meter.items()}
    # One sensor has a temperature and one a contact.
    sensors = {field for sensor in said["sensors"] for field in sensor}
    registers = [register for meter in said["meters"] for register in meter["registers"]]
    for struct, table in (
        (wire.Report, said),
        (wire.Accelerators, said["accelerators"]),
        (wire.Host, said["host"]),
        (wire.Meter, meters),
        (wire.Register, {field for register in registers for field in register}),
        (wire.Engine, said["engines"][0]),
        (wire.Span, said["spans"][0]),
        (wire.Sensor, sensors),
    ):
        defaults = {"energy_method", "quality", "served_model"}
        fields = {field.encode_name for field in msgspec.structs.fields(struct)}
        assert fields - set(table) <= defaults


COLUMN = st.lists(st.one_of(st.none(), st.floats(-1e15, 1e15), st.integers(-(10**6), 10**6)))
MILLIONS = st.lists(st.integers(-(10**9), 10**9).map(lambda n: n * 1_000_000.0))


@given(power=COLUMN, clock=st.one_of(COLUMN, MILLIONS))
def test_numbers_as_short_as_they_can_be_written_are_the_same_numbers(
    power: list[float | None], clock: list[float | None]
) -> None:
    columns = wire.Accelerators(power_watts=power, sm_clock_hertz=clock)
    report = msgspec.structs.replace(messages.REPORT, accelerators=columns)

    assert wire.decode_report(wire.encode(report)) == report
    # What is encoded is left as it was.
    assert (columns.power_watts, columns.sm_clock_hertz) == (power, clock)


def test_whole_numbers_are_written_without_a_point_and_millions_without_their_zeros() -> None:
    columns = wire.Accelerators(
        state_joules={"active": [3500.0, 0.001, None]}, sm_clock_hertz=[1.98e9, 1e6, 999_999.0]
    )
    sent = wire.encode(msgspec.structs.replace(messages.REPORT, accelerators=columns))

    assert b'"state_j":{"active":[3500,0.001,null]}' in sent
    assert b'"sm_clock_hz":[1980e6,1e6,999999]' in sent


def test_a_name_on_the_wire_is_of_one_column_of_accelerators() -> None:
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(wire.Accelerators)}

    assert {**fields, **wire.ON_THE_WIRE} == fields
    assert set(fields) - set(wire.ON_THE_WIRE) == {"energy_method", "unhealthy_reasons", "xids"}
    assert len(set(fields.values())) == len(fields)


def test_a_backlog_is_added_without_encoding_again() -> None:
    report = msgspec.structs.replace(messages.REPORT, waiting=0, waiting_since_seconds=None)

    sent = wire.with_backlog(wire.encode(report), 12, 1779999600)

    assert wire.decode_report(sent) == messages.REPORT
    assert wire.with_backlog(wire.encode(report), 0, None) == wire.encode(report)


@given(
    node=st.from_regex(wire.NAME_PATTERN, fullmatch=True), kind=st.sampled_from(wire.MessageKind)
)
def test_topics_come_apart_as_they_were_put_together(node: str, kind: wire.MessageKind) -> None:
    address = wire.parse_topic(wire.topic("site-a", node, kind))

    assert address == ("site-a", wire.slot_of(node), node, kind)
    assert 0 <= int(address.slot) < wire.SLOTS


def test_the_slot_of_a_node_never_changes() -> None:
    assert [wire.slot_of(name) for name in ("node-1", "node-2", "sim-000")] == ["31", "37", "10"]


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "meterhouse/v1/site-a/31/node-1",
        "meterhouse/v2/site-a/31/node-1/report",
        "meterhouse/v1/site-a/30/node-1/report",
        "meterhouse/v1/site-a/31/node-1/other",
        "meterhouse/v1/site-a/31/node-1/report/x",
        "meterhouse/v1/Site/31/node-1/report",
        "meterhouse/v1/site-a/31/node 1/report",
        "meterhouse/v1/site-a/31/node-1\n/report",
        "meterhouse/v1/+/#/node-1/report",
        "meterhouse/v1/site-a/31/node\x00/report",
    ],
)
def test_a_topic_that_is_not_ours_is_refused(topic: str) -> None:
    with pytest.raises(wire.WireError):
        wire.parse_topic(topic)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"schema":1}',
        _golden("report").replace(b'"node-1"', b'"Node 1"', 1),
        _golden("report").replace(b"5000", b"-5", 1),
        _golden("report").replace(b"3412.417", b"1e999"),
        _golden("report").replace(b"3412.417", b"NaN"),
        _golden("report").replace(b'"schema":1', b'"schema":0'),
        b" " * (wire.MAX_PAYLOAD_BYTES + 1),
    ],
)
def test_what_is_no_report_is_refused_with_a_reason(payload: bytes) -> None:
    with pytest.raises(wire.WireError) as caught:
        wire.decode_report(payload)

    assert str(caught.value)
    assert not isinstance(caught.value, wire.NewerSchemaError)


@pytest.mark.parametrize("change", [b'"schema":2', b'"schema":2,"start_seconds":"later"'])
def test_a_newer_schema_is_told_apart_even_where_it_cannot_be_decoded(change: bytes) -> None:
    with pytest.raises(wire.NewerSchemaError):
        wire.decode_report(_golden("report").replace(b'"schema":1', change, 1))


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(payload: bytes) -> None:
    for decode in (wire.decode_report, wire.decode_receipt, wire.decode_status):
        try:
            decode(payload)
        except wire.WireError:
            continue


@pytest.mark.parametrize(
    ("module", "stranger"),
    [
        ("meterhouse_agent.__main__", ("meterhouse_collector", "influxdb_client", "aiohttp")),
        ("meterhouse_collector.__main__", ("aiomqtt", "pynvml")),
    ],
)
def test_the_two_programs_share_the_contract_and_the_judge_of_counters_alone(
    module: str, stranger: tuple[str, ...]
) -> None:
    code = f"import sys, {module}; print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not [name for name in loaded if name.partition(".")[0] in stranger]
    if module.startswith("meterhouse_collector"):
        shared = {name for name in loaded if name.startswith("meterhouse_agent")}
        # The judge of counters, which the formula command calls, and the record that it judges.
        judge = {"meterhouse_agent.counters", "meterhouse_agent.samples"}
        assert shared == {"meterhouse_agent", "meterhouse_agent.wire", *judge}
