"""The command ``formula``: any formula of the catalogue, from inputs in JSON."""

import argparse
import difflib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.formulas import FORMULAS
from meterhouse_collector.kpi.input_words import entry_of, hints_of, words_of
from meterhouse_collector.kpi.kpis import KPIS
from meterhouse_collector.kpi.units import factor, spelled_out, unit_of
from meterhouse_collector.kpi.value import Reasoned

ROWS: Final[dict[str, Kpi]] = {row.name: row for row in KPIS}
# Strict, so that "5" is no number and true is no 1; JSON has no NaN.
_STRICT: Final = ConfigDict(
    extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
)
# What is longer moves the rest of its own line only.
_COLUMN_MAX: Final = 60
_NAMING: Final = {"missing": "is missing", "extra_forbidden": "is no input of this formula"}
# What pydantic calls a value of the wrong type, and what is needed instead.
_TYPES: Final = {
    "float_type": "number",
    "decimal_type": "number",
    "is_instance_of": "number",
    "finite_number": "finite number",
    "int_type": "whole number",
    "int_from_float": "whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "list",
    "dict_type": "object",
    "model_type": "object",
    "date_type": "date",
}
_SHOWN_CHARACTERS: Final = 40


class FormulaError(ValueError):
    """A formula that does not exist, or inputs that it cannot take: one line for each fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def add_parser(commands: Any, parents: Sequence[argparse.ArgumentParser]) -> None:  # noqa: ANN401 - argparse has no public type for it
    """Add the command ``formula`` to the program."""
    parser = commands.add_parser(
        "formula",
        parents=parents,
        help="compute one formula from a JSON object on stdin, or list them",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="a name that --list shows")
    parser.add_argument("--list", action="store_true", help="list all formulas, or NAME in full")
    parser.set_defaults(do=formula)


def formula(options: argparse.Namespace) -> int:
    """Print the answer of a formula, or the list of them."""
    if options.list:
        lines = listing() if options.name is None else full(options.name)
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    if options.name is None:
        raise FormulaError(["the name of a formula is missing; --list shows them"])
    known(options.name)
    sys.stdout.write(json.dumps(answer(options.name, sys.stdin.read())) + "\n")
    return 0


def answer(name: str, text: str) -> dict[str, object]:
    """Compute a formula from a JSON object of its inputs; raise FormulaError for what is wrong."""
    name = known(name)
    function = FORMULAS[name]
    inputs = _object(text)
    hints = hints_of(function)
    converted = _converted(inputs, hints, "")
    try:
        model = _model(function, hints).model_validate_json(json.dumps(converted, default=float))
    except ValidationError as error:
        raise FormulaError([*_faults(error), *_allowed(name, error)]) from None
    try:
        found = function(**{field: getattr(model, field) for field in hints})
    except ValidationError as error:
        raise FormulaError(_faults(error)) from None
    except (ValueError, ArithmeticError) as error:
        raise FormulaError([str(error) or type(error).__name__]) from None
    value, reason = found if isinstance(found, Reasoned) else (_plain(found), None)
    if isinstance(value, dict):
        reason = value.pop("reason", None) or _unsaid(value)
    return {"name": name, "value": _plain(value), "unit": ROWS[name].unit, "reason": reason}


def listing() -> Iterator[str]:
    """Return a line for each formula: name, inputs, unit of the output, and what it is for."""
    rows = [
        (name, ROWS[name].unit, " ".join(_inputs(function)), _meaning(function))
        for name, function in FORMULAS.items()
    ]
    head = ("name", "unit", "inputs", "meaning")
    widths = [min(_COLUMN_MAX, max(map(len, column))) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        yield "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()


def full(name: str) -> Iterator[str]:
    """Return all that is said of one formula: inputs with units, formula and source."""
    name = known(name)
    function, row = FORMULAS[name], ROWS[name]
    yield f"{name}, in {row.unit}"
    yield inspect.getdoc(function) or ""
    yield "inputs:"
    for line in inputs_of(function):
        yield f"    {line}"
    yield f"formula: {row.formula}"
    yield f"numerator: {row.numerator}"
    yield f"denominator: {row.denominator}"
    yield f"source: {row.source}"


def inputs_of(function: Callable[..., object]) -> Iterator[str]:
    """Return each input of a formula with its unit, and the inputs inside its lists."""
    parameters = inspect.signature(function).parameters
    for name, hint in hints_of(function).items():
        default = parameters[name].default
        text = f"{name}: {words_of(name, hint)}"
        if default is not inspect.Parameter.empty:
            text += f", {json.dumps(default, default=str)} unless given"
        yield text


def _inputs(function: Callable[..., object]) -> Iterator[str]:
    """Return the names of the inputs, with what their lists hold; optional ones in brackets."""
    parameters = inspect.signature(function).parameters
    for name, hint in hints_of(function).items():
        entry = entry_of(hint)
        text = name if entry is None else f"{name}({', '.join(hints_of(entry))})"
        yield text if parameters[name].default is inspect.Parameter.empty else f"[{text}]"


def _meaning(function: Callable[..., object]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]


def known(given: str) -> str:
    """Return the name of a formula, however it is capitalized; raise FormulaError for none."""
    name = given.lower().replace("-", "_")
    if name in FORMULAS:
        return name
    near = difflib.get_close_matches(name, FORMULAS, n=3)
    said = [each for each, row in ROWS.items() if _speaks_of(given, each, row)]
    hint = f"; near it: {', '.join(dict.fromkeys([*near, *said]))}" if near or said else ""
    raise FormulaError([f"no formula has the name {given}{hint}; --list shows them"])


def _speaks_of(given: str, name: str, row: Kpi) -> bool:
    text = f"{name} {row.formula} {row.source} {inspect.getdoc(FORMULAS[name]) or ''}"
    return re.search(rf"(?<![a-z]){re.escape(given)}(?![a-z])", text, re.IGNORECASE) is not None


def _object(text: str) -> dict[str, object]:
    try:
        found = json.loads(text, parse_float=Decimal, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise FormulaError([f"the inputs are no JSON: {error}"]) from None
    if not isinstance(found, dict):
        raise FormulaError(["the inputs are no JSON object"])
    return found


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FormulaError([f"{name}: given twice" for name in twice])
    return dict(pairs)


def _model(function: Callable[..., object], hints: Mapping[str, object]) -> type[BaseModel]:
    parameters = inspect.signature(function).parameters
    fields: dict[str, Any] = {
        name: (
            hint,
            ... if (default := parameters[name].default) is inspect.Parameter.empty else default,
        )
        for name, hint in hints.items()
    }
    return create_model("Inputs", __config__=_STRICT, **fields)


def _converted(
    inputs: Mapping[str, object], hints: Mapping[str, object], place: str
) -> dict[str, object]:
    """Return the inputs under the names and in the units that the formula has for them."""
    found: dict[str, object] = {}
    for given, value in inputs.items():
        name, scale = _target(given, hints)
        if name in found:
            raise FormulaError([f"{place}{name}: given twice, also as {given}"])
        entry = entry_of(hints.get(name))
        if entry is not None and isinstance(value, list):
            hints_inside = hints_of(entry)
            found[name] = [
                _converted(each, hints_inside, f"{place}{name}.{at}.")
                if isinstance(each, dict)
                else each
                for at, each in enumerate(value)
            ]
        else:
            found[name] = _scaled(value, scale)
    return found


def _target(given: str, hints: Mapping[str, object]) -> tuple[str, Decimal]:
    if given in hints:
        return given, Decimal(1)
    spelled = spelled_out(given)
    if (unit := unit_of(spelled)) is None:
        return given, Decimal(1)
    # Only the name may have capitals: with those of its unit, mWh would be read as MWh.
    stem = spelled.removesuffix(unit).lower()
    for name in hints:
        own = unit_of(name)
        if own is None or name.removesuffix(own) != stem:
            continue
        if (scale := factor(unit, own)) is not None:
            return name, scale
    return given, Decimal(1)


def _scaled(value: object, scale: Decimal) -> object:
    if scale == 1:
        return value
    if isinstance(value, list):
        return [_scaled(each, scale) for each in value]
    if isinstance(value, dict):
        return {key: _scaled(each, scale) for key, each in value.items()}
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return value * scale
    return value


def _faults(error: ValidationError) -> list[str]:
    return [_fault(each) for each in error.errors()]


def _fault(error: Mapping[str, Any]) -> str:
    place, kind, message = ".".join(map(str, error["loc"])), error["type"], str(error["msg"])
    if kind in _NAMING:
        return f"{place}: {_NAMING[kind]}"
    if kind in _TYPES:
        found = json.dumps(error["input"], default=str)[:_SHOWN_CHARACTERS]
        return f"{place} is {found}: a {_TYPES[kind]} is needed".replace("a true", "true")
    return f"{place}: {message[:1].lower() + message[1:]}"


def _unsaid(value: Mapping[str, object]) -> str | None:
    """Return which results have no value, where the formula itself gives no reason for them."""
    missing = [name for name, each in value.items() if each is None]
    return f"no value for {', '.join(missing)}" if missing else None


def _allowed(name: str, error: ValidationError) -> Iterator[str]:
    """Return a line with the inputs of a formula where one is missing or has a wrong name."""
    if any(each["type"] in _NAMING for each in error.errors()):
        yield f"inputs of {name}: {', '.join(_inputs(FORMULAS[name]))}"


def _plain(value: object) -> object:
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            raise FormulaError(["the inputs are too large or too small: the result is no number"])
        return float(value)
    return value
