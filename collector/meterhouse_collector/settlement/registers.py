"""The absolute readings of a meter around a window, beside what was summed within it."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.money.billing_month import QUARTER_SECONDS

# A register is read each quarter hour, some moments after its beginning.
_NEAR_MILLISECONDS: Final = QUARTER_SECONDS * 1000 // 2


class MeterRegister(Struct, frozen=True, kw_only=True):
    """The readings of a meter nearest to both ends of a window, and what was summed between these.

    ``counted`` is closing less opening, None with a ``note`` where the register began anew or was
    not read near one of the ends.
    """

    meter: str
    unit: Literal["joules", "litres"]
    opening: float | None = None
    opening_at_milliseconds: int | None = None
    closing: float | None = None
    closing_at_milliseconds: int | None = None
    counted: float | None = None
    summed: float | None = None
    note: str | None = None

    @property
    def difference(self) -> float | None:
        """What was counted and not summed; None where one of them is not known."""
        if self.counted is None or self.summed is None:
            return None
        return self.counted - self.summed


def meter_register(
    meter: str,
    readings: Mapping[str, Sequence[wire.Register]],
    window: tuple[int, int],
    summed: float | None,
    unit: Literal["joules", "litres"] = "joules",
) -> MeterRegister:
    """Return the readings nearest to both ends of a window of Unix seconds, and their difference.

    They are of one reader who read both, as each counts epochs of its own; else of whoever read.
    ``unit`` is that of a meter that has no reading. ``definitions.md``, Registers.
    """
    everyone = [reading for mine in readings.values() for reading in mine]
    tried = [
        _of_one(meter, mine, window, summed, unit)
        for mine in (*(readings[reader] for reader in sorted(readings)), everyone)
    ]
    return next((found for found in tried if found.counted is not None), tried[-1])


def _of_one(
    meter: str,
    readings: Sequence[wire.Register],
    window: tuple[int, int],
    summed: float | None,
    unit: Literal["joules", "litres"],
) -> MeterRegister:
    opening, closing = (_nearest(readings, at * 1000) for at in window)
    if any(reading.register_litres is not None for reading in readings):
        unit = "litres"
    first = None if opening is None else _amount(opening)
    last = None if closing is None else _amount(closing)
    counted, note = None, None
    if opening is None or closing is None or first is None or last is None:
        note = "no register was read near both ends of the window"
    elif opening.epoch != closing.epoch:
        note = "the register began anew within the window: see its readings"
    else:
        counted = last - first
    return MeterRegister(
        meter=meter,
        unit=unit,
        opening=first,
        opening_at_milliseconds=None if opening is None else opening.at_milliseconds,
        closing=last,
        closing_at_milliseconds=None if closing is None else closing.at_milliseconds,
        counted=counted,
        summed=summed,
        note=note,
    )


def _nearest(readings: Sequence[wire.Register], at_milliseconds: int) -> wire.Register | None:
    near = [r for r in readings if abs(r.at_milliseconds - at_milliseconds) <= _NEAR_MILLISECONDS]
    return min(near, key=lambda r: abs(r.at_milliseconds - at_milliseconds), default=None)


def _amount(register: wire.Register) -> float | None:
    joules = register.register_joules
    return register.register_litres if joules is None else joules
