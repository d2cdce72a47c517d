"""What network and storage drew, by the installed share of each device: they serve all alike. Pure.

So an idle device bears as much of it as a busy one, where the rest of a node follows what its
devices drew (``definitions.md``, A matrix). It needs meters of its own: without them it is spread
with the bill by what was drawn.
"""

from collections.abc import Iterable
from math import fsum

from meterhouse_collector.rollup.meter_sides import energy_branches
from meterhouse_collector.rollup.site_energy import Expected, IntervalRows
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.meters import Term


def shared_watts(
    interval: IntervalRows, index: SiteIndex, expected: Expected, device_seconds: Iterable[float]
) -> float:
    """Return the watts of network and storage for each of so many installed device-seconds.

    A gap of a meter has its last known power; one of which nothing is known adds nothing.
    """
    names = index.shared_meters(interval.start_seconds)
    if not names:
        return 0.0
    known = index.metering(interval.start_seconds).meters
    terms = [Term(known[name], known[name].part) for name in names if name in known]
    length, watts = interval.length_seconds, expected.meter_watts
    found = energy_branches(terms, interval.meters, length, watts)
    joules = fsum(one.factor * ((one.measured or 0.0) + (one.gap or 0.0)) for _, one in found)
    installed = fsum(device_seconds)
    return joules / installed if installed > 0 else 0.0
