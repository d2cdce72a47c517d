"""What there is to read: the fields of a rollup and of the device detail; what a KPI's row says.

A rollup row always writes all its fields, as floats; a name, once released, keeps its meaning.
"Device-seconds" add up over devices, "seconds" do not.
"""

from typing import Final, Literal, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.money.kinds import JOULES_KINDS, KINDS, SECONDS_KINDS

Need = Literal[
    "water meter",
    "emission factor of its grid",
    "emission factor with litres",
    "energy source",
    "heat reuse meter",
    "meter on each side of the UPS",
    "engine",
    "contract that sells capacity",
    "contract that buys capacity",
]


class Kpi(NamedTuple):
    """A formula; numerator and denominator are rollup fields where it is live, else inputs.

    A live one without what it ``needs`` of the site model has no value and is not shown; ``of``
    is the formula that computes it, where that has another name.
    """

    name: str
    unit: str
    numerator: str
    denominator: str
    formula: str
    source: str
    needs: Need | None = None
    of: str = ""


class Field(NamedTuple):
    """A field of a rollup or of the device detail."""

    name: str
    unit: str
    meaning: str


LATENCIES: Final = {
    "time_to_first_token": "time to the first token",
    "time_per_output_token": "time per output token after the first",
    "latency": "time from end to end",
}
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_SPLIT_BY: Final = {
    **dict.fromkeys(SECONDS_KINDS, "by device-seconds"),
    **dict.fromkeys(JOULES_KINDS, "by drawn joules"),
}
_MONEY: Final = tuple(
    Field(f"{state}_{kind}_money", "currency", f"{kind}, {_SPLIT_BY[kind]}")
    for kind in KINDS
    for state in wire.STATES
)
_REST: Final = "the same with the rest of the node over it, and network and storage by number"
_SILENT: Final = f"{_REST}, and what metered nodes are expected to have drawn while silent"
_DRAWN: Final = tuple(
    Field(f"{state}_drawn_joules", "joules", _SILENT if state == "unknown" else _REST)
    for state in wire.STATES
)
_CONTRACTED: Final = (
    *(
        field
        for side, who in (("sold", "to the tenant of the group"), ("bought", "for the site"))
        for field in (
            Field(f"{side}_contracted_seconds", "device-seconds", f"{side} {who} by contract"),
            Field(
                f"{side}_delivered_seconds", "device-seconds", "of it, in whole units that were up"
            ),
            Field(
                f"{side}_undetermined_seconds", "device-seconds", "of it, in units of unknown state"
            ),
        )
    ),
    Field(
        "sold_idle_seconds",
        "device-seconds",
        "free less stranded, and held idle, in pools that a contract sells",
    ),
    Field("sold_unknown_seconds", "device-seconds", "unknown in pools that a contract sells"),
)

# All of the site group only; "joint" is of the intervals in which both sides of a ratio are known.
FLOW_FIELDS: Final = (
    Field("water_litres", "litres", "taken in, as measured"),
    Field("water_joint_litres", "litres", "taken in, of intervals that count for WUE"),
    Field("water_it_joint_joules", "joules", "IT energy of the same intervals"),
    Field("water_source_joint_litres", "litres", "taken in, and to make the energy"),
    Field("water_source_it_joint_joules", "joules", "IT energy of the same intervals"),
    Field("reused_heat_joules", "joules", "handed over for use outside, as measured"),
    Field("reused_heat_joint_joules", "joules", "of intervals that count for ERF"),
    Field("reused_heat_facility_joint_joules", "joules", "facility energy of the same intervals"),
    Field("reused_heat_joint_seconds", "seconds", "intervals that count for ERF"),
    Field("grid_joint_joules", "joules", "from the grid: what no other source gave"),
    Field("ppa_joint_joules", "joules", "from power purchase agreements with meters"),
    Field("on_site_joint_joules", "joules", "from the site's own sources, fuel apart"),
    Field("fuel_joint_joules", "joules", "from generators"),
    Field("purchased_cooling_joint_joules", "joules", "of purchased cooling, by its stated factor"),
    Field("storage_joint_joules", "joules", "discharged less charged"),
    Field("export_joint_joules", "joules", "that left the site"),
    Field("renewable_joint_joules", "joules", "renewable part of sources, certificates retired"),
    Field("sources_joint_joules", "joules", "facility energy of intervals with all sources known"),
    Field("sources_joint_seconds", "seconds", "intervals with all sources known"),
    Field("ups_in_joint_joules", "joules", "into the UPS, of intervals with both sides known"),
    Field("ups_out_joint_joules", "joules", "out of the UPS, of the same intervals"),
    Field("ups_joint_seconds", "seconds", "intervals with both sides of the UPS known"),
    Field("location_carbon_kg", "kg", "scope 2 by location: energy bought * factor"),
    Field("market_carbon_kg", "kg", "scope 2 by market: energy bought * factor"),
    Field("location_unfactored_seconds", "seconds", "without a location factor of some source"),
    Field("market_unfactored_seconds", "seconds", "without a market factor of some source"),
    Field("energy_carbon_joint_kg", "kg", "scope 2 by location and fuel burnt, as CUE counts it"),
    Field("carbon_it_joint_joules", "joules", "IT energy of the same intervals"),
    Field("fuel_carbon_kg", "kg", "scope 1 of fuel burnt, by hand, evenly over its days"),
    Field("refrigerant_carbon_kg", "kg", "scope 1 of refrigerant lost, by hand, over its day"),
)

