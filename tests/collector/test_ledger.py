"""Reports as rows: what is written for each thing, and which quarters are marked as changed."""

import sys

import pytest

from meterhouse_agent import wire
from meterhouse_collector.ledger import ForeignError, entry_of, installed, late_marks
from meterhouse_collector.rows import NodeRow, PackedRow, Point, Row, Table, pack_columns, singles
from meterhouse_collector.shares import ReportError
from meterhouse_collector.store.line_protocol import LineEncoder
from tests.collector.collecting import INVENTORY, index, report
from tests.contract import messages

QUARTER = 900
START = 1_780_000_000 // 900 * 900 + 600
DAY = 86_400
KNOWN = index()
HAS = installed("site-a", "node-1", INVENTORY)


def rows_of(made: wire.Report, *, detail: bool = False) -> list[Row]:
    return entry_of(made, HAS, KNOWN, detail=detail).rows


def packed(rows: list[Row], measurement: str) -> list[PackedRow]:
    return [r for r in rows if isinstance(r, PackedRow) and r.measurement == measurement]


def span(thing: str, begins: int, ends: int, kind: wire.ThingKind = "node") -> wire.Span:
    return wire.Span(
        kind=kind,
        thing=thing,
        quantity="energy_joules",
        from_milliseconds=begins * 1000,
        to_milliseconds=ends * 1000,
        amount=1.0,
        method="interpolated",
        reason="restart",
    )


def marked(rows: list[Row]) -> list[tuple[str, int]]:
    return [(row.thing, row.start_seconds) for row in packed(rows, "dirty")]


def test_nothing_is_kept_of_the_columns_that_are_packed() -> None:
    column = [1.5, None]
    before = sys.getrefcount(column)
    assert pack_columns((column, [])) == b"[[1.5,null],[]]"
    assert sys.getrefcount(column) == before


