"""What a second costs, beside the capital of each device itself: what a rollup adds by time."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple

BySeconds = tuple[float, float, float]
ZERO_RATES: Final[BySeconds] = (0.0, 0.0, 0.0)


class Rates(NamedTuple):
    """Money per second at an instant; tuples are capital, rent and operations.

    ``devices`` is per device-second by pool and accelerator model, None where a price is not known.
    ``unplaced`` is nobody's device. What is due for joules beside the price of energy is as far as
    it is known now, and so is ``month_kwh``, the import of the month by tariff with tiers.
    ``shared_watts`` are no money: each installed device draws them in network and storage.
    """

    devices: Mapping[tuple[str, str], BySeconds | None] = {}
    unplaced: BySeconds = ZERO_RATES
    demand_per_second: float = 0.0
    water_per_second: float = 0.0
    carbon_per_second: float = 0.0
    month_kwh: Mapping[str, Decimal] = {}
    shared_watts: float = 0.0


NO_RATES: Final = Rates()
