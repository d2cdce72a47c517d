"""The contract: what agents and the collector say to each other, and on which topics.

Imports nothing of ours. Messages are JSON; a report is columnar: one list per metric, one entry
per device, in the order of the inventory whose hash the report carries.
An empty column was not measured; ``None`` in a column was not measured on that device.
Columns travel under the short names of ``ON_THE_WIRE``, and whole millions in them with an
exponent (``1980e6``): most of a report's bytes are its columns.
A released message shape is never edited: a new one gets a new ``SCHEMA`` and new golden files.
What comes by the thousand is left out of garbage collection: messages form no cycles.
"""

import asyncio
import copy
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple, TypeVar, cast, get_args

import msgspec
from msgspec import Meta, Raw, Struct

SCHEMA: Final = 1
PREFIX: Final = "meterhouse/v1"
SLOTS: Final = 64
INTERVAL_LENGTHS_SECONDS: Final = (1, 2, 5, 10, 15, 30, 60)
QUARTER_SECONDS: Final = 900
MAX_PAYLOAD_BYTES: Final = 256 * 1024
MAX_TOPIC_BYTES: Final = 512
TOPIC_LEVELS: Final = 6
MAX_DEVICES: Final = 256
MAX_SENSORS: Final = 256
MAX_XIDS: Final = 32
MAX_TEXT: Final = 128
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

T = TypeVar("T")

State = Literal["active", "held_idle", "free", "unhealthy", "unknown"]
STATES: Final[tuple[State, ...]] = ("active", "held_idle", "free", "unhealthy", "unknown")
UnhealthyReason = Literal["failed", "lost", "planned", "quarantined"]
UNHEALTHY_REASONS: Final[tuple[UnhealthyReason, ...]] = get_args(UnhealthyReason)
Method = Literal["counter", "integrated", "interpolated", "estimated", "nameplate"]
Quality = Literal["ok", "estimated", "stale", "not_supported", "missing"]
ThingKind = Literal["node", "meter", "engine"]

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Amount = Annotated[float, Meta(ge=0.0, le=1e15)]
Gauge = Annotated[float, Meta(ge=-1e15, le=1e15)]
Seconds = Annotated[int, Meta(ge=0, le=2**40)]
Column = Annotated[list[Gauge | None], Meta(max_length=MAX_DEVICES)]
Xids = Annotated[list[Count], Meta(max_length=MAX_XIDS)]

# What the columns of accelerators are called in a message: the unit by its symbol, which a ratio
# and a count have none of.
ON_THE_WIRE: Final[Mapping[str, str]] = {
    "state_milliseconds": "state_ms",
    "state_joules": "state_j",
    "power_watts": "power_w",
    "power_watts_max": "power_w_max",
    "utilization_ratio": "utilization",
    "sm_activity_ratio": "sm_activity",
    "tensor_activity_ratio": "tensor_activity",
    "memory_used_bytes": "memory_used_b",
    "temperature_celsius": "temperature_c",
    "memory_temperature_celsius": "memory_temperature_c",
    "sm_clock_hertz": "sm_clock_hz",
    "throttled_milliseconds": "throttled_ms",
    "throttled_power_milliseconds": "throttled_power_ms",
    "throttled_thermal_milliseconds": "throttled_thermal_ms",
    "ecc_corrected_errors": "ecc_corrected",
    "ecc_uncorrected_errors": "ecc_uncorrected",
}


class WireError(ValueError):
    """A message or topic that is not of this contract; the text says what was found."""


class NewerSchemaError(WireError):
    """A message of a schema this side does not know yet: to be sent again after an upgrade."""


class MessageKind(StrEnum):
    """The last level of a topic."""

    REPORT = "report"
    RECEIPT = "receipt"
    STATUS = "status"


class Address(NamedTuple):
    """Who a topic speaks of."""

    site: str
    slot: str
    node: str
    kind: MessageKind


