"""One node, down to each accelerator: what it does, draws, and suffers from."""

from typing import Final

from grafana_foundation_sdk.builders import statetimeline, table, timeseries
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from grafana.common import alerts
from grafana.frame import Board, Placed, Section
from grafana.influxql import OF_SITE, points_query, table_query
from grafana.look import (
    BYTES,
    CELSIUS,
    HERTZ,
    PERCENT,
    SHORT,
    WATTS,
    Look,
    Size,
    code_mapping,
    state_mapping,
    united,
)
from grafana.shapes import Said, lines, ranking, timeline
from meterhouse_collector.alerts.xids import FATAL
from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS, HOST_FIELDS

_OF_NODE: Final = f'{OF_SITE} AND "node" =~ /^$node$/'
_OF_DEVICE: Final = f'{_OF_NODE} AND "device" =~ /^$device$/'
_DEVICE: Final = ("node", "device")
_NOTHING: Final = "no device tells of it"
_MEANINGS: Final = {field.name: field.meaning for field in DETAIL_FIELDS}
_OF_HOST: Final = {field.name: field.meaning for field in HOST_FIELDS}
_KINDS: Final = (
    "accelerator_lost",
    "accelerator_errors",
    "accelerator_xid",
    "accelerator_throttled",
    "accelerator_hot",
    "node_silent",
    "meter_stale",
    "spool_filling",
)


def board() -> Board:
    """Return the board of nodes and devices."""
    return Board(
        "meterhouse-node",
        "node and device",
        "Every accelerator of the chosen nodes: state, power, heat, clocks, errors.",
        hours=6,
        resolution="live",
        variables=("node", "device"),
        sections=(
            Section("", [Placed(_states(), (24, 9)), Placed(_now(), Size.WHOLE)]),
            Section("Work", _work()),
            Section("Power and heat", _heat()),
            Section("Throttling and errors", _trouble()),
            Section("Hosts", _hosts()),
            Section(
                "Alerts", [Placed(alerts("Alerts of nodes", _KINDS, of_nodes=True), Size.WHOLE)]
            ),
        ),
    )


def _states() -> statetimeline.Panel:
    query = points_query(
        {"state": 'last("state_number")'},
        "detail.accelerator",
        where=_OF_DEVICE,
        over_time=True,
        by=_DEVICE,
    )
    text = (
        "The state that each accelerator was in for most of an interval: the last interval of each "
        "step of which detail is written. A gap is silence."
    )
    return timeline(Said("States", text, _NOTHING), query, alias="$tag_node $tag_device")


def _now() -> table.Panel:
    columns = {
        "state": 'last("state_number")',
        "power": 'last("power_watts")',
        "utilization": 'last("utilization_ratio")',
        "temperature": 'last("temperature_celsius")',
        "memory": 'last("memory_used_bytes")',
    }
    query = table_query(columns, "detail.accelerator", by=_DEVICE, where=_OF_DEVICE)
    looks: dict[str, Look] = {
        "power": united(WATTS, 0),
        "utilization": united(PERCENT, 0),
        "temperature": united(CELSIUS, 0),
        "memory": united(BYTES, 1),
    }
    text = "The last reading of each accelerator in the window."
    panel = ranking(
        Said("Accelerators", text, _NOTHING), query, unit=SHORT, worst="power", looks=looks
    )
    return panel.override_by_name("state", [DynamicConfigValue("mappings", [state_mapping()])])


def _gauge(field: str, title: str, unit: str) -> timeseries.Panel:
    """Return a gauge of each accelerator over time."""
    query = points_query(
        {"value": f'mean("{field}")'},
        "detail.accelerator",
        where=_OF_DEVICE,
        over_time=True,
        by=_DEVICE,
    )
    text = f"Of each accelerator, {_MEANINGS[field]}; the mean of the readings of each step."
    return lines(Said(title, text, _NOTHING), [query], unit=unit, alias="$tag_node $tag_device")