def test_the_golden_report_becomes_the_golden_lines() -> None:
    golden = wire.decode_report(wire.encode(messages.REPORT))
    has = installed("site-a", "node-1", messages.INVENTORY)
    entry = entry_of(golden, has, KNOWN, detail=True)
    encoder = LineEncoder()
    lines = [encoder.line(one).decode() for row in entry.rows for one in singles(row)]
    assert lines == [
        (
            r'node,reader=node-1,site=site-a,thing=node-1 row="{\"length_milliseconds\":5000,'
            r"\"shares\":[[\"h100\",\"engine:chat\",[5000,0,0,0,0],[3412.417,0.0,null,null,null],"
            r"\"counter\",\"ok\",null],"
            r"[\"h100\",\"none\",[1000,3000,0,0,1000],[512.0,null,null,null,null],"
            r"\"integrated\",\"missing\",null]],"
            r"\"host_covered_milliseconds\":5000,\"energy_joules\":7012.5,"
            r'\"cpu_energy_joules\":811.25}" 1780000000'
        ),
        (
            r'meter,reader=node-1,site=site-a,thing=utility row="{\"length_milliseconds\":5000,'
            r"\"covered_milliseconds\":5000,\"energy_joules\":54000.0,\"power_watts\":10800.0,"
            r'\"power_watts_max\":11020.0}" 1780000000'
        ),
        (
            r'meter,reader=node-1,site=site-a,thing=water row="{\"length_milliseconds\":5000,'
            r'\"covered_milliseconds\":5000,\"volume_litres\":27.5}" 1780000000'
        ),
        (
            r'engine,reader=node-1,site=site-a,thing=chat row="{\"length_milliseconds\":5000,'
            r"\"served\":[{\"served_model\":\"llama-3.3-70b\",\"covered_milliseconds\":5000,"
            r"\"input_tokens\":8000,\"cached_input_tokens\":6400,\"output_tokens\":1000,"
            r"\"requests\":{\"stop\":3,\"abort\":1},\"running_requests\":4.0,"
            r"\"waiting_requests\":0.0,\"latency\":{\"ttft\":{\"edges_seconds\":[0.1,0.5],"
            r'\"counts\":[2,1,1],\"sum_seconds\":1.92}}}]}" 1780000000'
        ),
        (
            r'span,reader=node-1,site=site-a,thing=node/node-1 row="{\"spans\":[{\"kind\":\"node\",'
            r"\"thing\":\"node-1\",\"quantity\":\"energy_joules\","
            r"\"from_milliseconds\":1779999990000,\"to_milliseconds\":1780000001004,"
            r"\"amount\":1024.5,\"method\":\"interpolated\",\"reason\":\"restart\","
            r'\"device\":\"gpu-1\"}]}" 1780000000'
        ),
        (
            r"dirty,reader=node-1,site=site-a,thing=node/node-1 "
            r'row="{\"kind\":\"node\"}" 1779999300'
        ),
        (
            r'register,reader=node-1,site=site-a,thing=utility row="{\"at_milliseconds\":'
            r'1780000000020,\"register_joules\":3600000000.0,\"epoch\":1}" 1780000000'
        ),
        (
            r'register,reader=node-1,site=site-a,thing=water row="{\"at_milliseconds\":'
            r'1780000000030,\"register_litres\":812500.5,\"epoch\":0}" 1780000000'
        ),
        "event,device=gpu-1,kind=xid,node=node-1,site=site-a,xid=31 code=31.0,count=1.0 1780000000",
        "event,device=gpu-1,kind=xid,node=node-1,site=site-a,xid=79 code=79.0,count=1.0 1780000000",
        (
            "accelerator,accelerator_model=nvidia-h100-80gb-hbm3,device=gpu-0,node=node-1,"
            "site=site-a,vendor=nvidia state_number=0.0,energy_joules=3412.417,power_watts=682.483,"
            "power_watts_max=699.001,utilization_ratio=0.98,sm_activity_ratio=0.71,"
            "tensor_activity_ratio=0.42,memory_used_bytes=73014444032.0,temperature_celsius=61.0,"
            "memory_temperature_celsius=70.0,sm_clock_hertz=1980000000.0,"
            "throttled_milliseconds=200.0,throttled_power_milliseconds=200.0,"
            "throttled_thermal_milliseconds=50.0,ecc_corrected_errors=0.0,ecc_uncorrected_errors=0.0"
            " 1780000000"
        ),
        (
            "accelerator,accelerator_model=nvidia-h100-80gb-hbm3,device=gpu-1,node=node-1,"
            "site=site-a,vendor=nvidia state_number=1.0,utilization_ratio=0.25,"
            "memory_used_bytes=1073741824.0,"
            "temperature_celsius=38.5,sm_clock_hertz=345000000.0,throttled_milliseconds=0.0,"
            "throttled_power_milliseconds=0.0,throttled_thermal_milliseconds=0.0,"
            "ecc_corrected_errors=3.0,ecc_uncorrected_errors=0.0 1780000000"
        ),
        (
            "host,node=node-1,site=site-a energy_joules=7012.5,cpu_energy_joules=811.25,"
            "cpu_utilization_ratio=0.0,memory_used_bytes=34359738368.0,temperature_celsius=54.0"
            " 1780000000"
        ),
        (
            "engine,engine=chat,served_model=llama-3.3-70b,site=site-a running_requests=4.0,"
            "waiting_requests=0.0 1780000000"
        ),
        (
            "sensor,cluster=none,kind=none,sensor=inlet-1,site=site-a covered_milliseconds=5000.0,"
            "temperature_celsius=23.4,temperature_celsius_max=24.0 1780000000"
        ),
        (
            "sensor,cluster=none,kind=none,sensor=leak-1,site=site-a covered_milliseconds=5000.0,"
            "contact_milliseconds=1200.0 1780000000"
        ),
    ]


def test_each_thing_has_one_row_and_the_rows_are_those_that_live_sums_are_made_of() -> None:
    meters = [wire.Meter(meter=m, covered_milliseconds=5000) for m in ("utility", "other")]
    made = report(start=START, meters=meters)
    entry = entry_of(made, HAS, KNOWN, detail=False)
    things = [(r.measurement, r.thing, r.reader) for r in entry.rows if isinstance(r, PackedRow)]
    assert things == [
        ("node", "node-1", "node-1"),
        ("meter", "utility", "node-1"),
        ("meter", "other", "node-1"),
    ]
    assert list(entry.meters) == ["utility", "other"]
    assert isinstance(entry.node_row, NodeRow)


def test_without_accelerators_and_host_there_is_no_row_of_the_node() -> None:
    meter = wire.Meter(meter="utility", covered_milliseconds=0)
    rows = rows_of(report(start=START, accelerators=None, meters=[meter]))
    assert [row.measurement for row in rows] == ["meter"]


