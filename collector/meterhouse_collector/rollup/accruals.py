"""What accrues by device-seconds beside the price of the hardware: rent and operations."""

from collections.abc import Mapping
from typing import NamedTuple

from meterhouse_collector.site.index import SiteIndex


class Accruals(NamedTuple):
    """Money per device-second at an instant: operations for all devices, rent by pool.

    ``unplaced_*`` are per second and belong to no device, as none is installed where they apply.
    """

    operations_per_second: float = 0.0
    rent_per_second: Mapping[str, float] = {}
    unplaced_operations_per_second: float = 0.0
    unplaced_rent_per_second: float = 0.0


def accruals_at(index: SiteIndex, start_seconds: float) -> Accruals:
    """Return what accrues by device-seconds from an instant on, until the site model changes."""
    del index, start_seconds
    return Accruals()
