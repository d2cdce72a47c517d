"""How much more IT a site can carry: every limit at its own node of the power path."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, positive
from meterhouse_collector.kpi.value import Reasoned


class PathLimit(NamedTuple):
    """One limit, and what its own node carries after the failure that it must survive.

    ``marginal_ratio`` is what one more watt of IT adds here: 1 at the IT itself, the marginal PUE
    at the grid. A load that nobody knows is None.
    """

    name: str
    limit_watts: float
    load_watts: float | None
    marginal_ratio: float


class Headroom(NamedTuple):
    """IT watts that still fit, and the limit that binds.

    Where the load at some limit is not known there is only an upper bound. Below zero it does not
    fit now.
    """

    it_watts: float | None
    high_it_watts: float | None
    binding: str | None
    reason: str | None = None


def headroom(*, limits: Sequence[PathLimit]) -> Headroom:
    """Return the least of (limit - load after the failure) / marginal ratio over all limits.

    Each limit is compared with the load at its own node, then converted to IT watts: UPS 1,200,
    IT 1,000, site 1,250 kW leave +200, not -50 (definitions: Headroom). Raises ``ValueError`` for
    an amount that is negative or no number.
    """
    for limit in limits:
        not_negative(limit_watts=limit.limit_watts, load_watts=limit.load_watts)
        positive(marginal_ratio=limit.marginal_ratio)
    found = [
        (
            it_headroom_watts(
                limit_watts=limit.limit_watts,
                load_watts=limit.load_watts,
                marginal_ratio=limit.marginal_ratio,
            ),
            limit.name,
        )
        for limit in limits
        if limit.load_watts is not None
    ]
    if not found:
        return Headroom(None, None, None, "no limit with a known load")
    least, name = min(found)
    missing = sorted(limit.name for limit in limits if limit.load_watts is None)
    if missing:
        return Headroom(None, least, name, f"the load is not known at {', '.join(missing)}")
    return Headroom(least, least, name)


def it_headroom_watts(*, limit_watts: float, load_watts: float, marginal_ratio: float) -> float:
    """Return (limit - load) / marginal ratio: what fits at one node, in watts of IT.

    At the grid that is (site limit - site power now) / marginal PUE (reference 1.2). Below zero
    where it does not fit. Raises ``ValueError`` for negative watts and a ratio not above 0.
    """
    not_negative(limit_watts=limit_watts, load_watts=load_watts)
    positive(marginal_ratio=marginal_ratio)
    return (limit_watts - load_watts) / marginal_ratio


def marginal_pue_ratio(
    *,
    facility_before_watts: float,
    facility_after_watts: float,
    it_before_watts: float,
    it_after_watts: float,
) -> Reasoned:
    """Return what a further watt of IT adds at the site: change of facility / change of IT.

    Below 1 the site moved for another reason than its IT, and headroom divided by that would be
    too large. Definitions: Headroom. Raises ``ValueError`` for negative watts.
    """
    not_negative(
        facility_before_watts=facility_before_watts,
        facility_after_watts=facility_after_watts,
        it_before_watts=it_before_watts,
        it_after_watts=it_after_watts,
    )
    change = it_after_watts - it_before_watts
    if change == 0:
        return Reasoned(None, "the IT load did not change")
    marginal = (facility_after_watts - facility_before_watts) / change
    if marginal < 1:
        return Reasoned(None, f"{marginal:.3g} is below 1: not only the IT load changed")
    return Reasoned(marginal)


class DemandInterval(NamedTuple):
    """The mean and the maximum of the power in one demand interval."""

    mean_watts: float
    maximum_watts: float


def compared_load_watts(
    *, intervals: Sequence[DemandInterval], limit: Literal["contract", "breaker"]
) -> Reasoned:
    """Return the load that a limit is compared with.

    A contract counts the mean of a demand interval, a breaker trips on the maximum (definitions:
    Headroom). Raises ``ValueError`` for an amount that is negative or no number.
    """
    for each in intervals:
        not_negative(mean_watts=each.mean_watts, maximum_watts=each.maximum_watts)
    loads = [each.mean_watts if limit == "contract" else each.maximum_watts for each in intervals]
    return Reasoned(max(loads)) if loads else Reasoned(None, "nothing was measured")


KPIS: Final = (
    Kpi(
        "headroom",
        "by name",
        "limit_watts - load_watts",
        "marginal_ratio",
        "least over all limits of (limit - load at its node) / marginal ratio",
        "definitions of this project, headroom",
    ),
    Kpi(
        "it_headroom_watts",
        "watts",
        "limit_watts - load_watts",
        "marginal_ratio",
        "(limit - load) / marginal ratio",
        "definitions of this project, headroom",
    ),
    Kpi(
        "marginal_pue_ratio",
        "ratio",
        "facility_after_watts - facility_before_watts",
        "it_after_watts - it_before_watts",
        "change of facility / change of IT",
        "definitions of this project, headroom",
    ),
    Kpi(
        "compared_load_watts",
        "watts",
        "mean_watts or maximum_watts",
        "1",
        "largest mean for a contract, largest maximum for a breaker",
        "definitions of this project, headroom",
    ),
)
