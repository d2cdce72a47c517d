"""Every store behaves alike: what is written is there exactly, and only bad rows are refused."""

import itertools
from math import inf, nan

import msgspec
from msgspec.structs import replace

from meterhouse_collector.rows import PackedRow, Point, Series, Table
from meterhouse_collector.store import Store
from tests.collector.stores import (
    QUARTER,
    detail,
    ledger,
    of_fields,
    packed,
    point,
    readings,
)

DAY = 86_400
# fmt: off
HOSTILE = [
    "NVIDIA H100 80GB HBM3", "a,b", "a=b", 'say "hi"', "it's", "50%", "%r", "ünï→☃", "日本語", "😀",
    "\\n", "C:\\path\\x", "\\\\x", "#", "a\\,b", "a\\=b", '"', "' OR 1=1 --", "-1i", "true", "NaN",
    "a\u00a0b", "a\u2028b", " lead", "trail ", "a  b", "null", "{}", "[1,2]", "$1", "/.*/",
    "x" * 3000,
]
# fmt: on
REFUSED = ["", "trailing\\", "\\ ", "line\nbreak", "nul\0", "tab\t", "\r", "\udc80", "y" * 70_000]


STORES = ("sqlite", "influx")


async def test_a_row_written_twice_is_there_once(store: Store) -> None:
    rows: list[PackedRow | Point] = [packed(), point(), packed("node-2"), point("gpu-1")]
    assert await store.write(rows) == []
    assert await store.write(rows) == []
    assert await ledger(store) == [rows[0], rows[2]]
    assert await detail(store) == [rows[1], rows[3]]


async def test_a_later_row_replaces_an_earlier_one(store: Store) -> None:
    await store.write([packed(row="1"), point(power_watts=1.0), packed(row="2")])
    assert await ledger(store) == [packed(row="2")]
    assert await store.write([packed(row="3"), point(power_watts=3.0)]) == []
    assert await ledger(store) == [packed(row="3")]
    assert await detail(store) == [point(power_watts=3.0)]


async def test_rows_come_back_in_order(store: Store) -> None:
    keys = itertools.product(["a", "b-1", "b_1", "c"], ["r1", "r2"], [QUARTER, QUARTER + 5])
    rows = [packed(thing, reader=reader, start=start) for thing, reader, start in keys]
    points = [point(device, start=start) for start in (QUARTER, QUARTER + 5) for device in "abc"]
    assert await store.write([*reversed(rows), *reversed(points)]) == []
    assert await ledger(store) == rows
    assert await detail(store) == points
    assert await ledger(store, "b-1") == rows[4:8]


async def test_a_window_holds_its_start_and_not_its_end(store: Store) -> None:
    starts = [QUARTER - 1, QUARTER, QUARTER + 899, QUARTER + 900]
    await store.write([packed(start=start) for start in starts])
    await store.write([point(start=start) for start in starts])
    for first, last, count in ((0, 900, 2), (1, 900, 1), (0, 899, 1), (-1, 901, 4), (5, 5, 0)):
        start, end = QUARTER + first, QUARTER + last
        for thing in (None, "node-1"):
            found = await store.packed(
                "ledger", "node", start_seconds=start, end_seconds=end, thing=thing
            )
            assert len(found) == count
        points = await store.points("detail", "accelerator", start_seconds=start, end_seconds=end)
        assert len(points) == count
    assert await store.packed("ledger", "node", start_seconds=-(2**50), end_seconds=2**50) != []


async def test_what_was_never_written_is_empty(store: Store) -> None:
    assert await store.write([]) == []
    assert await store.packed("quarter", "meter", start_seconds=0, end_seconds=QUARTER) == []
    assert await store.points("event", "event", start_seconds=0, end_seconds=QUARTER) == []
    await store.write([packed()])
    assert await ledger(store, "node-2") == []
    assert await ledger(store, "' OR 'x' = 'x") == []
    assert await ledger(store, "\\' OR 1=1 --\n") == []


async def test_the_oldest_row_is_found_by_policy_and_measurement(store: Store) -> None:
    assert await store.oldest("ledger", "node") is None
    other = replace(packed(start=QUARTER - 1800), measurement="meter")
    await store.write([packed("b", start=QUARTER - 900), packed("a"), other])
    await store.write([point(start=QUARTER - 30), point("b")])
    assert await store.oldest("ledger", "node") == QUARTER - 900
    assert await store.oldest("detail", "accelerator") == QUARTER - 30
    assert await store.oldest("quarter", "node") is None