def test_a_span_marks_every_quarter_it_touches() -> None:
    quarter = START // QUARTER * QUARTER
    rows = rows_of(report(start=START, spans=[span("node-1", quarter - 901, START + 1)]))
    assert marked(rows) == [("node/node-1", quarter + k * QUARTER) for k in (-2, -1, 0)]
    assert [row.thing for row in packed(rows, "span")] == ["node/node-1"]


def test_spans_of_two_things_stand_in_two_rows_and_end_where_the_quarter_does() -> None:
    quarter = START // QUARTER * QUARTER
    spans = [
        span("node-1", quarter - 900, quarter),
        span("utility", quarter - 10, quarter + 10, "meter"),
    ]
    rows = rows_of(report(start=START, spans=spans))
    assert [row.thing for row in packed(rows, "span")] == ["node/node-1", "meter/utility"]
    assert marked(rows) == [
        ("node/node-1", quarter - 900),
        ("meter/utility", quarter - 900),
        ("meter/utility", quarter),
    ]


@pytest.mark.parametrize(
    ("begins", "ends"),
    [(0, START), (START - 400 * DAY, 2**43), (2**43 - 10, 2**43), (0, 1)],
)
def test_marks_lie_where_the_ledger_keeps_rows_and_not_long_after_the_report(
    begins: int, ends: int
) -> None:
    made = report(start=START, spans=[span("node-1", begins, ends)])
    starts = [start for _, start in marked(rows_of(made))]
    assert len(starts) <= 35 * 96 + 2
    assert all(START - 35 * DAY - QUARTER < start <= START + QUARTER for start in starts)


def test_a_report_that_would_mark_without_end_is_refused() -> None:
    spans = [span(f"m{n}", 0, START, "meter") for n in range(100)]
    with pytest.raises(ReportError, match="quarters"):
        rows_of(report(start=START, spans=spans))


