"""What the site wants to keep: latency objectives, budgets, and the thresholds of alerts."""

from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from meterhouse_collector.settings import Section
from meterhouse_collector.site.base import (
    Dated,
    Duration,
    Lasting,
    Name,
    Share,
    Text,
)

ThresholdKind = Literal[
    "pue",
    "idle",
    "reclaimable_idle",
    "idle_cost",
    "coverage",
    "demand",
    "headroom",
    "commitment",
    "ending",
    "delivery",
    "cost_per_million_tokens",
    "pue_without_value",
    "under_delivered",
    "load",
    "cooling",
    "on_battery",
    "generator_running",
    "supply_lost",
    "temperature_out_of_class",
    "leak",
    "breaker_open",
    "accelerator_lost",
    "accelerator_errors",
    "accelerator_xid",
    "accelerator_throttled",
    "accelerator_hot",
    "node_silent",
    "meter_stale",
    "spool_filling",
    "store_down",
    "collector_behind",
]
RATIO_KINDS: Final = ("idle", "reclaimable_idle", "coverage")
Severity = Literal["page", "ticket", "info"]


class Scope(Section):
    """What a budget or threshold is about; with nothing given, the whole site."""

    site: Name | None = None
    cluster: Name | None = None
    pool: Name | None = None
    tenant: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> "Scope":
        if sum(part is not None for part in (self.cluster, self.pool, self.tenant)) > 1:
            raise ValueError("one of cluster, pool and tenant")
        return self


class Slo(Lasting):
    """A latency objective of a served model, on an edge of its server's histogram buckets."""

    name: Name
    served_model: Text
    metric: Literal[
        "time_to_first_token", "time_per_output_token", "inter_token_latency", "latency"
    ]
    threshold: Duration
    objective_ratio: Share
    window: Duration = Field("30d", validate_default=True)


class Burn(Section):
    """Alerts while both windows spend faster than ``factor`` times the even pace."""

    factor: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    long: Duration
    short: Duration
    severity: Severity = "ticket"

    @model_validator(mode="after")
    def _windows(self) -> "Burn":
        if self.short >= self.long:
            raise ValueError("a short window shorter than the long one")
        return self


# A spend budget burns near 1, and a fixed site can hardly spend twice as fast (kpis.md, 4.6).
BURNS: Final = (
    Burn.model_validate({"factor": 2, "long": "1h", "short": "5m", "severity": "page"}),
    Burn.model_validate({"factor": 1.25, "long": "6h", "short": "30m", "severity": "ticket"}),
    Burn.model_validate({"factor": 1.05, "long": "3d", "short": "6h", "severity": "ticket"}),
)


class Budget(Dated):
    """Money of the reporting currency for each period, amortised or as cash."""

    name: Name
    amount: Annotated[Decimal, Field(gt=0)]
    period: Literal["month", "quarter", "year"] = "month"
    basis: Literal["amortised", "cash"] = "amortised"
    scope: Scope = Scope()
    burn: tuple[Burn, ...] = BURNS


class Threshold(Lasting):
    """A limit that alerts after ``for``, and clears at ``clear`` so that it does not flap.

    ``kind`` decides the unit: ``demand`` and ``headroom`` are in watts, ``ending`` and ``delivery``
    in days, ``idle_cost`` in money per hour, ``cost_per_million_tokens`` in money; what others are
    in says the alert catalogue. A kind that has a default there has it while no threshold of the
    kind is in force.
    """

    name: Name
    kind: ThresholdKind
    above: float | None = Field(None, allow_inf_nan=False)
    below: float | None = Field(None, allow_inf_nan=False)
    clear: float | None = Field(None, allow_inf_nan=False)
    for_: Duration = Field("5m", alias="for", validate_default=True)
    scope: Scope = Scope()
    severity: Severity = "ticket"

    @model_validator(mode="after")
    def _one(self) -> "Threshold":
        if (self.above is None) == (self.below is None):
            raise ValueError("either above or below")
        return self
