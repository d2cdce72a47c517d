"""Which fault codes (XID) call for hands, and which of them each device told lately."""

from collections.abc import Iterable, Mapping
from typing import Final

from meterhouse_collector.alerts.known import Fault
from meterhouse_collector.xids import ToldXid

# After these the device does no work before somebody resets, reboots or repairs it; all others,
# like those of an application (13, 31, 43, 45), are events alone. So are the NVLink errors 144 to
# 148: most do no harm, and nearly all that are fatal come with 48.
# Source: NVIDIA, Xid Errors, "Analyzing Xid Errors with the Xid Catalog",
# https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html: the codes in use whose
# immediate action is RESET_GPU, RESTART_BM or a flow that mostly ends in one (48, 74, 149, 150).
# Left out are 155, links that go down by intent, and 156, which a reset only makes effective.
FATAL: Final[Mapping[int, str]] = {
    46: "GPU stopped processing",
    48: "double bit ECC error",
    62: "internal micro-controller halted",
    64: "memory could not be retired",
    74: "NVLink error",
    79: "fallen off the bus",
    95: "memory error, not contained",
    109: "context switch timeout",
    110: "security fault",
    119: "no answer of the system processor",
    120: "error of the system processor",
    136: "NVLink training failed",
    140: "ECC error, not recovered",
    143: "initialization error",
    149: "NVLink down",
    150: "NVLink firmware (MSE) failed",
    158: "fatal timeout",
}
WINDOW_SECONDS: Final = 900


class XidWatch:
    """Keeps the fatal codes of the last quarter hour by node, device and code."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], dict[int, int]] = {}

    def add(self, told: Iterable[ToldXid]) -> None:
        """Take what devices told; what comes again changes nothing."""
        for each in told:
            if each.xid in FATAL:
                key = (each.node, each.device, each.xid)
                self._counts.setdefault(key, {})[each.start_seconds] = each.times

    def faults(self, now_seconds: float) -> tuple[Fault, ...]:
        """Return how often each was told lately; what was not any more is 0 once, then gone."""
        oldest = now_seconds - WINDOW_SECONDS
        found = []
        for key, counts in list(self._counts.items()):
            for start in [start for start in counts if start <= oldest]:
                del counts[start]
            found.append(Fault(*key, float(sum(counts.values()))))
            if not counts:
                del self._counts[key]
        return tuple(sorted(found))
