"""What the tables of a site file must not say together: each check returns one-line faults."""

from meterhouse_collector.site.checks import (
    dates,
    downtimes,
    meters,
    outages,
    references,
    register,
    targets,
)
from meterhouse_collector.site.model import SiteModel


def faults(model: SiteModel) -> list[str]:
    """Return every fault of a site model whose tables are valid one by one."""
    found = [
        *dates.faults(model),
        *references.faults(model),
        *register.faults(model),
        *downtimes.faults(model),
        *meters.faults(model),
        *outages.faults(model),
    ]
    # What can be reached is reckoned from the rest, so only where the rest holds.
    return found or list(targets.faults(model))
