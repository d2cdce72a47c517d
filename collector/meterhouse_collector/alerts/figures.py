"""What the alert engine knows, as plain points: a board shows by them what no rollup has. Pure.

Limits and demand go into ``live`` after each interval, budgets and commitments into ``event`` once
a quarter. A figure that is not known is left out of its point, and ``reason`` says why.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from meterhouse_collector.alerts.conditions.budget import Seen, Spend
from meterhouse_collector.alerts.conditions.commitment import projected_use_ratio
from meterhouse_collector.alerts.known import LiveKnown, LoadKnown, Use
from meterhouse_collector.kpi.headroom import headroom, it_headroom_watts
from meterhouse_collector.kpi.pue import label
from meterhouse_collector.rows import NOBODY, Point, Policy
from meterhouse_collector.site.targets import Budget

Values = Mapping[str, float | str | None]

LIMIT: Final = "limit"
SOURCE: Final = "source"
DEMAND: Final = "demand"
HEADROOM: Final = "headroom"
BUDGET: Final = "budget"
BURN: Final = "burn"
COMMITMENT: Final = "commitment"
SITE: Final = "site"


def live_points(known: LiveKnown) -> list[Point]:
    """Return the limits of the power path, the running demand, and the IT power that fits."""
    at, site = known.at_seconds, known.model.name
    found = [
        *(_limit(site, "power", load, at) for load in known.loads),
        *(_limit(site, "cooling", load, at) for load in known.things.cooling),
        *(
            _point(
                "live",
                SOURCE,
                {"site": site, "kind": source.kind, "source": source.name},
                {"power_watts": source.watts},
                at,
            )
            for source in known.things.sources
            if source.watts is not None
        ),
    ]
    found += [
        _point(
            "live",
            DEMAND,
            {"site": site, "connection": demand.connection},
            {
                "contracted_watts": demand.contracted_watts,
                "projected_watts": demand.projected_watts,
                "known_seconds": demand.known_seconds,
                "elapsed_seconds": demand.elapsed_seconds,
            },
            at,
        )
        for demand in known.demand
    ]
    if known.limits:
        fits = headroom(limits=known.limits)
        values: Values = {
            "it_watts": fits.it_watts,
            "high_it_watts": fits.high_it_watts,
            "binding": fits.binding or NOBODY,
            "reason": fits.reason or "",
        }
        found.append(_point("live", HEADROOM, {"site": site}, values, at))
    return found


def _limit(site: str, kind: str, load: LoadKnown, at_seconds: float) -> Point:
    fits = None
    if load.load_watts is not None and load.marginal_ratio is not None:
        fits = it_headroom_watts(
            limit_watts=load.limit_watts,
            load_watts=load.load_watts,
            marginal_ratio=load.marginal_ratio,
        )
    values: Values = {
        "limit_watts": load.limit_watts,
        "load_watts": load.load_watts,
        "it_headroom_watts": fits,
    }
    tags = {"site": site, "kind": kind, "limit": load.name}
    return _point("live", LIMIT, tags, values, at_seconds)


def site_point(known: LiveKnown) -> Point:
    """Return what boards say of the site's figures: their currency, and the category of PUE."""
    values: Values = {
        "currency": known.model.currency,
        "pue_label": label(known.basis, known.window.seconds),
    }
    return _point("event", SITE, {"site": known.model.name}, values, known.at_seconds)


def budget_points(site: str, budget: Budget, spend: Spend, seen: Iterable[Seen]) -> list[Point]:
    """Return a budget with what was seen of its money, and each of its burns."""
    spent, forecast, *burns = [each.observation for each in seen]
    length = spend.ends_seconds - spend.begins_seconds
    tags = {
        "site": site,
        "budget": budget.name,
        "cluster": budget.scope.cluster or NOBODY,
        "pool": budget.scope.pool or NOBODY,
        "tenant": budget.scope.tenant or NOBODY,
    }
    values: Values = {
        "amount_money": float(budget.amount),
        "spent_money": spent.value,
        "forecast_money": forecast.value,
        "elapsed_ratio": (spend.until_seconds - spend.begins_seconds) / length,
        "ends_seconds": spend.ends_seconds,
        "basis": budget.basis,
        "reason": next((o.reason or "" for o in (spent, forecast) if o.value is None), ""),
    }
    return [
        _point("event", BUDGET, tags, values, spend.until_seconds),
        *(
            _point(
                "event",
                BURN,
                {"site": site, "budget": budget.name, "window": f"{burn.long:g} s"},
                {
                    "long_ratio": observed.evidence.get("long_ratio"),
                    "short_ratio": observed.evidence.get("short_ratio"),
                    "limit_ratio": observed.limit,
                    "reason": observed.reason or "",
                },
                spend.until_seconds,
            )
            for burn, observed in zip(budget.burn, burns, strict=True)
        ),
    ]


def commitment_points(site: str, uses: Iterable[Use]) -> list[Point]:
    """Return what was used of each commitment, in its unit, and where that is heading."""
    found = []
    for use in uses:
        projected = projected_use_ratio(use)
        tags = {
            "site": site,
            "commitment": use.commitment.name,
            "category": use.commitment.category,
        }
        values: Values = {
            "committed": None if use.committed is None else float(use.committed),
            "used": float(use.used),
            "projected_ratio": None if projected.value is None else float(projected.value),
            "coverage_ratio": use.coverage,
            "reason": projected.reason or "",
        }
        found.append(_point("event", COMMITMENT, tags, values, use.until_seconds))
    return found


def _point(
    policy: Policy, measurement: str, tags: Mapping[str, str], values: Values, at_seconds: float
) -> Point:
    fields: dict[str, float | int | str | bool] = {
        name: value if isinstance(value, str) else float(value)
        for name, value in values.items()
        if value is not None
    }
    return Point(policy, measurement, tuple(sorted(tags.items())), fields, int(at_seconds))
