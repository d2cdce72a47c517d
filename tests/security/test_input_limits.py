"""Every limit of what a node may send bites, is counted by its reason and said in the receipt."""

import itertools
from collections.abc import Callable
from typing import Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector import quota
from meterhouse_collector.bounds import (
    DEVICE_WATTS_MAX,
    LITRES_PER_SECOND_MAX,
    METER_WATTS_MAX,
    NODE_WATTS_MAX,
    TOKENS_PER_SECOND_MAX,
)
from meterhouse_collector.held import HELD_BYTES, Held
from meterhouse_collector.rows import PackedRow
from tests.collector.collecting import INVENTORY, LENGTH, Bench, report, say, status, topic
from tests.fuzz.lines import check_row

NOW: Final = 1_780_000_000
DAY: Final = 86_400
Make = Callable[[], wire.Report]
# A node gets one receipt a second.
SECONDS: Final = itertools.count()


def bench() -> Bench:
    made = Bench(detail_every=LENGTH, clock=lambda: NOW)
    made.hear(status("node-1"), status("node-2"))
    return made


def made(**fields: object) -> wire.Report:
    return report(start=NOW, **fields)  # type: ignore[arg-type] # fields of a report by name


def meter(name: str = "m", **fields: object) -> wire.Meter:
    return wire.Meter(meter=name, covered_milliseconds=0, **fields)  # type: ignore[arg-type] # by name


def register(at_seconds: int) -> wire.Register:
    return wire.Register(at_milliseconds=at_seconds * 1000, register_joules=1.0, epoch=0)


def engine(name: str = "e", **fields: object) -> wire.Engine:
    head = {"engine": name, "served_model": "s", "covered_milliseconds": 0}
    return wire.Engine(**head | fields)  # type: ignore[arg-type] # fields of an engine by name


def span(**fields: object) -> wire.Span:
    head = {"kind": "meter", "thing": "m", "quantity": "energy_joules", "amount": 1.0}
    times = {"from_milliseconds": (NOW - 100) * 1000, "to_milliseconds": NOW * 1000}
    why = {"method": "interpolated", "reason": "restart"}
    return msgspec.convert(head | times | why | fields, wire.Span)


def joules(watts: float) -> wire.Accelerators:
    states: dict[wire.State, list[int]] = {"active": [5000, 5000]}
    return wire.Accelerators(
        state_milliseconds=states, state_joules={"active": [1.0, watts * LENGTH]}
    )


# Each with the least that is refused, and the most that is taken.
BOUNDS: Final[dict[str, tuple[Make, Make]]] = {
    "device": (
        lambda: made(accelerators=joules(DEVICE_WATTS_MAX * 1.001)),
        lambda: made(accelerators=joules(DEVICE_WATTS_MAX)),
    ),
    "node": (
        lambda: made(host=wire.Host(covered_milliseconds=1, energy_joules=NODE_WATTS_MAX * 6)),
        lambda: made(host=wire.Host(covered_milliseconds=1, energy_joules=NODE_WATTS_MAX * 5)),
    ),
    "meter's energy": (
        lambda: made(meters=[meter(energy_joules=METER_WATTS_MAX * 6)]),
        lambda: made(meters=[meter(energy_joules=METER_WATTS_MAX * 5)]),
    ),
    "meter's volume": (
        lambda: made(meters=[meter(volume_litres=LITRES_PER_SECOND_MAX * 6)]),
        lambda: made(meters=[meter(volume_litres=LITRES_PER_SECOND_MAX * 5)]),
    ),
    "meter's power": (
        lambda: made(meters=[meter(power_watts=-METER_WATTS_MAX * 1.1)]),
        lambda: made(meters=[meter(power_watts=-METER_WATTS_MAX)]),
    ),
    "tokens": (
        lambda: made(engines=[engine(output_tokens=int(TOKENS_PER_SECOND_MAX) * 6)]),
        lambda: made(engines=[engine(output_tokens=int(TOKENS_PER_SECOND_MAX) * 5)]),
    ),
    "register of the future": (
        lambda: made(meters=[meter(registers=[register(NOW + LENGTH + 901)])]),
        lambda: made(meters=[meter(registers=[register(NOW + LENGTH + 900)])]),
    ),
    "register of the past": (
        lambda: made(meters=[meter(registers=[register(NOW - 36 * DAY)])]),
        lambda: made(meters=[meter(registers=[register(NOW - 35 * DAY)])]),
    ),
    "span of the future": (
        lambda: made(spans=[span(to_milliseconds=(NOW + 906) * 1000)]),
        lambda: made(spans=[span(to_milliseconds=(NOW + 905) * 1000)]),
    ),
    "span's amount": (
        lambda: made(spans=[span(amount=METER_WATTS_MAX * (101 + DAY))]),
        lambda: made(spans=[span(amount=METER_WATTS_MAX * (100 + DAY))]),
    ),
}


