"""Rounds the lines of a statement to the currency's minor unit, such that they still sum."""

from collections.abc import Mapping, Sequence
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Final

from meterhouse_collector.money.decimals import CONTEXT, ZERO, add

_CODES: Final[Mapping[int, str]] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP"
    " BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP"
    " GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK"
    " LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK"
    " NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP"
    " STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER"
    " ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
MINOR_UNITS: Final[Mapping[str, int]] = {
    code: digits for digits, codes in _CODES.items() for code in codes.split()
}


def minor_units(currency: str) -> int:
    """Return the decimals of a currency (ISO 4217); raise ``ValueError`` for a code without any."""
    if currency not in MINOR_UNITS:
        raise ValueError(f"found {currency!r}, allowed: an ISO 4217 code with a minor unit")
    return MINOR_UNITS[currency]


def round_total(amount: Decimal, currency: str) -> Decimal:
    """Return an amount rounded to the minor unit, half away from zero, as invoices do."""
    unit = Decimal(1).scaleb(-minor_units(currency))
    return amount.quantize(unit, rounding=ROUND_HALF_UP, context=CONTEXT)


def largest_remainder(
    amounts: Sequence[Decimal], currency: str, total: Decimal | None = None
) -> tuple[Decimal, ...]:
    """Return the amounts in whole minor units, such that they sum to their rounded total.

    ``total`` is that sum where it was rounded with others, and so up or down by less than a unit.
    Each is rounded down, and the units still missing go to the largest remainders, the first of
    equal ones; no line moves by a whole unit (Hare and Niemeyer's method).
    """
    unit = Decimal(1).scaleb(-minor_units(currency))
    floors = [a.quantize(unit, rounding=ROUND_FLOOR, context=CONTEXT) for a in amounts]
    remainders = [CONTEXT.subtract(a, f) for a, f in zip(amounts, floors, strict=True)]
    wanted = round_total(add(amounts), currency) if total is None else total
    lacking = CONTEXT.subtract(wanted, add(floors))
    count = int(CONTEXT.divide(lacking, unit))
    order = sorted(range(len(amounts)), key=lambda position: -remainders[position])
    raised = set(order[:count])
    return tuple(
        CONTEXT.add(floor, unit if position in raised else ZERO)
        for position, floor in enumerate(floors)
    )