class Accelerators(Struct, rename=ON_THE_WIRE, omit_defaults=True, kw_only=True, gc=False):
    """The accelerators of one node in one interval, as columns.

    ``state_milliseconds`` has a column for each state that any device was in; what a device's
    states leave of the interval was not covered. ``state_joules`` has the same columns: the energy
    measured while the device was in that state. ``throttled_milliseconds`` counts a clock lowered
    for any cause, those for power and for heat with it: two causes at once count in both, and a
    cause that is neither only in the first. ``unhealthy_reasons`` begin, by the column of a device,
    with a word of ``UNHEALTHY_REASONS``; after a colon follows what the driver said. ``xids`` are
    the fault codes that the driver told of a device, by its column, in their order.
    """

    state_milliseconds: dict[State, list[Count]] = {}
    state_joules: dict[State, list[Amount | None]] = {}
    energy_method: Method | list[Method] = "counter"
    unhealthy_reasons: Annotated[dict[int, Text], Meta(max_length=MAX_DEVICES)] = {}
    power_watts: Column = []
    power_watts_max: Column = []
    utilization_ratio: Column = []
    sm_activity_ratio: Column = []
    tensor_activity_ratio: Column = []
    memory_used_bytes: Column = []
    temperature_celsius: Column = []
    memory_temperature_celsius: Column = []
    sm_clock_hertz: Column = []
    throttled_milliseconds: Column = []
    throttled_power_milliseconds: Column = []
    throttled_thermal_milliseconds: Column = []
    ecc_corrected_errors: Column = []
    ecc_uncorrected_errors: Column = []
    xids: Annotated[dict[int, Xids], Meta(max_length=MAX_DEVICES)] = {}


class Host(Struct, omit_defaults=True, kw_only=True, gc=False):
    """A node's own readings; ``energy_joules`` is the whole node's, where something meters it."""

    covered_milliseconds: Count
    energy_joules: Amount | None = None
    energy_method: Method = "counter"
    cpu_energy_joules: Amount | None = None
    cpu_utilization_ratio: Gauge | None = None
    memory_used_bytes: Amount | None = None
    temperature_celsius: Gauge | None = None


class Register(Struct, omit_defaults=True, kw_only=True, gc=False):
    """A meter's absolute reading, of energy or of volume; ``epoch`` counts its resets."""

    at_milliseconds: Count
    register_joules: Amount | None = None
    register_litres: Amount | None = None
    epoch: Count


class Meter(Struct, omit_defaults=True, kw_only=True, gc=False):
    """One meter in one interval, with its register each quarter hour and at every reset.

    It counts energy or, of water or fuel, a volume, never both; ``energy_method`` and ``quality``
    are those of either.
    """

    meter: Name
    covered_milliseconds: Count
    energy_joules: Amount | None = None
    volume_litres: Amount | None = None
    energy_method: Method = "counter"
    quality: Quality = "ok"
    power_watts: Gauge | None = None
    power_watts_max: Gauge | None = None
    registers: Annotated[list[Register], Meta(max_length=64)] = []


class Sensor(Struct, omit_defaults=True, kw_only=True, gc=False):
    """One sensor of the facility in one interval: a temperature as its mean, or a contact.

    ``contact_milliseconds`` says how long of what was covered the contact was in the state that
    means alarm.
    """

    sensor: Name
    covered_milliseconds: Count
    temperature_celsius: Gauge | None = None
    temperature_celsius_max: Gauge | None = None
    contact_milliseconds: Count | None = None


class Histogram(Struct, omit_defaults=True, kw_only=True, gc=False):
    """Observations of one latency: ``counts`` per bucket, the last above the last edge."""

    edges_seconds: Annotated[list[Gauge], Meta(max_length=64)]
    counts: Annotated[list[Count], Meta(max_length=65)]
    sum_seconds: Amount


class Engine(Struct, omit_defaults=True, kw_only=True, gc=False):
    """One inference engine and served model in one interval; ``input_tokens`` include cached."""

    engine: Name
    served_model: Text
    covered_milliseconds: Count
    input_tokens: Count | None = None
    cached_input_tokens: Count | None = None
    output_tokens: Count | None = None
    requests: Annotated[dict[Text, Count], Meta(max_length=64)] = {}
    running_requests: Gauge | None = None
    waiting_requests: Gauge | None = None
    kv_cache_used_ratio: Gauge | None = None
    latency: Annotated[dict[Text, Histogram], Meta(max_length=64)] = {}
    quality: Quality = "ok"


class Span(Struct, omit_defaults=True, kw_only=True, gc=False):
    """An amount over a stretch that no single interval covers: a restart, a slow meter."""

    kind: ThingKind
    thing: Name
    quantity: Text
    from_milliseconds: Count
    to_milliseconds: Count
    amount: Amount
    method: Method
    reason: Text
    device: Text | None = None
    served_model: Text | None = None


