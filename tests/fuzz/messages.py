"""Messages made up from bytes, and what must hold of each that is read."""

import asyncio
from typing import Final

from meterhouse_agent import wire
from tests.collector.collecting import INVENTORY, LENGTH, Bench, status, topic
from tests.fuzz.draw import Draw, check_error
from tests.fuzz.lines import check_row

_DECODERS: Final = (wire.decode_report, wire.decode_receipt, wire.decode_status)
_NAMES: Final = ("node-1", "node-2", "utility", "chat", "", "a\n", "A", "m" * 64, "m" * 63)
_KINDS: Final = (wire.MessageKind.REPORT, wire.MessageKind.STATUS, wire.MessageKind.RECEIPT)
_AGAIN_AFTER: Final = 2_000
# By its own clock, so that the same bytes always do the same.
NOW: Final = 1_780_000_000


def wire_bytes(data: bytes) -> None:
    """Decode bytes as each kind of message: one of the contract, the same again, or an error."""
    for decode in _DECODERS:
        try:
            message = decode(data)
        except wire.WireError as error:
            check_error(error, longest=600)
            continue
        assert decode(wire.encode(message)) == message
    text = data.decode(errors="replace")
    try:
        address = wire.parse_topic(text)
    except wire.WireError:
        return
    assert wire.topic(address.site, address.node, address.kind) == text


def frames(data: bytes) -> None:
    """Read frames from a stream until it ends or is refused."""
    asyncio.run(_read_all(data))


