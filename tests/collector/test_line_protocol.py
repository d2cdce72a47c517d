"""Lines say exactly what the row said; a small parser of the grammar's own reads them back."""

import itertools
import json
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_collector.rows import (
    NodeRow,
    PackedRow,
    Point,
    Readings,
    Series,
    Share,
    Table,
    pack,
)
from meterhouse_collector.store.line_protocol import LineEncoder
from tests.collector.line_parser import Value, parse
from tests.collector.stores import QUARTER, packed, point, readings
from tests.servers import InfluxDB

texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('\\ ,="%'))
names = texts.filter(
    lambda text: (
        text != ""
        and not text.endswith("\\")
        and "\\ " not in text
        and text not in {"time", "_field", "_measurement"}
    )
)
strings = texts.map(lambda text: text.replace("\x00", ""))
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63) + 1, 2**63 - 1)
values = floats | integers | st.booleans() | strings
starts = st.integers(0, 9_223_372_036)
ENCODER = LineEncoder(series_kept=4)


@given(st.dictionaries(names, names), st.dictionaries(names, values, min_size=1), starts)
@settings(max_examples=500, deadline=None)
def test_a_point_is_read_back_exactly(
    tags: dict[str, str], fields: dict[str, Value], start: int
) -> None:
    row = Point("detail", "accelerator", tuple(tags.items()), fields, start)
    measurement, found_tags, found, found_start = parse(ENCODER.line(row))
    assert (measurement, found_tags, found_start) == ("accelerator", tags, start)
    assert list(found_tags) == sorted(tags)
    assert found == fields
    assert [type(value) for value in found.values()] == [type(value) for value in fields.values()]
    for name, value in fields.items():
        if isinstance(value, float):
            assert math.copysign(1.0, value) == math.copysign(1.0, float(found[name]))


@given(
    st.dictionaries(names, names),
    st.dictionaries(
        # The one word that no field of the catalogue has in its name: it means what is not finite.
        st.from_regex(r"[a-z_]+", fullmatch=True).filter(lambda name: "null" not in name),
        floats | integers,
        min_size=1,
    ),
    starts,
)
@settings(max_examples=500, deadline=None)
def test_readings_are_read_back_exactly_as_floats(
    tags: dict[str, str], fields: dict[str, float | int], start: int
) -> None:
    row = msgspec.json.encode(fields)
    made = Readings("detail", "accelerator", tuple(tags.items()), row, start)
    _, found_tags, found, found_start = parse(ENCODER.line(made))
    assert (found_tags, found_start) == (tags, start)
    assert found == {name: float(value) for name, value in fields.items()} == made.point().fields
    for all_read in (found, made.point().fields):
        assert [repr(value) for value in all_read.values()] == [
            repr(float(value)) for value in fields.values()
        ]


@given(names, names, names, strings, starts)
@settings(max_examples=500, deadline=None)
def test_a_packed_row_is_read_back_exactly(
    site: str, thing: str, reader: str, row: str, start: int
) -> None:
    line = ENCODER.line(PackedRow("ledger", "node", site, thing, reader, start, row))
    tags = {"reader": reader, "site": site, "thing": thing}
    assert parse(line) == ("node", tags, {"row": row}, start)


@given(st.text(max_size=6), st.floats() | st.integers(), st.text(max_size=6), st.integers())
@settings(max_examples=500, deadline=None)
def test_anything_is_a_line_or_a_refusal(name: str, value: float, text: str, start: int) -> None:
    row = Point("detail", "accelerator", (("tag", name),), {"number": value, "text": text}, start)
    try:
        line = ENCODER.line(row)
    except ValueError:
        with pytest.raises(ValueError, match=r"^accelerator tag="):
            ENCODER.line(row)
    else:
        assert parse(line) == ("accelerator", {"tag": name}, row.fields, start)
        assert b"\n" not in line


def test_a_whole_float_stays_a_float() -> None:
    assert ENCODER.line(point(power_watts=3.0)) == (
        b"accelerator,device=gpu-0,node=node-1 power_watts=3.0 %d" % QUARTER
    )
    assert b"x=3i " in ENCODER.line(point(x=3))
    assert b"x=True " in ENCODER.line(point(x=True))


