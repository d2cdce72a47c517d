"""How often devices and jobs are interrupted, how long repair takes, and what is left as work."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.parts import not_above, ratio, reasoned
from meterhouse_collector.kpi.value import Reasoned

DEVICE_DAYS_PER_UNIT: Final = 1000
DAY_SECONDS: Final = 86_400


def interruptions_per_thousand_device_days(
    *, interruptions_count: float, device_seconds: float
) -> Reasoned:
    """Return 1,000 * interruptions / device-days.

    The rate large training runs are compared by (reference 1.3, reliability). Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(interruptions_count=interruptions_count, device_seconds=device_seconds)
    counted = DEVICE_DAYS_PER_UNIT * DAY_SECONDS * interruptions_count
    return reasoned(counted, device_seconds, "no device was in service")


class TimeBetweenFailures(NamedTuple):
    """Mean device-seconds between failures; without a failure only that it is longer than this."""

    seconds: float | None
    low_seconds: float
    reason: str | None = None


def mean_time_between_failures(
    *, in_service_seconds: float, failures_count: float
) -> TimeBetweenFailures:
    """Return device-seconds in service / failures (MTBF, IEC 60050-192).

    Without a failure there is no mean, and the time watched is a lower bound. Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(in_service_seconds=in_service_seconds, failures_count=failures_count)
    if in_service_seconds == 0:
        return TimeBetweenFailures(None, 0.0, "no device was in service")
    mean = ratio(in_service_seconds, failures_count)
    if mean is None:
        return TimeBetweenFailures(
            None, in_service_seconds, "no failure: longer than the time watched"
        )
    return TimeBetweenFailures(mean, mean)


class Repair(NamedTuple):
    """One failure of a device: its family (of XID or ECC errors, say), and how long it was down.

    A device that is still down has so far been down for ``down_seconds``.
    """

    accelerator_model: str
    family: str
    down_seconds: float
    repaired: bool = True


class FamilyRepair(NamedTuple):
    """What repairs of one model and family took; those still open are counted apart."""

    accelerator_model: str
    family: str
    mean_seconds: float | None
    repaired_count: int
    open_count: int
    open_seconds: float


def repair_by_family(*, repairs: Sequence[Repair]) -> tuple[FamilyRepair, ...]:
    """Return the mean time to repair by accelerator model and family of failure.

    Sum of seconds down / number of those repaired (MTTR, IEC 60050-192). What is still down is not
    in the mean, since its repair is longer than what is known of it. Raises ``ValueError`` for an
    amount that is negative or no number.
    """
    families: dict[tuple[str, str], list[Repair]] = {}
    for repair in repairs:
        not_negative(down_seconds=repair.down_seconds)
        families.setdefault((repair.accelerator_model, repair.family), []).append(repair)
    return tuple(_family(*key, families[key]) for key in sorted(families))


def _family(accelerator_model: str, family: str, repairs: Sequence[Repair]) -> FamilyRepair:
    closed = [repair.down_seconds for repair in repairs if repair.repaired]
    waiting = [repair.down_seconds for repair in repairs if not repair.repaired]
    return FamilyRepair(
        accelerator_model=accelerator_model,
        family=family,
        mean_seconds=ratio(fsum(closed), len(closed)),
        repaired_count=len(closed),
        open_count=len(waiting),
        open_seconds=fsum(waiting),
    )


def effective_training_time_ratio(
    *,
    productive_seconds: float,
    queued_seconds: float,
    restarting_seconds: float,
    recomputed_seconds: float,
    checkpoint_seconds: float,
) -> Reasoned:
    """Return ETTR: productive run time / wall time.

    Wall time includes queue, restart and recomputation of lost steps; writing a checkpoint is no
    progress (Meta, as quoted in reference 1.3). Raises ``ValueError`` for an amount that is
    negative or no number.
    """
    parts = {
        "productive_seconds": productive_seconds,
        "queued_seconds": queued_seconds,
        "restarting_seconds": restarting_seconds,
        "recomputed_seconds": recomputed_seconds,
        "checkpoint_seconds": checkpoint_seconds,
    }
    not_negative(**parts)
    return reasoned(productive_seconds, fsum(parts.values()), "no time passed")


class ProductivityGoodput(NamedTuple):
    """The three factors and their product, which needs all of them."""

    scheduling_ratio: float | None
    runtime_ratio: float | None
    program_ratio: float | None
    ratio: float | None
    reason: str | None = None


def productivity_goodput(
    *,
    wanted_seconds: float,
    allocated_seconds: float,
    progress_seconds: float,
    achieved_flops_count: float,
    peak_flops_count: float,
) -> ProductivityGoodput:
    """Return ML productivity goodput = scheduling * runtime * program goodput.

    scheduling = time with all devices allocated / time they were wanted; runtime = time of steps
    that were kept / time allocated; program = FLOPs of the model done in those steps / FLOPs at
    peak in them (Google Cloud, April 2024; arXiv 2502.06982). Three layers measure them, so each
    is a ratio of its own sums. Raises ``ValueError`` for a part larger than its whole.
    """
    not_negative(
        wanted_seconds=wanted_seconds,
        allocated_seconds=allocated_seconds,
        progress_seconds=progress_seconds,
        achieved_flops_count=achieved_flops_count,
        peak_flops_count=peak_flops_count,
    )
    not_above(wanted_seconds, "wanted_seconds", allocated_seconds=allocated_seconds)
    not_above(allocated_seconds, "allocated_seconds", progress_seconds=progress_seconds)
    not_above(peak_flops_count, "peak_flops_count", achieved_flops_count=achieved_flops_count)
    scheduling = ratio(allocated_seconds, wanted_seconds)
    running = ratio(progress_seconds, allocated_seconds)
    program = ratio(achieved_flops_count, peak_flops_count)
    if scheduling is None or running is None or program is None:
        reason = "no time wanted, none allocated, or no progress to count FLOPs in"
        return ProductivityGoodput(scheduling, running, program, None, reason)
    return ProductivityGoodput(scheduling, running, program, scheduling * running * program)


KPIS: Final = (
    Kpi(
        "interruptions_per_thousand_device_days",
        "interruptions per 1,000 device-days",
        "1000 * 86400 * interruptions_count",
        "device_seconds",
        "1,000 * interruptions / device-days",
        "large training runs, as in reference 1.3",
    ),
    Kpi(
        "mean_time_between_failures",
        "by name",
        "in_service_seconds",
        "failures_count",
        "device-seconds in service / failures",
        "IEC 60050-192",
    ),
    Kpi(
        "repair_by_family",
        "by name",
        "down_seconds of repaired failures",
        "number of repaired failures",
        "mean time to repair by model and family",
        "IEC 60050-192",
    ),
    Kpi(
        "effective_training_time_ratio",
        "ratio",
        "productive_seconds",
        "productive + queued + restarting + recomputed + checkpoint seconds",
        "productive run time / wall time",
        "Meta, as in reference 1.3",
    ),
    Kpi(
        "productivity_goodput",
        "by name",
        "allocated_seconds; progress_seconds; achieved_flops_count",
        "wanted_seconds; allocated_seconds; peak_flops_count",
        "scheduling * runtime * program goodput",
        "Google Cloud, April 2024; arXiv 2502.06982",
    ),
)
