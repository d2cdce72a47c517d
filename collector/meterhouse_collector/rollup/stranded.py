"""What of each cluster is available and cannot be powered and cooled: stranded capacity. Pure.

It is an estimate: the most that devices draw is configured. Of a quarter it follows the quarter's
sums, so that room at its begin makes up for none at its end.
"""

from collections.abc import Mapping
from math import fsum

from meterhouse_collector.kpi.waterfall import powerable_devices
from meterhouse_collector.rollup.serving import Fields
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.powerable import powerable_watts

Groups = Mapping[GroupKey, Fields]


def add_stranded(groups: Groups, index: SiteIndex, at_seconds: int, length_seconds: int) -> None:
    """Add ``stranded_seconds`` to the groups of each cluster whose limit is stated.

    stranded = max(0, available - powerable), spread by free seconds (definitions: Waterfall);
    without a configured peak of every model no limit is known in devices.
    """
    for cluster, watts in powerable_watts(index.dated, at_seconds).items():
        mine = {group: fields for group, fields in groups.items() if group.cluster == cluster}
        available = {group: _available(fields) for group, fields in mine.items()}
        peak = _mean_peak_watts(available, index, at_seconds)
        if peak is None:
            continue
        powerable = powerable_devices(at_n_watts=watts, device_peak_watts=peak) * length_seconds
        stranded = max(0.0, fsum(available.values()) - powerable)
        if stranded > 0:
            _spread(stranded, mine, available)


def _spread(stranded: float, groups: Groups, available: Mapping[GroupKey, float]) -> None:
    """Spread by what is free, and where nothing is free by what is available."""
    free = {group: fsum(fields.get("free_seconds", ())) for group, fields in groups.items()}
    by = free if fsum(free.values()) > 0 else available
    whole = fsum(by.values())
    for group, fields in groups.items():
        if by[group] > 0:
            fields["stranded_seconds"].append(stranded * by[group] / whole)


def _available(fields: Fields) -> float:
    down = (-seconds for seconds in fields.get("unhealthy_seconds", ()))
    return max(0.0, fsum((*fields.get("installed_seconds", ()), *down)))


def _mean_peak_watts(
    available: Mapping[GroupKey, float], index: SiteIndex, at_seconds: int
) -> float | None:
    """Return the mean peak of the available devices; None where one is not configured."""
    terms = []
    hardware = index.dated.hardware.at(at_seconds)
    for group, seconds in available.items():
        if seconds > 0:
            known = hardware.get(group.accelerator_model)
            if known is None or known.peak_watts is None:
                return None
            terms.append((seconds, known.peak_watts))
    whole = fsum(seconds for seconds, _ in terms)
    return fsum(seconds * watts for seconds, watts in terms) / whole if whole > 0 else None
