"""What the panels of capacity and of service must show."""

from typing import Final

from tests.grafana.fleet import STATES
from tests.grafana.truth import (
    Shown,
    available,
    bounds,
    contracted,
    counted,
    coverage,
    engine_rate,
    engine_ratio,
    high,
    hours,
    installed,
    kpi,
    low,
    over_time,
    per_second,
    ratio,
    table_of_idle,
    values,
    where,
)


def idle_bounds(name: str) -> Shown:
    """Return the bounds and coverage of a part of idle capacity."""
    return Shown(
        {
            "low": low(name),
            "high": high(name),
            "coverage": lambda s, w: values(s, w)[name].coverage if available(s) > 0 else None,
        }
    )


CAPACITY: Final = {
    "Idle capacity": Shown({"ratio": kpi("idle_capacity_ratio")}),
    "Idle capacity: bounds and coverage": Shown(
        {
            "low": low("idle_capacity_ratio"),
            "high": high("idle_capacity_ratio"),
            "coverage": lambda s, w: (
                values(s, w)["idle_capacity_ratio"].coverage if available(s) > 0 else None
            ),
        }
    ),
    "Idle capacity over time": Shown(
        {
            "ratio": over_time("idle_capacity_ratio"),
            "low": low("idle_capacity_ratio"),
            "high": high("idle_capacity_ratio"),
        },
        over_time=True,
    ),
    "Idle capacity by pool": Shown(
        {"ratio": over_time("idle_capacity_ratio")}, over_time=True, by="pool"
    ),
    "Allocation": Shown({"ratio": kpi("allocation_ratio")}),
    "Availability": Shown({"ratio": kpi("availability")}),
    "Availability: bounds and coverage": bounds("availability", "installed_seconds"),
    "Reserve and stranded": Shown(
        {"reserve": per_second("reserve_seconds"), "stranded": per_second("stranded_seconds")},
        over_time=True,
        timed=True,
    ),
    "Unhealthy devices, by reason": Shown(
        {
            "all": per_second("unhealthy_seconds"),
            "failed": per_second("unhealthy_failed_seconds"),
            "lost": per_second("unhealthy_lost_seconds"),
            "planned": per_second("unhealthy_planned_seconds"),
            "quarantined": per_second("unhealthy_quarantined_seconds"),
        },
        over_time=True,
        timed=True,
    ),
    "Waterfall": Shown(
        {
            "bought": hours(lambda s: s["bought_contracted_seconds"], installed),
            "bought, delivered": hours(lambda s: s["bought_delivered_seconds"], installed),
            "sold": hours(lambda s: s["sold_contracted_seconds"], installed),
            "sold, delivered": hours(lambda s: s["sold_delivered_seconds"], installed),
            "installed": hours(installed, installed),
            "available": hours(available, installed),
            "usable": hours(lambda s: available(s) - s["stranded_seconds"], installed),
            "known": hours(
                lambda s: max(0.0, available(s) - s["stranded_seconds"] - s["unknown_seconds"]),
                installed,
            ),
            "allocated": hours(lambda s: s["active_seconds"] + s["held_idle_seconds"], installed),
            "active": hours(lambda s: s["active_seconds"], installed),
        }
    ),
    "States of the fleet": Shown(
        {state: per_second(f"{state}_seconds") for state in STATES}, over_time=True, timed=True
    ),
    "By pool": table_of_idle("pool"),
    "By tenant": table_of_idle("tenant"),
    "By cluster": table_of_idle("cluster"),
    "By accelerator model": table_of_idle("accelerator_model"),
    "Delivered of what is sold": Shown({"sold": kpi("delivered_ratio")}),
    "Delivered of what is bought": Shown({"bought": kpi("bought_delivered_ratio")}),
    "Sold: bounds and coverage": bounds("delivered_ratio", "sold_contracted_seconds"),
    "Bought: bounds and coverage": bounds("bought_delivered_ratio", "bought_contracted_seconds"),
    "Idle, sold": Shown({"ratio": kpi("sold_idle_ratio")}),
    "Idle, not sold": Shown({"ratio": kpi("unsold_idle_ratio")}),
    "Idle of what is bought": Shown({"ratio": kpi("contracted_idle_ratio")}),
    "Idle, sold: bounds": idle_bounds("sold_idle_ratio"),
    "Idle, not sold: bounds": idle_bounds("unsold_idle_ratio"),
    "Idle of what is bought: bounds": idle_bounds("contracted_idle_ratio"),
    "Contracted and delivered: sold": contracted("sold"),
    "Contracted and delivered: bought": contracted("bought"),
    "Sold capacity by tenant": Shown(
        {
            name: (
                lambda s, _, field=field: (
                    s[f"sold_{field}_seconds"] / 3600
                    if s["sold_contracted_seconds"] > s["sold_undetermined_seconds"]
                    else None
                )
            )
            for name, field in (
                ("contracted", "contracted"),
                ("delivered", "delivered"),
                ("not known", "undetermined"),
            )
        }
        | {
            "ratio": lambda s, _: ratio(
                s["sold_delivered_seconds"],
                s["sold_contracted_seconds"] - s["sold_undetermined_seconds"],
            )
        },
        by="tenant",
    ),
}
SERVICE: Final = {
    "Tokens": Shown({"input": counted("input_tokens"), "output": counted("output_tokens")}),
    "Tokens per second, mean": Shown(
        {"input": engine_rate("input_tokens"), "output": engine_rate("output_tokens")}, timed=True
    ),
    "Tokens per second": Shown(
        {"input": engine_rate("input_tokens"), "output": engine_rate("output_tokens")},
        over_time=True,
        timed=True,
    ),
    "Requests per second": Shown(
        {
            "succeeded": engine_rate("requests_succeeded"),
            "failed": engine_rate("requests_failed"),
        },
        over_time=True,
        timed=True,
    ),
    "Success": Shown({"ratio": kpi("success_ratio")}),
    "Success over time": Shown({"success": over_time("success_ratio")}, over_time=True),
    "Engines: coverage": Shown({"coverage": coverage("success_ratio", "engine_installed_seconds")}),
    "Energy per output token": Shown({"energy": kpi("joules_per_output_token")}),
    "Output tokens per second per MW of IT": Shown({"rate": kpi("tokens_per_second_per_megawatt")}),
    "Cache hits": Shown({"hits": engine_ratio("cached_input_tokens", "input_tokens")}),
    "Cache hits over time": Shown(
        {"hits": engine_ratio("cached_input_tokens", "input_tokens")}, over_time=True
    ),
    "Served models": Shown(
        {
            "output per device-hour": lambda s, _: ratio(
                3600 * s["output_tokens"],
                s["engine_installed_seconds"],
                covered=s["input_tokens"] > 0,
            ),
            "output": where("output_tokens", "input_tokens"),
            "input": where("input_tokens", "input_tokens"),
            "succeeded": where("requests_succeeded", "input_tokens"),
            "failed": where("requests_failed", "input_tokens"),
            "cache hits": engine_ratio("cached_input_tokens", "input_tokens"),
        },
        by="served_model",
    ),
}
