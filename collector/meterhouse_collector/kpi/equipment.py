"""How well equipment does what it is there for: servers, cooling, and the peak of accelerators."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, share
from meterhouse_collector.kpi.parts import not_above, reasoned
from meterhouse_collector.kpi.value import Reasoned


class ServerPeak(NamedTuple):
    """What servers of one type do at most by a benchmark, and what they draw then."""

    servers_count: float
    peak_work_per_second: float
    peak_watts: float


class ServerUse(NamedTuple):
    """How busy a server's processors were, in one part of the year."""

    busy_ratio: float
    measured_seconds: float


def model_flops_utilization(
    *, achieved_flops_count: float, peak_flops_per_second: float, device_seconds: float
) -> Reasoned:
    """Return MFU: FLOPs of the model done / (peak FLOPs per second of a device * device-seconds).

    The peak depends on data type and sparsity, so it is stated and never guessed (PaLM, as in
    reference 1.3). Raises ``ValueError`` for an amount that is negative or no number, and for more
    than the peak allows.
    """
    not_negative(
        achieved_flops_count=achieved_flops_count,
        peak_flops_per_second=peak_flops_per_second,
        device_seconds=device_seconds,
    )
    possible = peak_flops_per_second * device_seconds
    not_above(possible, "what the peak allows", achieved_flops_count=achieved_flops_count)
    return reasoned(achieved_flops_count, possible, "no peak to compare with")


def cer(*, heat_removed_joules: float, cooling_joules: float) -> Reasoned:
    """Return the cooling efficiency ratio: heat removed / energy of what cools.

    ISO/IEC 30134-7. Raises ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(heat_removed_joules=heat_removed_joules, cooling_joules=cooling_joules)
    return reasoned(heat_removed_joules, cooling_joules, "no energy for cooling")


def iteesv(*, servers: Sequence[ServerPeak]) -> Reasoned:
    """Return ITEEsv: sum of the servers' highest performance / sum of their highest power.

    In work per second for each watt, work being what the benchmark counts (ISO/IEC 30134-4). Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    for each in servers:
        not_negative(**each._asdict())
    work = fsum(each.servers_count * each.peak_work_per_second for each in servers)
    watts = fsum(each.servers_count * each.peak_watts for each in servers)
    return reasoned(work, watts, "no server with a highest power")


def iteusv(*, servers: Sequence[ServerUse]) -> Reasoned:
    """Return ITEUsv: the mean use of servers' processors, by the time it was measured.

    Of processors only, so it says nothing of accelerators (ISO/IEC 30134-5). Raises ``ValueError``
    for a share outside 0 to 1 and for negative time.
    """
    for each in servers:
        share(busy_ratio=each.busy_ratio)
        not_negative(measured_seconds=each.measured_seconds)
    busy = fsum(each.busy_ratio * each.measured_seconds for each in servers)
    return reasoned(busy, fsum(each.measured_seconds for each in servers), "nothing was measured")


KPIS: Final = (
    Kpi(
        "model_flops_utilization",
        "ratio",
        "achieved_flops_count",
        "peak_flops_per_second * device_seconds",
        "FLOPs of the model done / FLOPs at peak (MFU)",
        "PaLM, as in reference 1.3",
    ),
    Kpi(
        "cer",
        "ratio",
        "heat_removed_joules",
        "cooling_joules",
        "heat removed / energy of what cools",
        "ISO/IEC 30134-7",
    ),
    Kpi(
        "iteesv",
        "work per second per watt",
        "servers_count * peak_work_per_second",
        "servers_count * peak_watts",
        "sum of highest performance / sum of highest power",
        "ISO/IEC 30134-4",
    ),
    Kpi(
        "iteusv",
        "ratio",
        "busy_ratio * measured_seconds",
        "measured_seconds",
        "mean use of servers' processors",
        "ISO/IEC 30134-5",
    ),
)
