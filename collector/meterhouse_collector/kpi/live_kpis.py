"""The KPIs that are computed live, whose numerators and denominators are rollup fields."""

from typing import Final

from meterhouse_collector.kpi.catalogue import Kpi

LIVE_KPIS: Final = (
    Kpi(
        "pue",
        "ratio",
        "facility_joint_joules",
        "it_joint_joules",
        "facility energy / IT energy, over the intervals that count for both",
        "ISO/IEC 30134-2, current edition; Green Grid WP49",
    ),
    Kpi(
        "idle_capacity_ratio",
        "ratio",
        "free_seconds - stranded_seconds + held_idle_seconds",
        "active_seconds + held_idle_seconds + free_seconds - stranded_seconds",
        "device-seconds that could work and do not / device-seconds that could work",
        "definitions of this project; OpenCost specification, idle cost",
    ),
    Kpi(
        "cost_per_million_output_tokens",
        "currency per million tokens",
        "serving_money",
        "serving_output_tokens",
        "1e6 * cost of what served / output tokens",
        "InferenceMAX formula with measured tokens and all cost, idle included",
    ),
    Kpi(
        "cost_per_million_tokens",
        "currency per million tokens",
        "serving_money",
        "serving_input_tokens + serving_output_tokens",
        "1e6 * cost of what served / tokens, cached input included",
        "InferenceMAX formula with measured tokens and all cost, idle included",
    ),
    Kpi(
        "cost_per_million_computed_tokens",
        "currency per million tokens",
        "serving_computed_money",
        "serving_computed_tokens",
        "1e6 * cost of what served / tokens, cached input excluded",
        "InferenceMAX formula with measured tokens and all cost, idle included",
    ),
)
