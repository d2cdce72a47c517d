"""Packed rows for people: their JSON with names for what stands in columns. Pure."""

from typing import Any, Final

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, SpanRow

_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "node": msgspec.json.Decoder(NodeRow),
    "meter": msgspec.json.Decoder(MeterRow),
    "engine": msgspec.json.Decoder(EngineRow),
    "span": msgspec.json.Decoder(SpanRow),
    "register": msgspec.json.Decoder(wire.Register),
}
_COLUMNS: Final = ("milliseconds", "joules")


def decode(measurement: str, text: str) -> Any:  # noqa: ANN401 - of the measurement's type
    """Return the struct of a packed row, None where it cannot be read."""
    try:
        return _DECODERS[measurement].decode(text)
    except msgspec.MsgspecError:
        return None


def readable(row: msgspec.Struct) -> dict[str, object]:
    """Return a row as JSON has it, with names for states and for the columns of shares."""
    found: dict[str, object] = msgspec.to_builtins(row)
    if isinstance(row, NodeRow):
        found["shares"] = [_named(msgspec.structs.asdict(share)) for share in row.shares]
    return found


def _named(share: dict[str, Any]) -> dict[str, object]:
    named = {name: dict(zip(wire.STATES, share[name], strict=True)) for name in _COLUMNS}
    return {**share, **named}
