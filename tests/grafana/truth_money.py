"""What the panels of PUE, of cost, and of money must show."""

from typing import Final

from tests.grafana.fleet import STATES, Sums
from tests.grafana.truth import (
    KINDS,
    PRICE,
    Shown,
    coverage,
    kpi,
    money,
    of_kind,
    over_time,
    per_hour,
    priced,
    ratio,
    revenue,
    sale,
    spent,
    values,
)


def _costed(s: Sums, window: float) -> bool:
    return values(s, window)["cost_per_million_output_tokens"].value is not None


MONEY: Final = {
    "PUE, interim": Shown({"pue": kpi("pue")}, of_site=True),
    "PUE: coverage": Shown({"coverage": coverage("pue", "it_expected_joules")}, of_site=True),
    "PUE over time, interim": Shown({"pue": over_time("pue")}, over_time=True, of_site=True),
    "Cost per million output tokens": Shown({"cost": kpi("cost_per_million_output_tokens")}),
    "Cost per million tokens": Shown({"all": kpi("cost_per_million_tokens")}),
    "Cost per million computed tokens": Shown(
        {"computed": kpi("cost_per_million_computed_tokens")}
    ),
    "Cost: coverage": Shown(
        {"coverage": coverage("cost_per_million_output_tokens", "engine_installed_seconds")}
    ),
    "Cost per million output tokens over time": Shown(
        {"cost": over_time("cost_per_million_output_tokens")}, over_time=True
    ),
    "Cost per million tokens over time": Shown(
        {
            "output": over_time("cost_per_million_output_tokens"),
            "all": over_time("cost_per_million_tokens"),
            "computed": over_time("cost_per_million_computed_tokens"),
        },
        over_time=True,
    ),
    "Money per hour": Shown(
        {"all": per_hour(*STATES), "idle": per_hour("held_idle", "free")}, timed=True
    ),
    "Money: coverage": Shown(
        {
            "priced": lambda s, _: ratio(
                s["installed_seconds"] - s["unpriced_seconds"], s["installed_seconds"]
            )
        }
    ),
    "Where the money went": Shown(
        {
            **{f"active_{kind}": of_kind(kind, "active") for kind in KINDS},
            **{state: spent(state) for state in STATES[1:]},
            "total": spent(*STATES),
        }
    ),
    "Money per hour by state": Shown(
        {state: per_hour(state) for state in STATES}, over_time=True, timed=True
    ),
    "Money by kind": Shown(
        {kind: of_kind(kind, *STATES) for kind in KINDS} | {"total": spent(*STATES)}
    ),
    "Cost of idle capacity": Shown(
        {kind: of_kind(kind, "held_idle", "free") for kind in KINDS}
        | {"total": spent("held_idle", "free")}
    ),
    "Cost by served model": Shown(
        {
            "cost per M output": kpi("cost_per_million_output_tokens"),
            "money": lambda s, w: s["serving_money"] if _costed(s, w) else None,
            "output tokens": lambda s, w: s["serving_output_tokens"] if _costed(s, w) else None,
            "input tokens": lambda s, w: s["serving_input_tokens"] if _costed(s, w) else None,
            "coverage": lambda s, w: ratio(
                s["engine_covered_seconds"], s["engine_installed_seconds"], covered=_costed(s, w)
            ),
        },
        by="served_model",
    ),
    "Cost by accelerator model": Shown(
        {
            "per device-hour": lambda s, _: ratio(
                3600 * money(s, *STATES), s["installed_seconds"], covered=priced(s)
            ),
            "money": spent(*STATES),
            "idle": spent("held_idle", "free"),
            "device-hours": lambda s, _: s["installed_seconds"] / 3600 if priced(s) else None,
        },
        by="accelerator_model",
    ),
    "Margin": Shown({"margin": sale(lambda s: 1 - s["serving_money"] / revenue(s))}),
    "Revenue, cost and margin": Shown(
        {
            "revenue": sale(revenue),
            "cost": sale(lambda s: s["serving_money"]),
            "margin": sale(lambda s: revenue(s) - s["serving_money"]),
        }
    ),
    "Break-even, output tokens per second": Shown(
        {
            "break-even": sale(lambda s: s["serving_money"] / PRICE * 1e6 / s["interval_seconds"]),
            "now": sale(lambda s: s["serving_output_tokens"] / s["interval_seconds"]),
        },
        timed=True,
    ),
}
