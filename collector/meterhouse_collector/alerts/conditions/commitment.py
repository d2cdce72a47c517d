"""Under-use of a commitment: the mirror of a budget that burns too fast."""

from decimal import Decimal

from meterhouse_collector.alerts.known import QuarterKnown, Use, observed, scope_labels
from meterhouse_collector.alerts.state import Observation
from meterhouse_collector.kpi.value import COVERAGE_FLOOR, Reasoned, below_floor
from meterhouse_collector.money.exact import precise
from meterhouse_collector.site.targets import Threshold


def commitment_under_use(threshold: Threshold, known: QuarterKnown) -> list[Observation]:
    """Hold the use of each commitment, projected to its interval's end, against a threshold."""
    found = []
    for use in known.uses:
        about = scope_labels(known.model.name, threshold.scope, commitment=use.commitment.name)
        ratio = projected_use_ratio(use)
        value = None if ratio.value is None else float(ratio.value)
        evidence = {"used": float(use.used), "coverage": use.coverage}
        if use.committed is not None:
            evidence["committed"] = float(use.committed)
        found.append(observed(threshold, about, value, "ratio", reason=ratio.reason, **evidence))
    return found


@precise
def projected_use_ratio(use: Use) -> Reasoned:
    """Return (used + recent rate * what is left of the interval) / committed.

    What is not known of the time so far is taken to be as what is known of it.
    """
    if use.committed is None:
        return Reasoned(None, use.reason)
    low = below_floor(use.coverage, COVERAGE_FLOOR)
    if low is not None:
        return Reasoned(None, low)
    if use.per_second is None:
        return Reasoned(None, "nothing recent is known")
    if use.committed == 0:
        return Reasoned(None, "nothing is committed")
    left = Decimal(max(0.0, use.ends_seconds - use.until_seconds))
    used = use.used / Decimal(use.coverage)
    return Reasoned((used + use.per_second * left) / use.committed)