ROLLUP_FIELDS: Final = (
    Field("interval_seconds", "seconds", "length of what was rolled up; site group only"),
    Field("active_seconds", "device-seconds", "computing"),
    Field("held_idle_seconds", "device-seconds", "allocated or held by a process, doing nothing"),
    Field("free_seconds", "device-seconds", "held by nobody"),
    Field("unhealthy_seconds", "device-seconds", "lost, failed, drained or in maintenance"),
    Field("unhealthy_failed_seconds", "device-seconds", "part of it: present, and out of order"),
    Field("unhealthy_lost_seconds", "device-seconds", "part of it: no longer there, or said down"),
    Field("unhealthy_planned_seconds", "device-seconds", "part of it: announced work"),
    Field("unhealthy_quarantined_seconds", "device-seconds", "part of it: kept from use"),
    Field("unknown_seconds", "device-seconds", "without telemetry, or with contradicting signals"),
    Field("installed_seconds", "device-seconds", "registered, or shown by telemetry only"),
    Field(
        "stranded_seconds",
        "device-seconds",
        "available beyond what can be powered and cooled, estimated by peak power; 0 without limit",
    ),
    Field("reserve_seconds", "device-seconds", "that pools declare they keep free"),
    *_CONTRACTED,
    Field("active_joules", "joules", "measured at devices while active"),
    Field("held_idle_joules", "joules", "measured at devices while held idle"),
    Field("free_joules", "joules", "measured at devices while free"),
    Field("unhealthy_joules", "joules", "measured at devices while unhealthy"),
    Field("unknown_joules", "joules", "measured at devices while their state was unknown"),
    *_DRAWN,
    Field(
        "unmetered_seconds",
        "device-seconds",
        "of device groups where some device lacked energy for a state it was in",
    ),
    Field("node_energy_joules", "joules", "of whole nodes, where something meters the node"),
    Field("facility_joules", "joules", "signed boundary meters as measured; site group only"),
    Field("it_joules", "joules", "IT meters, or nodes without them, as measured; site group only"),
    Field("facility_joint_joules", "joules", "of intervals that count for PUE, gaps filled"),
    Field("it_joint_joules", "joules", "of intervals that count for PUE, gaps filled"),
    Field("estimated_joint_joules", "joules", "part of both joint sums that fills gaps"),
    Field("it_expected_joules", "joules", "of all intervals, gaps filled by expectation"),
    Field("pue_joint_seconds", "seconds", "intervals that count for PUE; site group only"),
    Field("pue_unexpected_seconds", "seconds", "intervals with a gap of unknown size; site only"),
    Field("billed_joules", "joules", "what the energy tariff applies to, gaps filled; site only"),
    Field("estimated_billed_joules", "joules", "part of billed_joules that fills gaps; site only"),
    Field("unbilled_seconds", "seconds", "intervals whose billed energy is not known; site only"),
    *FLOW_FIELDS,
    Field("input_tokens", "tokens", "read by engines, cached ones included"),
    Field("cached_input_tokens", "tokens", "input tokens served from a cache"),
    Field("output_tokens", "tokens", "written by engines"),
    Field("requests_succeeded", "requests", "finished by a stop or by their length"),
    Field("requests_failed", "requests", "finished for any other reason"),
    Field("engine_installed_seconds", "device-seconds", "held by engines, by the register"),
    Field("engine_told_seconds", "device-seconds", "of engines that told of themselves"),
    Field("engine_covered_seconds", "device-seconds", "of engines with tokens and cost known"),
    Field(
        "engine_computed_covered_seconds",
        "device-seconds",
        "of engines with tokens, cache hits and cost known",
    ),
    *_MONEY,
    Field("estimated_energy_money", "currency", "part of the energy bill that fills gaps; site"),
    *(
        Field(f"due_{kind}_money", "currency", f"what is due for {kind} in all; site only")
        for kind in JOULES_KINDS
    ),
    Field("unpriced_energy_seconds", "seconds", "without a price of energy; site only"),
    Field("unpriced_seconds", "device-seconds", "without a price of hardware or of energy"),
    Field("serving_money", "currency", "cost of engines with tokens known, with pool overhead"),
    Field("serving_accrued_money", "currency", "part of serving_money that goes by device-seconds"),
    Field("serving_drawn_joules", "joules", "by which the rest of serving_money is split"),
    Field("serving_output_tokens", "tokens", "of the engines in serving_money"),
    Field("serving_input_tokens", "tokens", "of the engines in serving_money"),
    Field("serving_computed_money", "currency", "cost of engines with cache hits known too"),
    Field(
        "serving_computed_accrued_money",
        "currency",
        "part of serving_computed_money that goes by device-seconds",
    ),
    Field(
        "serving_computed_drawn_joules",
        "joules",
        "by which the rest of serving_computed_money is split",
    ),
    Field("serving_computed_tokens", "tokens", "input less cached, and output, of those engines"),
    Field("served_drawn_joules", "joules", "of engines with tokens and energy known, and overhead"),
    Field("served_output_tokens", "tokens", "of those engines"),
    Field("served_covered_seconds", "device-seconds", "of those engines"),
    *(
        Field(f"{metric}_observed_requests", "requests", f"of which {meaning} was observed")
        for metric, meaning in LATENCIES.items()
    ),
)
ROLLUP_FIELD_NAMES: Final = tuple(field.name for field in ROLLUP_FIELDS)