class Report(Struct, omit_defaults=True, kw_only=True, gc=False):
    """What one agent measured in one interval, complete in itself."""

    schema: int
    site: Name
    node: Name
    start_seconds: Seconds
    length_seconds: Seconds
    inventory_hash: Text
    accelerators: Accelerators | None = None
    host: Host | None = None
    meters: Annotated[list[Meter], Meta(max_length=1024)] = []
    engines: Annotated[list[Engine], Meta(max_length=256)] = []
    spans: Annotated[list[Span], Meta(max_length=4096)] = []
    sensors: Annotated[list[Sensor], Meta(max_length=MAX_SENSORS)] = []
    waiting: Count = 0
    waiting_since_seconds: Seconds | None = None


class Refusal(Struct, omit_defaults=True, kw_only=True):
    """A report that is not in the database, and whether sending it again can help."""

    start_seconds: Seconds
    reason: Text
    final: bool


class Receipt(Struct, omit_defaults=True, kw_only=True):
    """What is in the database; ``stored`` are inclusive ranges of starts, one grid step apart."""

    schema: int
    node: Name
    length_seconds: Seconds
    stored: list[tuple[Seconds, Seconds]] = []
    refused: list[Refusal] = []
    credit: Count = 0
    inventory_wanted: list[Text] = []


class Device(Struct, omit_defaults=True, kw_only=True, gc=False):
    """One accelerator as it is installed; ``device`` is its lasting name on the node."""

    device: Text
    vendor: Text
    accelerator_model: Text
    serial: Text = ""
    memory_total_bytes: Amount | None = None
    capabilities: Annotated[list[Text], Meta(max_length=64)] = []


class Inventory(Struct, omit_defaults=True, kw_only=True, gc=False):
    """What a node has to measure; the order of ``devices`` is the order of a report's columns."""

    devices: Annotated[list[Device], Meta(max_length=MAX_DEVICES)] = []
    meters: Annotated[list[Name], Meta(max_length=1024)] = []
    engines: Annotated[list[Name], Meta(max_length=256)] = []
    sensors: Annotated[list[Name], Meta(max_length=MAX_SENSORS)] = []


class SourceState(Struct, omit_defaults=True, kw_only=True, gc=False):
    """How one source of an agent fares: ``ok``, ``absent``, ``failed`` or ``unresponsive``."""

    source: Text
    state: Literal["ok", "absent", "failed", "unresponsive"]
    detail: Annotated[str, Meta(max_length=500)] = ""


class Status(Struct, omit_defaults=True, kw_only=True, gc=False):
    """Who an agent is and whether it lives; retained, and set to offline by the last will."""

    schema: int
    site: Name
    node: Name
    state: Literal["online", "offline"]
    version: Text
    at_seconds: Seconds
    inventory_hash: Text = ""
    inventory: Inventory | None = None
    sources: Annotated[list[SourceState], Meta(max_length=1024)] = []


_MILLION: Final = 1_000_000
_NAME: Final = re.compile(NAME_PATTERN)


class _Head(Struct):
    schema: int


_HEAD: Final = msgspec.json.Decoder(_Head)
_REPORT: Final = msgspec.json.Decoder(Report)
_RECEIPT: Final = msgspec.json.Decoder(Receipt)
_STATUS: Final = msgspec.json.Decoder(Status)
_ENCODER: Final = msgspec.json.Encoder()


def is_name(text: str) -> bool:
    """Tell whether a text can name a site, node, meter, engine or sensor."""
    return _NAME.match(text) is not None and "\n" not in text


def slot_of(node: str) -> str:
    """Return the slot of a node, ``00`` to ``63``: the CRC-32 of its name modulo 64."""
    return f"{zlib.crc32(node.encode()) % SLOTS:02d}"


def topic(site: str, node: str, kind: MessageKind) -> str:
    """Return the topic on which a node's messages of one kind travel."""
    return f"{PREFIX}/{site}/{slot_of(node)}/{node}/{kind.value}"