def assert_refused(it: Bench, sent: wire.Report, reason: str, *, final: bool) -> None:
    """Assert that a report is refused, counted and said, and that the next one is taken."""
    before, entries = it.refused(reason, final=final), len(it.entries)
    it.hear(sent)
    assert len(it.entries) == entries
    assert it.refused(reason, final=final) == before + 1
    refusal = wire.Refusal(start_seconds=sent.start_seconds, reason=reason, final=final)
    assert say(it.receipts, next(SECONDS))[sent.node].refused == [refusal]
    it.hear(report("node-2", start=NOW))
    assert [entry.node for entry in it.entries[entries:]] == ["node-2"]
    assert it.bugs == 0


@pytest.mark.parametrize("name", BOUNDS)
def test_what_nothing_can_measure_is_refused(name: str) -> None:
    refused, taken = BOUNDS[name]
    it = bench()
    assert_refused(it, refused(), "implausible", final=True)
    it.entries.clear()
    it.hear(taken())
    assert len(it.entries) == 1


NUMBERS: Final = (b"1e999", b"-1e999", b"NaN", b"Infinity", b"-1.0", b"1.1e15", b'"1"', b"true")


@pytest.mark.parametrize("number", NUMBERS, ids=bytes.decode)
def test_what_is_no_amount_is_refused(number: bytes) -> None:
    it = bench()
    sent = made(host=wire.Host(covered_milliseconds=1, energy_joules=4321.5))
    payload = wire.encode(sent)
    it.intake.message(topic("report"), payload.replace(b"4321.5", number))
    assert it.entries == []
    assert it.refused("malformed") == 1
    it.intake.message(topic("report"), payload)
    assert len(it.entries) == 1


LISTS: Final[dict[str, Callable[[int], wire.Report]]] = {
    "registers": lambda n: made(meters=[meter(registers=[register(NOW)] * (64 + n))]),
    "requests": lambda n: made(engines=[engine(requests={f"k{i}": 1 for i in range(64 + n)})]),
    "meters": lambda n: made(meters=[meter(f"m{i}") for i in range(1024 + n)]),
    "engines": lambda n: made(engines=[engine(f"e{i}") for i in range(256 + n)]),
    "text": lambda n: made(engines=[engine()], inventory_hash="x" * (128 + n), accelerators=None),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists_and_texts_have_an_end(name: str) -> None:
    it = bench()
    assert_refused(it, LISTS[name](1), "malformed", final=True)
    it.entries.clear()
    it.hear(LISTS[name](0))
    assert len(it.entries) == 1


def with_devices(*names: str, model: str = "h100") -> wire.Inventory:
    devices = [wire.Device(device=n, vendor="nvidia", accelerator_model=model) for n in names]
    return wire.Inventory(devices=devices)


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "a\\", "a\\ b", "\x7f"])
def test_a_name_that_is_no_tag_is_refused(name: str) -> None:
    it = bench()
    assert_refused(it, made(engines=[engine(served_model=name)]), "malformed", final=True)
    it.hear(status("node-1", inventory=with_devices(name)))
    it.hear(status("node-1", inventory=with_devices("gpu-0", model=name)))
    assert it.refused("status_malformed") == 2


def test_a_node_cannot_invent_models_without_end() -> None:
    it = bench()
    limit = quota.LIMITS["served_model"].per_node
    for number in range(limit):
        it.hear(made(engines=[engine(served_model=f"model-{number}")]))
    assert len(it.entries) == limit
    it.entries.clear()
    one_more = made(engines=[engine(served_model="one-more")])
    assert_refused(it, one_more, "quota", final=False)
    # What is known goes on, and so does what the site model names.
    it.entries.clear()
    it.hear(made(engines=[engine(served_model="model-0"), engine("chat", served_model="llama")]))
    it.hear(report("node-2", start=NOW, engines=[engine(served_model="one-more")]))
    assert [entry.node for entry in it.entries] == ["node-1", "node-2"]


@pytest.mark.parametrize("kind", ["meter", "engine", "sensor"])
def test_nor_meters_engines_and_sensors(kind: quota.Kind) -> None:
    it = bench()
    limit = quota.LIMITS[kind].per_node
    names = (f"thing-{number}" for number in itertools.count())
    makers: dict[quota.Kind, Callable[[str], dict[str, object]]] = {
        "meter": lambda name: {"meters": [meter(name)]},
        "engine": lambda name: {"engines": [engine(name)]},
        "sensor": lambda name: {"sensors": [wire.Sensor(sensor=name, covered_milliseconds=1)]},
    }
    make = makers[kind]
    it.intake._rate = quota.Rate(lambda: 0.0 if not it.entries else 1e6 * len(it.entries))
    for name in itertools.islice(names, limit):
        it.hear(made(**make(name)))
    assert len(it.entries) == limit
    assert_refused(it, made(**make("one-more")), "quota", final=False)
    if kind == "meter":
        assert_refused(it, made(spans=[span(thing="one-more")]), "quota", final=False)


