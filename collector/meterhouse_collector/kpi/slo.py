"""Goodput and capacity at a service-level objective (SLO)."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.latency import request_latency
from meterhouse_collector.kpi.numbers import not_negative, positive, share
from meterhouse_collector.kpi.parts import ratio, reasoned
from meterhouse_collector.kpi.value import Reasoned


class Request(NamedTuple):
    """One finished request; instants of one clock, None where nobody noted them."""

    succeeded: bool
    sent_seconds: float
    first_token_seconds: float | None
    finished_seconds: float | None
    output_tokens: int


class Goodput(NamedTuple):
    """Requests within every SLO; the bounds take what has an unknown latency as late, then not."""

    ratio: float | None
    low_ratio: float | None
    high_ratio: float | None
    good_per_second: float | None
    good_count: int
    unknown_count: int
    reason: str | None = None


def goodput(
    *,
    requests: Sequence[Request],
    measured_seconds: float,
    first_token_slo_seconds: float | None = None,
    per_output_token_slo_seconds: float | None = None,
    end_to_end_slo_seconds: float | None = None,
) -> Goodput:
    """Return the requests that succeeded within all SLOs at once, from single requests only.

    Completed requests per second that meet all SLOs (AIPerf). Histograms do not say which request
    met which, so they serve one SLO at a time, see ``latency.within_threshold``. A request of one
    token has no time per output token and cannot miss it. Raises ``ValueError`` for instants out
    of order.
    """
    slos = (first_token_slo_seconds, per_output_token_slo_seconds, end_to_end_slo_seconds)
    positive(
        first_token_slo_seconds=first_token_slo_seconds,
        per_output_token_slo_seconds=per_output_token_slo_seconds,
        end_to_end_slo_seconds=end_to_end_slo_seconds,
    )
    not_negative(measured_seconds=measured_seconds)
    verdicts = [_good(request, slos) for request in requests]
    good = sum(1 for verdict in verdicts if verdict is True)
    unknown = sum(1 for verdict in verdicts if verdict is None)
    total = len(verdicts)
    return Goodput(
        ratio=ratio(good, total - unknown),
        low_ratio=ratio(good, total),
        high_ratio=ratio(good + unknown, total),
        good_per_second=ratio(good, measured_seconds),
        good_count=good,
        unknown_count=unknown,
        reason=_no_goodput(total, unknown, measured_seconds),
    )


def _no_goodput(total: int, unknown: int, measured_seconds: float) -> str | None:
    if total <= unknown:
        return "no request with known latencies"
    return None if measured_seconds > 0 else "no time was measured"


def _good(request: Request, slos: Sequence[float | None]) -> bool | None:
    found = request_latency(
        sent_seconds=request.sent_seconds,
        first_token_seconds=request.first_token_seconds,
        finished_seconds=request.finished_seconds,
        output_tokens=request.output_tokens,
    )
    if not request.succeeded:
        return False
    wanted = [
        (value, slo, at == 1 and request.output_tokens <= 1)
        for at, (value, slo) in enumerate(zip(found, slos, strict=True))
        if slo is not None
    ]
    known = [(value, slo) for value, slo, _ in wanted if value is not None]
    if any(value > slo for value, slo in known):
        return False
    missing = any(value is None and not undefined for value, _, undefined in wanted)
    return None if missing else True


class LoadPoint(NamedTuple):
    """What one load test measured: tokens per second, and the latency the SLO is about."""

    served_tokens_per_second: float
    latency_seconds: float


def capacity_at_slo(*, points: Sequence[LoadPoint], slo_seconds: float) -> Reasoned:
    """Return the usable token capacity: the highest measured tokens per second within the SLO.

    Peak tokens per second of a benchmark are not usable ones (reference 1.3). A point counts only
    while all lower loads are within the SLO too, so that one lucky run adds nothing. Raises
    ``ValueError`` for an amount that is negative or no number.
    """
    positive(slo_seconds=slo_seconds)
    for point in points:
        not_negative(**point._asdict())
    usable = None
    for point in sorted(points):
        if point.latency_seconds > slo_seconds:
            break
        usable = point.served_tokens_per_second
    if usable is None:
        return Reasoned(
            None,
            f"no load was measured within {slo_seconds:g} s" if points else "no load was measured",
        )
    return Reasoned(usable)


def token_capacity_ratio(
    *, served_tokens: float, measured_seconds: float, capacity_tokens_per_second: float
) -> Reasoned:
    """Return the utilization of usable token capacity: tokens / (seconds * capacity at the SLO).

    tps / tps_max@SLO (reference 1.3). It may pass 1, and the SLO is then missed. Raises
    ``ValueError`` for a capacity that is not above zero.
    """
    not_negative(served_tokens=served_tokens, measured_seconds=measured_seconds)
    positive(capacity_tokens_per_second=capacity_tokens_per_second)
    capacity = measured_seconds * capacity_tokens_per_second
    return reasoned(served_tokens, capacity, "nothing was measured")


def error_budget_spent_ratio(*, within_ratio: float, objective_ratio: float) -> Reasoned:
    """Return (1 - share within the threshold) / (1 - objective): above 1 the objective is missed.

    Source: SRE workbook, Implementing SLOs. Over a part of the objective's window it is the burn
    rate. Raises ``ValueError`` for a ratio outside 0 to 1.
    """
    share(within_ratio=within_ratio, objective_ratio=objective_ratio)
    return reasoned(1 - within_ratio, 1 - objective_ratio, "an objective of all leaves no budget")


def objective_met(
    *, low_ratio: float | None, high_ratio: float | None, objective_ratio: float
) -> bool | None:
    """Tell whether a share between two bounds reaches an objective; None where that is open."""
    if low_ratio is None or high_ratio is None:
        return None
    if low_ratio >= objective_ratio:
        return True
    return False if high_ratio < objective_ratio else None


KPIS: Final = (
    Kpi(
        "goodput",
        "by name",
        "requests within all SLOs",
        "requests; measured_seconds",
        "requests that succeed within all SLOs at once",
        "AIPerf, goodput",
    ),
    Kpi(
        "capacity_at_slo",
        "tokens per second",
        "served_tokens_per_second",
        "1",
        "highest measured load up to which all are within the SLO",
        "reference 1.3, usable token capacity",
    ),
    Kpi(
        "token_capacity_ratio",
        "ratio",
        "served_tokens",
        "measured_seconds * capacity_tokens_per_second",
        "tokens / (seconds * capacity at the SLO)",
        "reference 1.3, usable token capacity",
    ),
    Kpi(
        "error_budget_spent_ratio",
        "ratio",
        "1 - within_ratio",
        "1 - objective_ratio",
        "part of the requests allowed to be slow that were",
        "SRE workbook, Implementing SLOs",
    ),
)