def test_late_marks_name_each_thing_once_in_its_quarter() -> None:
    meter = wire.Meter(meter="utility", covered_milliseconds=5000, energy_joules=1.0)
    engine = wire.Engine(engine="chat", served_model="llama", covered_milliseconds=5000)
    made = report(start=START, meters=[meter], engines=[engine])
    marks = list(late_marks(entry_of(made, HAS, KNOWN, detail=False)))
    assert [(mark.policy, mark.measurement, mark.thing) for mark in marks] == [
        ("ledger", "dirty", "node/node-1"),
        ("ledger", "dirty", "meter/utility"),
        ("ledger", "dirty", "engine/chat"),
    ]
    assert {mark.start_seconds for mark in marks} == {START // QUARTER * QUARTER}


def test_a_register_stands_at_its_own_second() -> None:
    registers = [
        wire.Register(at_milliseconds=(START + second) * 1000 + 20, register_joules=1.0, epoch=0)
        for second in (0, 3)
    ]
    meter = wire.Meter(meter="utility", covered_milliseconds=5000, registers=registers)
    rows = packed(rows_of(report(start=START, meters=[meter])), "register")
    assert [(row.policy, row.start_seconds) for row in rows] == [
        ("quarter", START),
        ("quarter", START + 3),
    ]


def test_detail_leaves_out_what_was_not_measured_and_is_all_floats() -> None:
    columns = wire.Accelerators(
        state_milliseconds={"active": [5000, 5000], "free": [0, 0]},
        state_joules={"active": [1.5, 2.0], "free": [0.0, None]},
        power_watts=[None, 400.0],
    )
    fields = [
        dict(each.tags)["device"] + str(each.point().fields)
        for row in rows_of(report(start=START, accelerators=columns), detail=True)
        if isinstance(row, Table)
        for each in row.readings()
    ]
    assert fields == [
        "gpu-0{'state_number': 0.0, 'energy_joules': 1.5}",
        "gpu-1{'state_number': 0.0, 'power_watts': 400.0}",
    ]


def test_a_device_without_any_reading_has_no_row_of_detail() -> None:
    nothing = wire.Accelerators(power_watts=[None, None])
    half = wire.Accelerators(power_watts=[None, 0.0])
    for columns, devices in ((nothing, []), (wire.Accelerators(), []), (half, ["gpu-1"])):
        rows = rows_of(report(start=START, accelerators=columns), detail=True)
        tables = [row for row in rows if isinstance(row, Table)]
        found = [dict(row.tags)["device"] for table in tables for row in table.readings()]
        assert found == devices


LEAK = '[[sensor]]\nname = "leak"\nkind = "leak"\nreaders = ["node-1"]'


def test_only_its_readers_may_speak_for_a_sensor() -> None:
    leak = wire.Sensor(sensor="leak", covered_milliseconds=5000, contact_milliseconds=0)
    made = report("node-2", START, accelerators=None, sensors=[leak])
    has = installed("site-a", "node-2", INVENTORY)
    with pytest.raises(ForeignError, match="sensor leak is not node-2's to read"):
        entry_of(made, has, index(LEAK), detail=False)
    assert entry_of(made, has, index(), detail=False).sensors == {"leak": leak}


def test_sensors_are_detail_with_their_place_and_the_entry_s_for_alerts() -> None:
    site = index('[[sensor]]\nname = "inlet"\nkind = "inlet"\nclass = "A1"\ncluster = "c1"', LEAK)
    warm = wire.Sensor(
        sensor="inlet",
        covered_milliseconds=4000,
        temperature_celsius=23.5,
        temperature_celsius_max=24.0,
    )
    leak = wire.Sensor(sensor="leak", covered_milliseconds=5000, contact_milliseconds=0)
    other = wire.Sensor(sensor="other", covered_milliseconds=5000)
    made = report(start=START, accelerators=None, sensors=[warm, leak, other])
    has = installed("site-a", "node-1", INVENTORY)

    entry = entry_of(made, has, site, detail=True)

    assert entry.sensors == {"inlet": warm, "leak": leak, "other": other}
    assert entry.rows == [
        Point(
            "detail",
            "sensor",
            (("site", "site-a"), ("cluster", cluster), ("sensor", name), ("kind", kind)),
            {**fields},
            START,
        )
        for name, cluster, kind, fields in (
            (
                "inlet",
                "c1",
                "inlet",
                {
                    "covered_milliseconds": 4000.0,
                    "temperature_celsius": 23.5,
                    "temperature_celsius_max": 24.0,
                    "low_celsius": 15.0,
                    "high_celsius": 32.0,
                },
            ),
            ("leak", "none", "leak", {"covered_milliseconds": 5000.0, "contact_milliseconds": 0.0}),
            ("other", "none", "none", {"covered_milliseconds": 5000.0}),
        )
    ]
    undue = entry_of(made, has, site, detail=False)
    assert (undue.rows, undue.sensors) == ([], entry.sensors)


def test_the_bounds_of_a_temperature_stand_beside_it_as_far_as_it_has_any() -> None:
    water = '[[sensor]]\nname = "{0}"\nkind = "coolant"\n{1}'
    site = index(
        water.format("classed", 'class = "W32"'),
        water.format("between", "low_celsius = 18.0\nhigh_celsius = 27.5"),
        water.format("later", 'class = "W32"\nvalid_from = 2999-01-01'),
    )
    names = ("classed", "between", "later")
    read = [
        wire.Sensor(sensor=name, covered_milliseconds=5000, temperature_celsius=25.0)
        for name in names
    ]
    made = report(start=START, accelerators=None, sensors=read)
    entry = entry_of(made, installed("site-a", "node-1", INVENTORY), site, detail=True)
    points = [row for row in entry.rows if isinstance(row, Point)]
    bounds = {
        dict(p.tags)["sensor"]: (p.fields.get("low_celsius"), p.fields.get("high_celsius"))
        for p in points
    }
    assert bounds == {"classed": (None, 32.0), "between": (18.0, 27.5), "later": (None, None)}


def test_only_a_reader_may_speak_for_a_meter_or_an_engine() -> None:
    has = installed("site-a", "node-2", INVENTORY)
    meter = wire.Meter(meter="utility", covered_milliseconds=5000)
    engine = wire.Engine(engine="chat", served_model="llama", covered_milliseconds=5000)
    for made in (
        report("node-2", START, meters=[meter]),
        report("node-2", START, engines=[engine]),
        report("node-2", START, spans=[span("node-1", START, START + 1)]),
    ):
        with pytest.raises(ForeignError):
            entry_of(made, has, KNOWN, detail=False)