async def _read_all(data: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    try:
        while True:
            head, payload = await wire.read_frame(reader)
            assert len(head) <= wire.MAX_TOPIC_BYTES
            assert len(payload) <= wire.MAX_PAYLOAD_BYTES
    except (wire.WireError, asyncio.IncompleteReadError):
        return


class Intaking:
    """An intake that hears one made-up message after the other, and is made anew at times."""

    def __init__(self) -> None:
        self._bench = Bench(detail_every=LENGTH, clock=lambda: NOW)
        self._heard = _AGAIN_AFTER

    def __call__(self, data: bytes) -> None:
        """Send what the bytes make up; assert that it is taken or refused, and can be written."""
        if self._heard >= _AGAIN_AFTER:
            self._heard = 0
            self._bench = Bench(detail_every=LENGTH, clock=lambda: NOW)
            self._bench.hear(status("node-1"), status("node-2"))
        self._heard += 1
        draw, bench = Draw(data), self._bench
        where, payload = drawn_message(draw)
        bench.intake.message(where, payload)
        assert bench.bugs == 0, (where, payload)
        entries, bench.entries[:] = list(bench.entries), []
        rows, bench.rows[:] = list(bench.rows), []
        for row in [*rows, *(row for entry in entries for row in entry.rows)]:
            assert check_row(row), row
        bench.receipts.say(float(self._heard), room=100, send=_is_receipt)


def _is_receipt(_: str, payload: bytes) -> bool:
    wire.decode_receipt(payload)
    return True


def drawn_message(draw: Draw) -> tuple[str, bytes]:
    """Make up a topic and a payload, most of them nearly good."""
    kind, node = draw.pick(_KINDS[:2]), draw.pick(("node-1", "node-2", "node-3"))
    where = draw.text(60) if draw.chance(16) else topic(kind.value, node)
    if draw.chance(4):
        return where, draw.rest()
    made = _drawn_report(draw, node) if kind is _KINDS[0] else _drawn_status(draw, node)
    payload = wire.encode(made)
    if draw.chance(8):
        # A piece is replaced by another: what JSON can hold and no struct of ours would write.
        at = draw.integer(2) % len(payload)
        payload = payload[:at] + draw.take(draw.below(20)) + payload[at + draw.below(20) :]
    return where, payload


def _drawn_report(draw: Draw, node: str) -> wire.Report:
    start = NOW + LENGTH * (draw.integer(4) if draw.chance(8) else -draw.below(200))
    report = wire.Report(
        schema=wire.SCHEMA,
        site="site-a",
        node=node,
        start_seconds=abs(start),
        length_seconds=LENGTH,
        inventory_hash=draw.text() if draw.chance(8) else wire.inventory_hash(INVENTORY),
        waiting=abs(draw.integer(4)),
    )
    if draw.chance():
        report.accelerators = _drawn_accelerators(draw)
    if draw.chance():
        report.host = wire.Host(covered_milliseconds=_ms(draw), energy_joules=draw.number())
    report.meters = [_drawn_meter(draw) for _ in range(draw.below(3))]
    report.engines = [_drawn_engine(draw) for _ in range(draw.below(3))]
    report.spans = [_drawn_span(draw) for _ in range(draw.below(3))]
    return report


def _ms(draw: Draw) -> int:
    return draw.integer() if draw.chance(8) else abs(draw.integer(2)) % 5_100


def _drawn_accelerators(draw: Draw) -> wire.Accelerators:
    made = wire.Accelerators()
    entries = 2 if draw.chance() else draw.below(4)
    for _ in range(draw.below(4)):
        state = draw.pick(wire.STATES)
        made.state_milliseconds[state] = [_ms(draw) for _ in range(entries)]
        if draw.chance():
            made.state_joules[state] = [_maybe(draw) for _ in range(entries)]
    for name in ("power_watts", "utilization_ratio", "temperature_celsius"):
        if draw.chance():
            setattr(made, name, [_maybe(draw) for _ in range(2 if draw.chance() else entries)])
    if draw.chance(4):
        made.unhealthy_reasons[draw.integer(2)] = draw.text()
    return made


def _maybe(draw: Draw) -> float | None:
    return None if draw.chance(4) else draw.number()


def _drawn_meter(draw: Draw) -> wire.Meter:
    meter = wire.Meter(meter=draw.pick(_NAMES), covered_milliseconds=_ms(draw))
    if draw.chance():
        meter.energy_joules = draw.number()
    if draw.chance(4):
        meter.volume_litres = draw.number()
    if draw.chance(4):
        at, joules = draw.integer(), draw.number()
        register = wire.Register(at_milliseconds=at, register_joules=joules, epoch=draw.below(4))
        meter.registers = [register] * draw.below(4)
    return meter


def _drawn_engine(draw: Draw) -> wire.Engine:
    engine = wire.Engine(
        engine=draw.pick(_NAMES), served_model=draw.text(), covered_milliseconds=_ms(draw)
    )
    engine.output_tokens = draw.integer()
    engine.requests = {draw.text(): draw.integer() for _ in range(draw.below(3))}
    if draw.chance():
        engine.latency[draw.text()] = wire.Histogram(
            edges_seconds=[draw.number() for _ in range(draw.below(4))],
            counts=[draw.integer(2) for _ in range(draw.below(5))],
            sum_seconds=draw.number(),
        )
    return engine


def _drawn_span(draw: Draw) -> wire.Span:
    begins = NOW * 1000 - abs(draw.integer(4))
    return wire.Span(
        kind=draw.pick(("node", "meter", "engine")),
        thing=draw.pick(_NAMES),
        quantity=draw.pick(("energy_joules", draw.text())),
        from_milliseconds=draw.integer() if draw.chance(4) else begins,
        to_milliseconds=draw.integer() if draw.chance(4) else begins + draw.integer(3),
        amount=draw.number(),
        method="interpolated",
        reason=draw.text(),
        device=draw.text() if draw.chance() else None,
    )


def _drawn_status(draw: Draw, node: str) -> wire.Status:
    devices = [
        wire.Device(device=draw.text(), vendor=draw.text(), accelerator_model=draw.text())
        for _ in range(draw.below(4))
    ]
    inventory = wire.Inventory(devices=devices)
    has = INVENTORY if draw.chance() else inventory
    return status(node, inventory=has, version=draw.text(), at_seconds=NOW)