def _sum(field: str, title: str, unit: str) -> timeseries.Panel:
    """Return what was counted at each accelerator in each step."""
    query = points_query(
        {"value": f'sum("{field}")'},
        "detail.accelerator",
        where=_OF_DEVICE,
        over_time=True,
        by=_DEVICE,
    )
    text = (
        f"Of each accelerator, {_MEANINGS[field]}: the sum over the intervals of each step of "
        "which detail is written."
    )
    return lines(Said(title, text, _NOTHING), [query], unit=unit, alias="$tag_node $tag_device")


def _work() -> list[Placed]:
    return [
        Placed(_gauge("utilization_ratio", "Utilization", PERCENT).min(0).max(1), Size.THIRD),
        Placed(_gauge("sm_activity_ratio", "SM activity", PERCENT).min(0).max(1), Size.THIRD),
        Placed(_gauge("tensor_activity_ratio", "Tensor activity", PERCENT), Size.THIRD),
        Placed(_gauge("memory_used_bytes", "Memory used", BYTES).min(0), Size.HALF),
        Placed(_gauge("sm_clock_hertz", "Clock", HERTZ), Size.HALF),
    ]


def _heat() -> list[Placed]:
    return [
        Placed(_gauge("power_watts", "Power of accelerators", WATTS).min(0), Size.HALF),
        Placed(_highest(), Size.HALF),
        Placed(_gauge("temperature_celsius", "Temperature", CELSIUS), Size.HALF),
        Placed(_gauge("memory_temperature_celsius", "Memory temperature", CELSIUS), Size.HALF),
    ]


def _highest() -> timeseries.Panel:
    query = points_query(
        {"value": 'max("power_watts_max")'},
        "detail.accelerator",
        where=_OF_DEVICE,
        over_time=True,
        by=_DEVICE,
    )
    text = "Of each accelerator, the highest power of any interval of the step."
    said = Said("Highest power of accelerators", text, _NOTHING)
    return lines(said, [query], unit=WATTS, alias="$tag_node $tag_device")


def _trouble() -> list[Placed]:
    return [
        Placed(_sum("throttled_milliseconds", "Throttled", "ms"), Size.THIRD),
        Placed(_sum("throttled_power_milliseconds", "Throttled for power", "ms"), Size.THIRD),
        Placed(_sum("throttled_thermal_milliseconds", "Throttled for heat", "ms"), Size.THIRD),
        Placed(_sum("ecc_corrected_errors", "Corrected memory errors", SHORT), Size.HALF),
        Placed(_sum("ecc_uncorrected_errors", "Uncorrected memory errors", SHORT), Size.HALF),
        Placed(_fault_codes(), Size.WHOLE),
    ]


def _fault_codes() -> table.Panel:
    query = table_query(
        {"times": 'sum("count")'},
        "event.event",
        by=("node", "device", "xid"),
        where=f"{_OF_DEVICE} AND \"kind\" = 'xid'",
    )
    text = (
        "Fault codes that the driver told of each accelerator, and how often. Those with a meaning "
        "want a reset or a reboot, and alert for a quarter hour; of others NVIDIA's catalogue says "
        "what they are."
    )
    said = Said("Fault codes (XID)", text, "the driver told of no fault")
    panel = ranking(said, query, unit=SHORT, worst="times").decimals(0)
    mapping = DynamicConfigValue("mappings", [code_mapping(FATAL)])
    coloured_text = DynamicConfigValue("custom.cellOptions", {"type": "color-text"})
    return panel.override_by_name("xid", [mapping, coloured_text])


def _hosts() -> list[Placed]:
    fields = {
        "cpu_utilization_ratio": ("CPU utilization", PERCENT),
        "memory_used_bytes": ("Memory of hosts", BYTES),
        "temperature_celsius": ("CPU temperature", CELSIUS),
    }
    return [Placed(_host(field, *shown), Size.THIRD) for field, shown in fields.items()]


def _host(field: str, title: str, unit: str) -> timeseries.Panel:
    query = points_query(
        {"value": f'mean("{field}")'}, "detail.host", where=_OF_NODE, over_time=True, by=("node",)
    )
    text = f"Of each host, {_OF_HOST[field]}; the mean of the readings of each step."
    said = Said(title, text, "no host tells of it")
    return lines(said, [query], unit=unit, alias="$tag_node")
