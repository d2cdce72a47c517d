"""Who drew the peaks that demand is charged by: shown beside the charge, and no part of it. Pure.

The charge itself is spread evenly over its billing period (``definitions.md``, Demand charge).
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import fsum

from msgspec import Struct

from meterhouse_collector.money.bill_lines import PeakInterval
from meterhouse_collector.money.decimals import ZERO, exact
from meterhouse_collector.money.demand import share_of_peak
from meterhouse_collector.rollup.pricing import drawn_joules
from meterhouse_collector.site.index import GroupKey


class DemandPeak(Struct, frozen=True, kw_only=True):
    """A peak that was measured, and the joules that each of the finest groups drew in it."""

    charge: str
    begins_seconds: int
    kw: Decimal
    joules: tuple[tuple[GroupKey, float], ...]


class PeakShares(Struct, frozen=True, kw_only=True):
    """The part of the joules of a peak that each group drew; none where nobody knows them."""

    charge: str
    begins_seconds: int
    kw: Decimal
    ratios: dict[str, float]


def demand_peak(peak: PeakInterval, sums: Mapping[GroupKey, Mapping[str, float]]) -> DemandPeak:
    """Return a peak with the sums of the quarter hours of its interval."""
    drawn = ((group, drawn_joules([fields])) for group, fields in sorted(sums.items()))
    return DemandPeak(
        charge=peak.charge,
        begins_seconds=peak.begins_seconds,
        kw=peak.kw,
        joules=tuple((group, joules) for group, joules in drawn if joules > 0),
    )


def peak_shares(peak: DemandPeak, part: Callable[[GroupKey], str]) -> PeakShares:
    """Return a peak seen by one part of its groups; their shares sum to 1."""
    by_part: dict[str, list[float]] = {}
    for group, joules in peak.joules:
        by_part.setdefault(part(group), []).append(joules)
    sums = {name: exact(fsum(joules)) for name, joules in by_part.items()}
    whole = sum(sums.values(), ZERO)
    shares = {name: share_of_peak(joules, whole) for name, joules in sorted(sums.items())}
    return PeakShares(
        charge=peak.charge,
        begins_seconds=peak.begins_seconds,
        kw=peak.kw,
        ratios={name: float(share) for name, share in shares.items() if share is not None},
    )