async def test_policies_and_measurements_are_apart(store: Store) -> None:
    rows = [packed(), packed(policy="quarter"), replace(packed(), measurement="meter")]
    points = [point(policy="live"), point(policy="kept")]
    assert await store.write([*rows, *points]) == []
    assert await ledger(store) == [rows[0]]
    start, end = QUARTER, QUARTER + 1
    found = await store.packed("quarter", "node", start_seconds=start, end_seconds=end)
    assert found == [rows[1]]
    found = await store.packed("ledger", "meter", start_seconds=start, end_seconds=end)
    assert found == [rows[2]]
    kept = await store.points("kept", "accelerator", start_seconds=start, end_seconds=end)
    assert kept == [points[1]]


async def test_every_name_that_can_be_written_comes_back_exactly(store: Store) -> None:
    alphabet = '\\ ,="a'
    short = [
        "".join(letters) for n in (1, 2, 3) for letters in itertools.product(alphabet, repeat=n)
    ]
    names = [name for name in [*HOSTILE, *short] if not name.endswith("\\") and "\\ " not in name]
    names = sorted(set(names))
    points = [point(name, start=QUARTER, text=name, seen=True) for name in names]
    things = [packed(name, row=f'{{"thing":"{len(name)}\\"\\\\"}}') for name in names]
    assert await store.write([*points, *things]) == []
    assert await detail(store) == points
    assert await ledger(store) == things
    for thing in things[::10]:
        assert await ledger(store, thing.thing) == [thing]


async def test_what_cannot_be_written_is_refused_alone(store: Store) -> None:
    rows: list[PackedRow | Point] = []
    bad = []
    for position, name in enumerate(REFUSED):
        bad += [len(rows), len(rows) + 1]
        rows += [point(name), packed(name), point(f"good-{position}"), packed(f"good-{position}")]
    for wrong in (
        point(power_watts=nan),
        point(power_watts=-inf),
        point(text="a\nb"),
        point(number=2**63),
        point(start=2**40),
        point(start=-(2**40)),
        packed(start=2**40),
        packed(row="x" * 1_100_000),
        point(time=1.0),
        point()._replace(tags=(("time", "now"),)),
        point()._replace(tags=(("a", "1"), ("a", "2"))),
        point()._replace(fields={}),
        point()._replace(measurement="a b"),
    ):
        bad.append(len(rows))
        rows += [wrong, packed(f"after-{len(rows)}")]
    rejections = await store.write(rows)
    assert [rejection.index for rejection in rejections] == bad
    assert not any(rejection.too_old for rejection in rejections)
    assert all(rejection.reason for rejection in rejections)
    good = [row for index, row in enumerate(rows) if index not in bad]
    assert await ledger(store) == sorted(
        (row for row in good if isinstance(row, PackedRow)), key=lambda row: row.thing
    )
    assert await detail(store) == [row for row in good if isinstance(row, Point)]


async def test_a_field_keeps_its_type(store: Store) -> None:
    fields: dict[str, float | int | str | bool]
    fields = {"f": 3.0, "i": 3, "b": True, "s": 'q"\\\\', "tiny": 5e-324, "huge": 1.7e308}
    fields |= {"sum": 0.1 + 0.2, "neg": -0.0, "big": 2**53 + 1, "least": -(2**63) + 1, "empty": ""}
    assert await store.write([of_fields(fields)]) == []
    [found] = await detail(store)
    assert found.fields == fields
    assert {name: type(value) for name, value in found.fields.items()} == {
        name: type(value) for name, value in fields.items()
    }
    wrong = [of_fields({name: 1.0 if name == "s" else "x"}, "gpu-1") for name in "fibs"]
    rejections = await store.write([point("gpu-2", f=4.0), *wrong, point("gpu-3", f=5.0)])
    assert [(one.index, one.too_old) for one in rejections] == [(n, False) for n in (1, 2, 3, 4)]
    assert [found.tags[0][1] for found in await detail(store)] == ["gpu-0", "gpu-2", "gpu-3"]


