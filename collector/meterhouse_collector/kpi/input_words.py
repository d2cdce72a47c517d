"""What an input of a formula takes, in words: numbers with their unit, texts, lists. Pure."""

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal, Union

from pydantic import BaseModel

from meterhouse_collector.kpi.units import unit_of

_NUMBERS: Final = (float, Decimal)
_PLAIN: Final[Mapping[object, str]] = {
    **dict.fromkeys(_NUMBERS, "number"),
    int: "whole number",
    bool: "true or false",
    str: "text",
    date: "date",
}
_MANY: Final[Mapping[object, str]] = {Sequence: "list of ({})", Mapping: "object of name: {}"}


def words_of(name: str, hint: object) -> str:
    """Return what an input takes, from its name and type; a type without words by its own name."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if (entry := entry_of(hint)) is not None:
        inside = (f"{field}: {words_of(field, kind)}" for field, kind in hints_of(entry).items())
        return f"list of {{{', '.join(inside)}}}"
    if origin is Literal:
        return " or ".join(str(each) for each in arguments)
    if origin in (Union, types.UnionType):
        known = [each for each in arguments if each is not type(None)]
        both = any(each in _NUMBERS for each in known)
        text = words_of(name, float if both else known[0])
        return text if len(known) == len(arguments) else f"{text} or null"
    if origin in _MANY:
        return _MANY[origin].format(words_of(name, arguments[-1]))
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return f"object with the keys of [[{hint.__name__.lower()}]] in the site file"
    own = hint.__name__ if isinstance(hint, type) else str(hint)
    word = _PLAIN.get(hint, own)
    return _number(name, word) if hint in (*_NUMBERS, int) else word


def _number(name: str, word: str) -> str:
    unit = unit_of(name)
    if unit is None or unit == "count":
        return word
    if unit == "ratio":
        return f"{word} as a ratio"
    return f"{word} in {unit.replace('money', 'currency').replace('_', ' ')}"


def hints_of(function: object) -> dict[str, object]:
    """Return the types of the inputs of a formula, or of the fields of an entry, by name."""
    hints = typing.get_type_hints(function)
    hints.pop("return", None)
    return hints


def entry_of(hint: object) -> Any:  # noqa: ANN401 - a NamedTuple class has no type of its own
    """Return the NamedTuple that a list has for its entries, or None."""
    for inner in typing.get_args(hint):
        if isinstance(inner, type) and issubclass(inner, tuple) and hasattr(inner, "_fields"):
            return inner
    return None