def parse_topic(text: str) -> Address:
    """Take a topic apart; raise ``WireError`` if it is not ours or its slot is not the node's."""
    parts = text.split("/")
    if len(parts) != TOPIC_LEVELS or "/".join(parts[:2]) != PREFIX:
        raise WireError(f"topic {text[:200]!r}: expected {PREFIX}/SITE/SLOT/NODE/KIND")
    site, slot, node, kind = parts[2:]
    if not (is_name(site) and is_name(node)):
        raise WireError(f"topic {text[:200]!r}: site and node must match {NAME_PATTERN}")
    if slot != slot_of(node):
        raise WireError(f"topic {text[:200]!r}: slot {slot} is not the node's ({slot_of(node)})")
    try:
        return Address(site, slot, node, MessageKind(kind))
    except ValueError:
        raise WireError(f"topic {text[:200]!r}: {kind!r} is no kind of message") from None


def encode(message: Report | Receipt | Status) -> bytes:
    """Encode a message as JSON."""
    if isinstance(message, Report) and message.accelerators is not None:
        columns = _short(message.accelerators)
        message = msgspec.structs.replace(message, accelerators=columns)
    return _ENCODER.encode(message)


def _short(columns: Accelerators) -> Accelerators:
    """Return columns, for the encoder alone, whose numbers are as short as they can be written."""
    short = copy.copy(columns)
    short.state_joules = {s: _shortest(column) for s, column in columns.state_joules.items()}
    for name in ON_THE_WIRE:
        column = getattr(columns, name)
        if isinstance(column, list):
            setattr(short, name, _shortest(column))
    return short


def _shortest(column: Sequence[float | None]) -> list[float | None]:
    """Write whole numbers without a point, and whole millions without their zeros."""
    short: list[float | Raw | None] = []
    for value in column:
        if value is None or value % 1:
            short.append(value)
        elif abs(value) >= _MILLION and value % _MILLION == 0:
            short.append(Raw(b"%de6" % (value // _MILLION)))
        else:
            short.append(int(value))
    return cast("list[float | None]", short)


def decode_report(payload: bytes) -> Report:
    """Decode a report; raise ``WireError`` for anything else."""
    report = _decode(_REPORT, payload)
    if report.schema != SCHEMA:
        _raise_if_newer(payload)
        raise WireError(f"schema {report.schema}: no such schema")
    return report


def decode_receipt(payload: bytes) -> Receipt:
    """Decode a receipt; raise ``WireError`` for anything else."""
    return _decode(_RECEIPT, payload)


def decode_status(payload: bytes) -> Status:
    """Decode a status; raise ``WireError`` for anything else."""
    return _decode(_STATUS, payload)


def _decode(decoder: "msgspec.json.Decoder[T]", payload: bytes) -> T:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise WireError(f"payload of {len(payload)} bytes: at most {MAX_PAYLOAD_BYTES} are allowed")
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        _raise_if_newer(payload)
        raise WireError(str(error)[:500]) from None


def _raise_if_newer(payload: bytes) -> None:
    try:
        schema = _HEAD.decode(payload).schema
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    if schema > SCHEMA:
        raise NewerSchemaError(f"schema {schema}: this side knows up to {SCHEMA}")


def with_backlog(report: bytes, waiting: int, since_seconds: int | None) -> bytes:
    """Add to an encoded report how many wait in the spool, and since when."""
    if waiting == 0 or since_seconds is None:
        return report
    return report[:-1] + b',"waiting":%d,"waiting_since_seconds":%d}' % (waiting, since_seconds)


def inventory_hash(inventory: Inventory) -> str:
    """Return the name of an inventory: 16 hex digits of the SHA-256 of its JSON."""
    return hashlib.sha256(_ENCODER.encode(inventory)).hexdigest()[:16]


def frame(topic_text: str, payload: bytes) -> bytes:
    """Encode one message for a stream socket: two 4-byte lengths, topic, payload."""
    head = topic_text.encode()
    return len(head).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + head + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Read one message from a stream socket; raise ``WireError`` where its lengths are absurd.

    Raises ``asyncio.IncompleteReadError`` at the end of the stream.
    """
    head = await reader.readexactly(8)
    topic_bytes, payload_bytes = (int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big"))
    if topic_bytes > MAX_TOPIC_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise WireError(f"frame of {topic_bytes} + {payload_bytes} bytes is too large")
    body = await reader.readexactly(topic_bytes + payload_bytes)
    return body[:topic_bytes].decode(errors="replace"), body[topic_bytes:]