# In the same row, for one group and one stretch of time: no sum of them means anything.
QUANTILE_FIELDS: Final = tuple(
    Field(f"{metric}_{name}_seconds", "seconds", f"{ratio:.0%} of requests: {meaning} at most")
    for metric, meaning in LATENCIES.items()
    for name, ratio in QUANTILES.items()
)
QUANTILE_FIELD_NAMES: Final = tuple(field.name for field in QUANTILE_FIELDS)

DETAIL_FIELDS: Final = (
    Field("energy_joules", "joules", "measured in the interval, over all states"),
    Field("power_watts", "watts", "mean"),
    Field("power_watts_max", "watts", "maximum"),
    Field("utilization_ratio", "ratio", "share of time with any kernel resident"),
    Field("sm_activity_ratio", "ratio", "share of multiprocessor cycles with a warp resident"),
    Field("tensor_activity_ratio", "ratio", "share of cycles in which a tensor pipe was active"),
    Field("memory_used_bytes", "bytes", "mean"),
    Field("temperature_celsius", "degrees Celsius", "of the device"),
    Field("memory_temperature_celsius", "degrees Celsius", "of its memory"),
    Field("sm_clock_hertz", "hertz", "mean"),
    Field("throttled_milliseconds", "milliseconds", "clock lowered, for any cause"),
    Field("throttled_power_milliseconds", "milliseconds", "clock lowered for power"),
    Field("throttled_thermal_milliseconds", "milliseconds", "clock lowered for heat"),
    Field("ecc_corrected_errors", "errors", "counted in the interval"),
    Field("ecc_uncorrected_errors", "errors", "counted in the interval"),
)

# Beside them, of every device of a report.
DETAIL_STATE: Final = Field(
    "state_number",
    "number",
    "the state for most of the interval: "
    + ", ".join(f"{number} {state}" for number, state in enumerate(wire.STATES)),
)

HOST_FIELDS: Final = (
    Field("energy_joules", "joules", "of the whole node, where something meters it"),
    Field("cpu_energy_joules", "joules", "of its processors"),
    Field("cpu_utilization_ratio", "ratio", "mean over all processors"),
    Field("memory_used_bytes", "bytes", "mean"),
    Field("temperature_celsius", "degrees Celsius", "of its processors"),
)

SENSOR_FIELDS: Final = (
    Field("covered_milliseconds", "milliseconds", "of the interval that was read"),
    Field("temperature_celsius", "degrees Celsius", "mean"),
    Field("temperature_celsius_max", "degrees Celsius", "maximum"),
    Field("contact_milliseconds", "milliseconds", "in which its contact meant alarm"),
)

# Beside them, of a temperature whose bounds are in the site model.
SENSOR_BOUNDS: Final = (
    Field("low_celsius", "degrees Celsius", "the least that its class or the site model allows"),
    Field("high_celsius", "degrees Celsius", "the most that its class or the site model allows"),
)

QUEUE_FIELDS: Final = (
    Field("running_requests", "requests", "that the engine worked at, mean"),
    Field("waiting_requests", "requests", "that waited for it, mean"),
)
