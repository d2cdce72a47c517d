"""The formula of idle capacity, from plain device-seconds."""

from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned


def idle_capacity_ratio(
    *,
    active_seconds: float,
    held_idle_seconds: float,
    free_seconds: float,
    stranded_seconds: float = 0.0,
) -> Reasoned:
    """Return (free - stranded + held_idle) / (active + held_idle + free - stranded).

    A ``free`` that is less than what is stranded counts as none (``definitions.md``).
    """
    not_negative(
        active_seconds=active_seconds,
        held_idle_seconds=held_idle_seconds,
        free_seconds=free_seconds,
        stranded_seconds=stranded_seconds,
    )
    idle = max(0.0, free_seconds - stranded_seconds) + held_idle_seconds
    if active_seconds + idle == 0:
        return Reasoned(None, "nothing is known of any available device")
    return Reasoned(idle / (active_seconds + idle))