def test_nor_devices_and_their_models() -> None:
    it = bench()
    makers: dict[quota.Kind, Callable[[int], wire.Inventory]] = {
        "device": lambda n: with_devices(f"gpu-{n}"),
        "accelerator_model": lambda n: with_devices("gpu-0", model=f"m-{n}"),
    }
    for kind, make in makers.items():
        limit = quota.LIMITS[kind].per_node
        it.intake._names = quota.Names(it.intake._index)
        for number in range(limit):
            it.hear(status("node-1", inventory=make(number)))
        before = it.refused("status_quota", final=False)
        it.hear(status("node-1", inventory=make(limit)))
        assert it.refused("status_quota", final=False) == before + 1, kind
    # The node is still heard, and so is another that brings the same.
    it.hear(status("node-1"), status("node-2", inventory=with_devices("gpu-0", model="m-0")))
    it.hear(made())
    assert len(it.entries) == 1


def test_all_nodes_together_cannot_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(quota.LIMITS, "served_model", quota.Limit(per_node=2, total=3))
    it = bench()
    for node, models in (("node-1", "ab"), ("node-2", "bc")):
        for model in models:
            it.hear(report(node, start=NOW, engines=[engine(served_model=model)]))
    assert len(it.entries) == 4
    third = Bench(clock=lambda: NOW)
    third.intake._names = it.intake._names
    third.hear(status("node-3", inventory=INVENTORY))
    third.hear(report("node-3", start=NOW, engines=[engine(served_model="d")]))
    assert third.refused("quota", final=False) == 1
    third.hear(report("node-3", start=NOW, engines=[engine(served_model="a")]))
    third.hear(report("node-3", start=NOW, engines=[engine("f", served_model="llama")]))
    assert len(third.entries) == 2


def test_a_flood_is_not_looked_at_and_takes_nothing_from_others() -> None:
    it = bench()
    it.intake._rate = quota.Rate(lambda: 0.0)
    for _ in range(quota.BURST_MESSAGES):
        it.hear(made())
    it.entries.clear()
    assert_refused(it, made(), "rate", final=False)
    it.hear(status("node-1"))
    assert it.refused("status_rate", final=False) == 1


def test_a_node_that_waits_is_heard_again() -> None:
    now = 0.0
    rate = quota.Rate(lambda: now)
    while rate.allows("node-1", 2_000):
        pass
    assert rate.allows("node-2", 2_000)
    now = 1.0
    heard = sum(rate.allows("node-1", 2_000) for _ in range(2 * quota.MESSAGES_PER_SECOND))
    assert heard == quota.MESSAGES_PER_SECOND
    now = 2.0
    large = sum(rate.allows("node-1", 10 * quota.MESSAGE_BYTES) for _ in range(1_000))
    assert large == quota.MESSAGES_PER_SECOND / 10


texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\ ,="\n\x00'))


@given(texts, texts, st.floats(allow_nan=False, width=32))
@settings(max_examples=200, deadline=None)
def test_whatever_names_are_taken_can_be_written(device: str, model: str, watts: float) -> None:
    """What is taken has a line that says the same; what has none was refused before."""
    it = bench()
    inventory = with_devices(device[:128], model=model[:128])
    it.hear(status("node-1", inventory=inventory))
    columns = wire.Accelerators(state_milliseconds={"active": [1]}, power_watts=[watts])
    engines = [engine(served_model=model[:128])]
    it.hear(made(inventory=inventory, accelerators=columns, engines=engines))
    for row in (row for entry in it.entries for row in entry.rows):
        assert check_row(row)
    assert it.bugs == 0


def test_what_waits_for_the_store_is_bounded_by_its_size() -> None:
    """As many entries as may wait, each as large as a message may be, would be five gigabytes."""
    it = bench()
    it.intake._rate = quota.Rate(lambda: 0.0)
    one = engine(requests={f"{number:0128}": 1 for number in range(60)})
    it.hear(made(engines=[msgspec.structs.replace(one, served_model=f"{n}") for n in range(20)]))
    (large,) = it.entries
    size = sum(len(row.row) for row in large.rows if isinstance(row, PackedRow))
    assert size > 150_000
    held = Held()
    taken = sum(held.take(large, fresh=False) for _ in range(20_000))
    assert taken * size < 1.1 * HELD_BYTES
    assert sum(len(held.batch()) * [size]) < 15_000_000
    while batch := held.batch():
        held.written(batch)
    assert held.take(large, fresh=True)
