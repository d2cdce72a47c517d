"""Messages with one part replaced by any other JSON: taken as they are, or refused."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from tests.agent.spools import opened, put, starts
from tests.collector.collecting import INVENTORY, LENGTH, Bench, report, status, topic
from tests.fuzz.lines import check_row
from tests.fuzz.messages import NOW

GOLDEN: Final = Path(__file__).parents[1] / "contract" / "1"
Path_ = tuple[str | int, ...]
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=200) | st.sampled_from(["a\n", "node-2", "active", "x" * 129, "\x00", ""])
leaves = st.none() | st.booleans() | numbers | texts
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def paths(found: Any, here: Path_ = ()) -> Iterator[Path_]:  # noqa: ANN401 - JSON
    """Return the way to each part of a JSON value."""
    yield here
    if isinstance(found, dict | list):
        for key, value in found.items() if isinstance(found, dict) else enumerate(found):
            yield from paths(value, (*here, key))


def replaced(found: Any, path: Path_, part: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a JSON value with one part replaced."""
    if not path:
        return part
    copy = found.copy()
    copy[path[0]] = replaced(found[path[0]], path[1:], part)
    return copy


def at_our_time(name: str) -> Any:  # noqa: ANN401 - JSON
    """Return a golden message as if it were of now and of the first node of the bench."""
    table = json.loads((GOLDEN / f"{name}.json").read_bytes())
    if name == "report":
        later = NOW - NOW % LENGTH - table["start_seconds"]
        table["start_seconds"] += later
        table["inventory_hash"] = wire.inventory_hash(INVENTORY)
        for meter in table["meters"]:
            for register in meter["registers"]:
                register["at_milliseconds"] += later * 1000
        for span in table["spans"]:
            span["from_milliseconds"] += later * 1000
            span["to_milliseconds"] += later * 1000
    return table


REPORT: Final = at_our_time("report")
STATUS: Final = at_our_time("status")
RECEIPT: Final = at_our_time("receipt")


def bench() -> Bench:
    made = Bench(detail_every=LENGTH, clock=lambda: NOW)
    made.hear(status("node-1"), status("node-2"))
    return made


def test_the_golden_report_itself_is_taken() -> None:
    it = bench()
    it.intake.message(topic("report"), json.dumps(REPORT).encode())
    assert len(it.entries) == 1


def assert_others_are_heard(it: Bench) -> None:
    """Assert that nothing broke, that all rows can be written, and that another is heard."""
    assert it.bugs == 0
    for row in [*it.rows, *(row for entry in it.entries for row in entry.rows)]:
        assert check_row(row)
    it.entries.clear()
    it.hear(report("node-2", start=NOW))
    assert [entry.node for entry in it.entries] == ["node-2"]


@given(st.sampled_from(sorted(paths(REPORT), key=str)), anything)
@settings(max_examples=200, deadline=None)
def test_a_report_with_a_foreign_part_is_taken_or_refused(path: Path_, part: object) -> None:
    it = bench()
    it.intake.message(topic("report"), json.dumps(replaced(REPORT, path, part)).encode())
    refused = sum(
        sample.value
        for metric in it.telemetry.refused.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )
    assert len(it.entries) + refused == 1
    assert_others_are_heard(it)


@given(st.sampled_from(sorted(paths(STATUS), key=str)), anything)
@settings(max_examples=100, deadline=None)
def test_a_status_with_a_foreign_part_is_taken_or_refused(path: Path_, part: object) -> None:
    it = bench()
    it.intake.message(topic("status"), json.dumps(replaced(STATUS, path, part)).encode())
    assert_others_are_heard(it)


@given(st.sampled_from(sorted(paths(RECEIPT), key=str)), anything)
@settings(max_examples=150, deadline=None)
def test_a_receipt_with_a_foreign_part_is_one_or_an_error(path: Path_, part: object) -> None:
    payload = json.dumps(replaced(RECEIPT, path, part)).encode()
    try:
        receipt = wire.decode_receipt(payload)
    except wire.WireError:
        return
    assert wire.decode_receipt(wire.encode(receipt)) == receipt


times = st.integers(0, 2**40) | st.integers(0, 100)


@given(st.lists(st.tuples(times, times), max_size=50), times)
@settings(max_examples=15, deadline=None)
def test_any_receipt_takes_from_the_spool_what_it_names(
    ranges: list[tuple[int, int]], step: int
) -> None:
    """However far its ranges reach: a step at a time through one would never end."""

    async def forget() -> list[int]:
        with TemporaryDirectory() as folder:
            async with opened(Path(folder)) as (spool, _):
                for start in range(0, 100, 5):
                    await put(spool, start)
                await spool.forget(ranges, step)
                return await starts(spool)

    gone = {
        start
        for start in range(0, 100, 5)
        for first, last in ranges
        if step and first <= start <= last and (start - first) % step == 0
    }
    assert asyncio.run(forget()) == [start for start in range(0, 100, 5) if start not in gone]