async def test_readings_are_points_of_floats(store: Store) -> None:
    fields: dict[str, float | int | str | bool]
    fields = {"whole": 5.0, "huge": 1.7e308, "tiny": 5e-324, "big": 1e16, "small": 1.5e-7}
    fields |= {"neg": -0.0, "sum": 0.1 + 0.2, "mid": 1e15}
    assert await store.write([readings("a", msgspec.json.encode(fields))]) == []
    assert await store.write([of_fields(fields, "b"), readings("c", b'{"whole":5}')]) == []
    assert await store.write([of_fields({"whole": 6.0}, "d"), point("e", whole=True)]) != []
    found = await detail(store)
    assert found == [*(of_fields(fields, name) for name in "ab"), point("c", whole=5.0), found[3]]
    assert found[3] == point("d", whole=6.0)
    assert {type(value) for one in found for value in one.fields.values()} == {float}
    assert await store.write([readings("a", b'{"whole":7.0}')]) == []
    assert (await detail(store))[0].fields["whole"] == 7.0


async def test_readings_that_cannot_be_written_are_refused_alone(store: Store) -> None:
    bad = [*map(readings, REFUSED), readings(row=b"{}"), readings(row=b'{"x":null}')]
    bad.append(readings()._replace(start_seconds=2**40))
    rows = [row for n, one in enumerate(bad) for row in (one, readings(f"gpu-{n:02d}"))]
    rejections = await store.write([*rows, readings("old")._replace(start_seconds=0)])
    assert [(one.index, one.too_old) for one in rejections] == [
        *((index, False) for index in range(0, len(rows), 2)),
        (len(rows), True),
    ]
    assert await detail(store) == [row.point() for row in rows[1::2]]
    good = [name for name in HOSTILE if len(name) < 100]
    assert await store.write([readings(name) for name in good]) == []
    assert {one.tags[0][1] for one in await detail(store)} >= set(good)


async def test_rows_older_than_their_policy_are_too_old(store: Store) -> None:
    old = QUARTER - 36 * DAY
    rows: list[PackedRow | Point]
    rows = [packed(f"node-{n}", start=old if n % 3 == 0 else QUARTER) for n in range(100)]
    rows += [packed(start=old, policy="quarter"), packed(start=QUARTER - 34 * DAY)]
    rows += [point(start=QUARTER - 15 * DAY), point(start=QUARTER - 13 * DAY)]
    rejections = await store.write(rows)
    assert [one.index for one in rejections] == [*range(0, 100, 3), 102]
    assert all(one.too_old for one in rejections)
    assert len(await ledger(store)) == 67
    assert len(await detail(store)) == 1


async def test_a_batch_of_many_requests_loses_only_its_bad_rows(store: Store) -> None:
    await store.write([point("seed", power_watts=1.0)])
    rows: list[PackedRow | Point] = [
        packed(f"node-{n:05d}", row='"' + "x" * 500 + '"') for n in range(12_000)
    ]
    rows[7_000] = point(power_watts="text")
    rows[7_001] = packed(start=QUARTER - 50 * DAY)
    rows[11_999] = packed("bad\n")
    rejections = await store.write(rows)
    assert [(one.index, one.too_old) for one in rejections] == [
        (7_000, False),
        (7_001, True),
        (11_999, False),
    ]
    assert len(await ledger(store)) == 11_997


async def test_a_table_is_written_but_for_the_series_that_cannot_be(store: Store) -> None:
    names = ["gpu-0", "\n", "gpu-2", "gpu-3"]
    series = Series([readings(name).tags for name in names], ("x",))
    table = Table("detail", "accelerator", series, b"[[1,2,null,4]]", QUARTER)
    rejections = await store.write([point("gpu-9", x=9.0), table])
    assert [(one.index, one.too_old) for one in rejections] == [(1, False)]
    expected = [point("gpu-0", x=1.0), point("gpu-3", x=4.0), point("gpu-9", x=9.0)]
    assert await detail(store) == expected
    # One of them has another type than the store knows: only that one is refused.
    assert await store.write([of_fields({"whole": 1}, "gpu-4")]) == []
    series = Series([readings(f"gpu-{n}").tags for n in range(4)], ("x", "whole"))
    columns = b"[[5,6,null,8],[null,null,7,null]]"
    table = Table("detail", "accelerator", series, columns, QUARTER)
    assert [one.index for one in await store.write([table])] == [0]
    assert [found.fields.get("x") for found in await detail(store)] == [5.0, 6.0, 8.0, None, 9.0]
