"""What the panels of a whole site must show: power, sources, water, heat, carbon, coverage."""

from typing import Final

from tests.grafana.fleet import STATES, Sums
from tests.grafana.truth import (
    JOULES_PER_KWH,
    SOURCES,
    Shown,
    Truth,
    available,
    coverage,
    kpi,
    over_time,
    per_second,
    ratio,
    values,
    where,
)


def drawn(s: Sums) -> float:
    """Return what devices drew, as measured at them."""
    return sum(s[f"{state}_joules"] for state in STATES)


def beside_devices(s: Sums, _: float) -> float | None:
    """Return the IT power that no device accounts for."""
    equipment = ratio(s["it_joint_joules"], s["pue_joint_seconds"])
    devices = ratio(drawn(s), s["interval_seconds"])
    return None if equipment is None or devices is None else equipment - devices


def factored(side: str) -> Truth:
    """Return the part of the time in which every source has a factor."""
    return lambda s, _: ratio(
        s["interval_seconds"] - s[f"{side}_unfactored_seconds"], s["interval_seconds"]
    )


_OF_SITE: Final = {
    "Power": Shown(
        {
            "facility": per_second("facility_joint_joules", "pue_joint_seconds"),
            "it": lambda s, _: ratio(
                s["it_expected_joules"], s["interval_seconds"] - s["pue_unexpected_seconds"]
            ),
        },
        over_time=True,
    ),
    "Power path": Shown(
        {
            "facility": per_second("facility_joint_joules", "pue_joint_seconds"),
            "IT": per_second("it_joint_joules", "pue_joint_seconds"),
            "into the UPS": per_second("ups_in_joint_joules", "ups_joint_seconds"),
            "out of the UPS": per_second("ups_out_joint_joules", "ups_joint_seconds"),
            "devices": lambda s, _: ratio(drawn(s), s["interval_seconds"]),
            "active devices": per_second("active_joules"),
            "all but IT": lambda s, _: ratio(
                s["facility_joint_joules"] - s["it_joint_joules"], s["pue_joint_seconds"]
            ),
            "UPS losses": lambda s, _: ratio(
                s["ups_in_joint_joules"] - s["ups_out_joint_joules"], s["ups_joint_seconds"]
            ),
            "beside devices": beside_devices,
            "other devices": lambda s, _: ratio(
                drawn(s) - s["active_joules"], s["interval_seconds"]
            ),
        }
    ),
    "Cooling and losses": Shown(
        {
            "all but IT": lambda s, _: ratio(
                s["facility_joint_joules"] - s["it_joint_joules"], s["pue_joint_seconds"]
            ),
            "UPS": lambda s, _: ratio(
                s["ups_in_joint_joules"] - s["ups_out_joint_joules"], s["ups_joint_seconds"]
            ),
        },
        over_time=True,
    ),
    "Billed energy": Shown(
        {
            "billed": where("billed_joules", "billed_joules", 1 / JOULES_PER_KWH),
            "estimated": where("estimated_billed_joules", "billed_joules", 1 / JOULES_PER_KWH),
            "hours without": where("unbilled_seconds", "billed_joules", 1 / 3600),
        }
    ),
    "UPS efficiency": Shown({"ratio": kpi("ups_efficiency")}),
    "UPS: coverage": Shown({"coverage": coverage("ups_efficiency", "interval_seconds")}),
    "Source mix": Shown(
        {
            name: where(f"{name}_joint_joules", "sources_joint_seconds", 1 / JOULES_PER_KWH)
            for name in SOURCES
        }
    ),
    "Power by source": Shown(
        {name: per_second(f"{name}_joint_joules", "sources_joint_seconds") for name in SOURCES},
        over_time=True,
    ),
    "Taken from the grid": Shown(
        {"grid": per_second("grid_joint_joules", "sources_joint_seconds")}, over_time=True
    ),
    "Renewable energy factor": Shown({"REF": kpi("ref")}),
    "Renewable energy factor over time": Shown({"REF": over_time("ref")}, over_time=True),
    "Sources: coverage": Shown({"coverage": coverage("ref", "interval_seconds")}),
    "Energy reuse factor": Shown({"ERF": kpi("erf")}),
    "Energy reuse factor over time": Shown({"ERF": over_time("erf")}, over_time=True),
    "Heat: coverage": Shown({"coverage": coverage("erf", "interval_seconds")}),
    "Heat handed over": Shown(
        {"heat": where("reused_heat_joules", "reused_heat_joules", 1 / JOULES_PER_KWH)}
    ),
    "Water": Shown({"water": where("water_litres", "water_litres")}),
    "Water taken in": Shown(
        {
            "water": lambda s, _: ratio(
                s["water_litres"], s["interval_seconds"], covered=s["water_litres"] > 0
            )
        },
        over_time=True,
    ),
    "WUE": Shown({"WUE": kpi("wue")}),
    "WUE, source": Shown({"WUE": kpi("wue_source")}),
    "CUE": Shown({"CUE": kpi("cue")}),
    "Carbon: coverage": Shown({side: factored(side) for side in ("location", "market")}),
    "Carbon": Shown(
        {
            "by location": where("location_carbon_kg", "interval_seconds"),
            "by market": where("market_carbon_kg", "interval_seconds"),
            "fuel": where("fuel_carbon_kg", "interval_seconds"),
            "refrigerant": where("refrigerant_carbon_kg", "interval_seconds"),
        }
    ),
    "Stranded by power and cooling": Shown(
        {"stranded": per_second("stranded_seconds")}, over_time=True
    ),
}
SITE: Final = {title: shown._replace(of_site=True) for title, shown in _OF_SITE.items()}
BY_STATE: Final = Shown(
    {state: per_second(f"{state}_drawn_joules") for state in STATES}, over_time=True, timed=True
)
# Of one panel some columns are of the site, and some of the chosen groups.
COVERAGE_OF_SITE: Final = {
    "PUE": coverage("pue", "it_expected_joules"),
    "water": coverage("wue", "it_expected_joules"),
    "sources": coverage("ref", "interval_seconds"),
    "UPS": coverage("ups_efficiency", "interval_seconds"),
}
COVERAGE_OF_GROUPS: Final = {
    "idle capacity": lambda s, w: (
        values(s, w)["idle_capacity_ratio"].coverage if available(s) > 0 else None
    ),
    "cost per token": coverage("cost_per_million_output_tokens", "engine_installed_seconds"),
    "sold": coverage("delivered_ratio", "sold_contracted_seconds"),
    "engines": coverage("success_ratio", "engine_installed_seconds"),
}