def test_a_refusal_names_the_row_and_the_cause() -> None:
    for row, said in (
        (packed("a\nb"), r"node of 'a\\nb' read by 'node-1' at .*: tag thing .* control character"),
        (packed(""), "tag thing is empty"),
        (packed("a\\"), "tag thing .* holds a backslash"),
        (packed(row="\n"), "line break"),
        (packed(start=2**40), "out of range"),
        (point(power_watts=math.nan), "accelerator device='gpu-0' .*: field power_watts is nan"),
        (point(a=1.0, power_watts=-math.inf), "field power_watts is -inf"),
        (point(text="=nan", power_watts=math.inf), "field power_watts is inf"),
        (point(number=2**63), "field number = 9223372036854775808 is out of range"),
        (point()._replace(fields={}), "there is no field"),
        (point()._replace(fields={"x": None}), "field x is a NoneType"),  # type: ignore[dict-item] # what a fault would write
        (readings(row=b"{}"), "accelerator device='gpu-0' .*: there is no field"),
        (readings(row=b'{"x":1.0,"y":null}'), "accelerator device='gpu-0' .*: .* not finite"),
        (readings("a\nb"), "tag device .* control character"),
        (point(time=1.0), "field time is reserved"),
        (point()._replace(measurement="#m"), "no plain name"),
        (point()._replace(tags=(("a", "1"), ("a", "2"))), "a tag is there twice"),
    ):
        with pytest.raises(ValueError, match=said):
            ENCODER.line(row)
    assert ENCODER.line(point(text="=nan, =inf and =-inf"))


def test_a_packed_row_keeps_its_json() -> None:
    share = Share('H100 "SXM"\\', "tenant:ä", (1, 2, 3, 4, 5), (None,) * 5, "counter", "ok")
    row = pack(NodeRow(length_milliseconds=5000, shares=(share,)))
    found = parse(ENCODER.line(packed(row=row)))[2]["row"]
    assert found == row
    assert json.loads(str(found))["shares"][0][0] == 'H100 "SXM"\\'


def test_the_remembered_series_are_bounded() -> None:
    encoder = LineEncoder(series_kept=10)
    for number in range(1000):
        encoder.line(packed(f"node-{number}"))
        encoder.line(point(f"gpu-{number}"))
    assert encoder._packed_series.cache_info().currsize == 10
    assert encoder._point_series.cache_info().currsize == 10


def test_the_server_reads_every_short_name_as_it_was(
    influxdb_shared: InfluxDB, tmp_path: Path
) -> None:
    """All texts of up to five of the characters that matter, as tags, each beside a neighbour."""
    influxdb_shared.make_bucket(f"{tmp_path.name}/all")
    written: dict[int, str] = {}
    lines = []
    for size in (1, 2, 3, 4, 5):
        for letters in itertools.product('\\ ,="', repeat=size):
            name = "".join(letters)
            row = point(name, start=len(written), number=1.5, text=name)
            try:
                lines.append(ENCODER.line(row))
            except ValueError:
                continue
            lines.append(ENCODER.line(point("neighbour", start=len(written), text="a b")))
            written[len(written)] = name
    influxdb_shared.write(f"{tmp_path.name}/all", b"\n".join(lines).decode())
    found = influxdb_shared.influxql(
        tmp_path.name, 'SELECT number, text FROM "all".accelerator GROUP BY device, node'
    )
    assert len(written) > 2000
    neighbours = [row for row in found if row["device"] == "neighbour"]
    assert [row["time"] for row in neighbours] == list(written)
    assert {row["time"]: row["device"] for row in found if row not in neighbours} == written
    assert all(row["text"] == row["device"] for row in found if row["number"] is not None)
    assert {row["node"] for row in found} == {"node-1"}


def test_a_table_is_the_lines_of_its_rows() -> None:
    tags = [(("device", f"gpu {n}"), ("site", "a,b")) for n in range(4)]
    series = Series(tags, ("x", "y", "z"))
    for columns, lines in (
        (b"[[1.5,2.0,1e16,5],[-0.0,1,2,3],[1,2,3,4]]", 4),
        (b"[[1.5,2.0,3.0,5],[],[1,2,3,4]]", 4),
        (b"[[],[],[0,0,0,0.0]]", 4),
        (b"[[1.5,null,null,5],[-0.0,null,1e16,null],[]]", 3),
        (b"[[null,null,null,null],[],[]]", 0),
        (b"[[],[],[]]", 0),
    ):
        table = Table("detail", "accelerator", series, columns, 1_800_000_000)
        alone = [ENCODER.line(row) for row in table.readings()]
        assert ENCODER.lines(table) == b"\n".join(alone)
        assert len(alone) == lines


@pytest.mark.parametrize(
    "bad",
    [
        Table("detail", "a", Series([(("tag", ""),)], ("x",)), b"[[1]]", 0),
        Table("detail", "a", Series([(("tag", "x"),)], ("x",)), b"[[1]]", 2**40),
        Table("detail", "a", Series([(("tag", "x"),)], ("x",)), b"[[1,2]]", 0),
        Table("detail", "a", Series([(("tag", "x"),)], ("x", "y")), b"[[1]]", 0),
    ],
    ids=["tag", "start", "a row too many", "a column too few"],
)
def test_a_table_that_cannot_be_written_is_refused(bad: Table) -> None:
    with pytest.raises(ValueError, match=r"."):
        ENCODER.lines(bad)
