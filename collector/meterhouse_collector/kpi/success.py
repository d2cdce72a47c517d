"""Which finished requests succeeded."""

from collections.abc import Sequence
from math import fsum
from typing import Final, NamedTuple

from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.parts import ratio

STOP: Final = "stop"
LENGTH: Final = "length"


class Finished(NamedTuple):
    """Requests that finished for one reason, as the engine names it."""

    reason: str
    finished_requests: float


class Success(NamedTuple):
    """Requests, not tasks: what a user wanted done is known to a gateway or job alone."""

    ratio: float | None
    succeeded_requests: float
    finished_requests: float
    reason: str | None = None


def success_ratio(
    *,
    finished: Sequence[Finished],
    rejected_requests: float = 0.0,
    truncation_fails: bool = False,
) -> Success:
    """Return succeeded / finished requests, where success is ``stop`` or ``length``.

    vLLM's counter named success counts abort, error and repetition too, which are failures as any
    other reason is; ``length`` may be a truncation, which the caller may call a failure (reference
    4.10). Requests that were turned away before they ran are finished without success.
    Raises ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(rejected_requests=rejected_requests)
    for each in finished:
        not_negative(finished_requests=each.finished_requests)
    good = (STOP,) if truncation_fails else (STOP, LENGTH)
    total = fsum((*(each.finished_requests for each in finished), rejected_requests))
    succeeded = fsum(each.finished_requests for each in finished if each.reason in good)
    reason = None if total > 0 else "no request finished"
    return Success(ratio(succeeded, total), succeeded, total, reason)
