"""The messages: their fields, types and defaults."""

from collections.abc import Iterator
from typing import Final, get_args

import msgspec
from msgspec import Struct

from docs.reference_parts.markdown import paragraph, table
from meterhouse_agent import wire

MESSAGES: Final[tuple[type[Struct], ...]] = (
    wire.Report,
    wire.Accelerators,
    wire.Host,
    wire.Meter,
    wire.Register,
    wire.Engine,
    wire.Histogram,
    wire.Span,
    wire.Sensor,
    wire.Receipt,
    wire.Refusal,
    wire.Status,
    wire.SourceState,
    wire.Inventory,
    wire.Device,
)

# Types whose values have a table of their own.
VALUES: Final[dict[str, tuple[str, ...]]] = {
    "state": wire.STATES,
    "method": get_args(wire.Method),
    "quality": get_args(wire.Quality),
    "kind": get_args(wire.ThingKind),
}
WORDS: Final = {frozenset(values): name for name, values in VALUES.items()}
PLAIN: Final[dict[type[msgspec.inspect.Type], str]] = {
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.IntType: "integer",
    msgspec.inspect.FloatType: "number",
    msgspec.inspect.NoneType: "null",
}


def section() -> Iterator[str]:
    """Return the section of the messages."""
    yield "## Messages\n"
    yield (
        f"MQTT 3.1.1, JSON, schema {wire.SCHEMA}.\n"
        f"Topics are `{wire.PREFIX}/SITE/SLOT/NODE/` and `report`, `receipt` or `status`;\n"
        f"the slot is the CRC-32 of the node's name modulo {wire.SLOTS}, as two digits.\n"
        f"A message has at most {wire.MAX_PAYLOAD_BYTES} bytes, a node at most {wire.MAX_DEVICES}"
        " devices.\n"
        "Fields that have their default are left out.\n"
        f"Names of sites, nodes, meters, engines and sensors match `{wire.NAME_PATTERN}`.\n"
    )
    yield table(
        ("type", "values"),
        ((name, ", ".join(f"`{one}`" for one in values)) for name, values in VALUES.items()),
    )
    for struct in MESSAGES:
        yield f"### {struct.__name__}\n"
        yield paragraph(struct)
        yield table(
            ("field", "type", "default"),
            (
                (f"`{field.encode_name}`", f"`{_type(field.type)}`", _default(field))
                for field in msgspec.structs.fields(struct)
            ),
        )


def _type(annotation: object) -> str:
    """Name a type as the wire knows it: without the bounds that msgspec hangs on it."""
    return _info(msgspec.inspect.type_info(annotation))


def _info(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(_info(one) for one in types)
        case msgspec.inspect.ListType(item_type=item):
            return f"[{_info(item)}]"
        case msgspec.inspect.TupleType(item_types=items):
            return "[" + ", ".join(_info(one) for one in items) + "]"
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return f"{{{_info(key)}: {_info(value)}}}"
        case msgspec.inspect.StructType(cls=struct):
            return struct.__name__
        case _:
            return _plain(info)


def _plain(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.LiteralType(values=values):
            texts = [str(value) for value in values]
            return WORDS.get(frozenset(texts)) or " or ".join(f'"{text}"' for text in texts)
        case msgspec.inspect.StrType(pattern=pattern):
            return "text" if pattern is None else "name"
        case _:
            return PLAIN[type(info)]


def _default(field: "msgspec.structs.FieldInfo") -> str:
    if field.default is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default).decode()}`"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "must be there"
