"""Which state an accelerator is in, from one sample. Pure.

First match wins, as in the definition: lost or failed, contradicting signals, computing, held,
free. What only the scheduler or the site model knows (drained, allocated) is put on later, by the
collector.
"""

from typing import Final

from meterhouse_agent.samples import AcceleratorSample
from meterhouse_agent.wire import State

_BUSY_UTILIZATION: Final = 0.05
BUSY_SM: Final = 0.01
# A profiler that cannot read gives 0 while the utilization counter shows work; one resident
# kernel on one of 132 SMs would show 0.0076.
_SURE_UTILIZATION: Final = 0.5
_SILENT_SM: Final = 0.005
# Idle at a quarter of the way from the idle floor to the most ever drawn is no idle.
_IDLE_POWER_SHARE: Final = 0.25
_FLOOR_SPREAD: Final = 2.0
# Where processes cannot be listed, more memory than drivers keep for themselves is held by one.
DRIVER_BYTES: Final = 2 * 2**30


class PowerRange:
    """The least and the most power a device was seen to draw: what idle is measured against."""

    __slots__ = ("floor_watts", "most_watts")

    def __init__(self) -> None:
        self.floor_watts: float | None = None
        self.most_watts: float | None = None

    def learn(self, power_watts: float) -> None:
        """Take one reading into account."""
        if self.floor_watts is None or power_watts < self.floor_watts:
            self.floor_watts = power_watts
        if self.most_watts is None or power_watts > self.most_watts:
            self.most_watts = power_watts

    def contradicts_idle(self, power_watts: float) -> bool:
        """Tell whether a device that seems idle draws too much for it.

        Only once a device was seen at twice its floor is its range known well enough to judge.
        """
        if self.floor_watts is None or self.most_watts is None:
            return False
        if self.most_watts <= self.floor_watts * _FLOOR_SPREAD:
            return False
        share = (power_watts - self.floor_watts) / (self.most_watts - self.floor_watts)
        return share > _IDLE_POWER_SHARE


def state_of(sample: AcceleratorSample, power: PowerRange) -> State:
    """Return the state that a sample shows; signals that contradict each other are unknown."""
    if sample.health != "ok":
        return "unhealthy"
    utilization, sm_activity = sample.utilization_ratio, sample.sm_activity_ratio
    if utilization is None and sm_activity is None:
        return "unknown"
    if (
        utilization is not None
        and sm_activity is not None
        and utilization >= _SURE_UTILIZATION
        and sm_activity < _SILENT_SM
    ):
        return "unknown"
    if (utilization is not None and utilization >= _BUSY_UTILIZATION) or (
        sm_activity is not None and sm_activity >= BUSY_SM
    ):
        return "active"
    if sample.power_watts is not None and power.contradicts_idle(sample.power_watts):
        return "unknown"
    return "held_idle" if _is_held(sample) else "free"


def _is_held(sample: AcceleratorSample) -> bool:
    if sample.held is not None:
        return sample.held
    return sample.memory_used_bytes is not None and sample.memory_used_bytes > DRIVER_BYTES
