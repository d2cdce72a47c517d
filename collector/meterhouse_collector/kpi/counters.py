"""What a counter counted from reading to reading, judged by the agent's own judge of counters."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Final, NamedTuple

from meterhouse_agent.counters import CounterTrack
from meterhouse_agent.samples import Counter
from meterhouse_collector.kpi.catalogue import Kpi

_MILLISECONDS: Final = 1000


class Increase(NamedTuple):
    """What was counted in all and up to each reading, and what each but the first was taken for."""

    increase: float
    increase_by_reading: tuple[float, ...]
    verdicts: tuple[str, ...]


def counter_increase(
    *,
    samples: Sequence[Decimal],
    modulus: int | None = None,
    rate_max_per_second: float | None = None,
    interval_seconds: float = 60.0,
) -> Increase:
    """Return what a counter counted over readings ``interval_seconds`` apart, in its own unit.

    A fall is a restart from zero, a rollover where ``modulus`` is known, or, where it is small,
    jitter, which counts nothing; what grows faster than ``rate_max_per_second`` is no growth.
    Nothing is extrapolated. Raise ValueError for no reading, or bounds that are not above zero
    (definition: reference 4.3; agents judge their counters by the same code).
    """
    if not samples:
        raise ValueError("samples is empty: at least one reading")
    bounds = {
        "modulus": modulus,
        "rate_max_per_second": rate_max_per_second,
        "interval_seconds": interval_seconds,
    }
    for name, bound in bounds.items():
        if bound is not None and not bound > 0:
            raise ValueError(f"{name} is {bound}: more than 0")
    places = max(_places(each) for each in samples)
    track = CounterTrack()
    counted, verdicts = [0], []
    for number, each in enumerate(samples):
        reading = Counter(
            ticks=int(each.scaleb(places)),
            unit=10.0**-places,
            modulus_ticks=None if modulus is None else modulus * 10**places,
            rate_max=rate_max_per_second,
        )
        delta = track.feed(reading, round(number * interval_seconds * _MILLISECONDS))
        if delta is not None:
            counted.append(delta.ticks or 0)
            verdicts.append(delta.verdict.value)
    upto = tuple(ticks / 10**places for ticks in accumulate(counted))
    return Increase(upto[-1], upto, tuple(verdicts))


def _places(reading: Decimal) -> int:
    exponent = reading.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{reading} is no reading")  # noqa: TRY004 - NaN is of the right type
    return max(0, -exponent)


KPIS: Final[tuple[Kpi, ...]] = (
    Kpi(
        "counter_increase",
        "units of the counter",
        "growth from reading to reading",
        "1",
        "growth; since zero after a restart; through the modulus after a rollover; jitter is 0",
        "definitions of this project, counters; Prometheus, increase() without extrapolation",
    ),
)
