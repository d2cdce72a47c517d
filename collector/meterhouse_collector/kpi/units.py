"""The units that names end in, and the factors between those of one quantity."""

from decimal import Decimal
from typing import Final

# Each in terms of the first of its quantity. A year has 8760 hours here; months differ too much.
QUANTITIES: Final[dict[str, dict[str, Decimal]]] = {
    "energy": {
        "joules": Decimal(1),
        "millijoules": Decimal("0.001"),
        "kilojoules": Decimal(1_000),
        "megajoules": Decimal(1_000_000),
        "gigajoules": Decimal(1_000_000_000),
        "wh": Decimal(3_600),
        "kwh": Decimal(3_600_000),
        "mwh": Decimal(3_600_000_000),
        "gwh": Decimal(3_600_000_000_000),
    },
    "power": {"watts": Decimal(1), "kilowatts": Decimal(1_000), "megawatts": Decimal(1_000_000)},
    "apparent power": {"volt_amperes": Decimal(1), "kilovolt_amperes": Decimal(1_000)},
    "time": {
        "seconds": Decimal(1),
        "milliseconds": Decimal("0.001"),
        "microseconds": Decimal("0.000001"),
        "minutes": Decimal(60),
        "hours": Decimal(3_600),
        "days": Decimal(86_400),
        "years": Decimal(31_536_000),
    },
    "volume": {"litres": Decimal(1), "m3": Decimal(1_000)},
    "mass": {
        "kg": Decimal(1),
        "grams": Decimal("0.001"),
        "tonnes": Decimal(1_000),
        "pounds": Decimal("0.45359237"),
    },
    "share": {"ratio": Decimal(1), "percent": Decimal("0.01")},
    "tokens": {"tokens": Decimal(1), "million_tokens": Decimal(1_000_000)},
}

# How people write units; in capitals where these matter, so that mW is never read as MW.
SYMBOLS: Final[dict[str, str]] = {
    "J": "joules",
    "mJ": "millijoules",
    "kJ": "kilojoules",
    "MJ": "megajoules",
    "GJ": "gigajoules",
    "Wh": "wh",
    "kWh": "kwh",
    "KWh": "kwh",
    "MWh": "mwh",
    "GWh": "gwh",
    "W": "watts",
    "kW": "kilowatts",
    "KW": "kilowatts",
    "kw": "kilowatts",
    "MW": "megawatts",
    "VA": "volt_amperes",
    "kVA": "kilovolt_amperes",
    "KVA": "kilovolt_amperes",
    "kva": "kilovolt_amperes",
    "s": "seconds",
    "sec": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "L": "litres",
    "l": "litres",
    "liters": "litres",
    "g": "grams",
    "t": "tonnes",
    "lb": "pounds",
    "lbs": "pounds",
    "pct": "percent",
    "K": "kelvin",
    "M_tokens": "million_tokens",
}

# Units with nothing to convert to, so that a name that ends in one is known to end in a unit.
PLAIN: Final = (
    "money",
    "devices",
    "nodes",
    "requests",
    "count",
    "volts",
    "amperes",
    "kelvin",
    "celsius",
    "hertz",
    "bytes",
    "months",
)

_UNITS: Final = {
    unit: (quantity, factor)
    for quantity, units in QUANTITIES.items()
    for unit, factor in units.items()
}
# The longest first, so that "million_tokens" is not read as "tokens".
_NAMES: Final = tuple(sorted({*_UNITS, *PLAIN}, key=lambda unit: (-len(unit), unit)))
_PER: Final = "_per_"


def unit_of(name: str) -> str | None:
    """Return the unit that a name ends in, ``kg_per_joule`` also, or None where it ends in none."""
    numerator, per, denominator = name.rpartition(_PER)
    if per and _plural(denominator) in _NAMES:
        above = _last(numerator)
        return None if above is None else f"{above}{_PER}{denominator}"
    return _last(name)


def spelled_out(name: str) -> str:
    """Return a name with the symbols of its unit in words: ``kg_per_kWh`` as ``kg_per_kwh``."""
    numerator, per, denominator = name.rpartition(_PER)
    if per and (below := _in_words(denominator)) is not None:
        return f"{_in_words(numerator) or numerator}{_PER}{below}"
    return _in_words(name) or name


def factor(unit: str, into: str) -> Decimal | None:
    """Return what turns an amount in one unit into another, or None where nothing does."""
    if unit == into:
        return Decimal(1)
    above, per, below = unit.partition(_PER)
    into_above, into_per, into_below = into.partition(_PER)
    if per != into_per:
        return None
    if per:
        upper = factor(above, into_above)
        lower = factor(_plural(below), _plural(into_below))
        return None if upper is None or lower is None else upper / lower
    if unit not in _UNITS or into not in _UNITS:
        return None
    (quantity, size), (into_quantity, into_size) = _UNITS[unit], _UNITS[into]
    return size / into_size if quantity == into_quantity else None


def _in_words(name: str) -> str | None:
    """Return a name that ends in a symbol, or in a unit, with the unit in words; else None."""
    for symbol, unit in SYMBOLS.items():
        if name == symbol or name.endswith(f"_{symbol}"):
            return f"{name.removesuffix(symbol)}{unit}"
    return name if _last(_plural(name)) is not None else None


def _plural(unit: str) -> str:
    return unit if unit in _NAMES else f"{unit}s"


def _last(name: str) -> str | None:
    return next((u for u in _NAMES if name == u or name.endswith(f"_{u}")), None)
