"""The path of the power as a picture: from the boundary to what computes, and what leaves it."""

from typing import Final

from grafana_foundation_sdk.builders import canvas

from grafana.flow import Arrow, Place, root
from grafana.influxql import Scope, points_query, rollup_query
from grafana.look import WATTS
from grafana.shapes import Said, flow
from meterhouse_agent.wire import STATES

# From the left: the path itself above, and below it what does not go on.
_PLACES: Final = (
    Place("facility", 0, 0, "facility"),
    Place("into the UPS", 1, 0, "facility"),
    Place("out of the UPS", 2, 0, "facility"),
    Place("PDU", 3, 0, "facility"),
    Place("IT", 4, 0, "it"),
    Place("devices", 5, 0, "it"),
    Place("active devices", 6, 0, "active"),
    Place("all but IT", 0, 1, "losses"),
    Place("cooling", 1, 1, "losses"),
    Place("UPS losses", 2, 1, "losses"),
    Place("UPS to PDU", 3, 1, "losses"),
    Place("beside devices", 5, 1, "it"),
    Place("other devices", 6, 1, "it"),
)
_ARROWS: Final = (
    Arrow("facility", "into the UPS"),
    Arrow("into the UPS", "out of the UPS"),
    Arrow("out of the UPS", "PDU"),
    Arrow("PDU", "IT"),
    Arrow("IT", "devices"),
    Arrow("devices", "active devices"),
    Arrow("facility", "all but IT"),
    Arrow("facility", "cooling"),
    Arrow("into the UPS", "UPS losses"),
    Arrow("out of the UPS", "UPS to PDU"),
    Arrow("IT", "beside devices"),
    Arrow("devices", "other devices"),
)
_DRAWN: Final = " + ".join(f"{state}_joules" for state in STATES)
_NOT_ACTIVE: Final = " + ".join(f"{state}_joules" for state in STATES if state != "active")


def power_path() -> canvas.Panel:
    """Return the mean power at each place of the path, and what is lost between them."""
    text = (
        "Mean power at each place: joules / seconds of the intervals in which it is known. Above "
        "the path from the boundary to active devices; below what leaves it: all but IT = facility "
        "- IT, of which cooling is what its own meters show; UPS losses = in - out; UPS to PDU = "
        "out of the UPS - PDU; beside devices = IT - devices: the rest of the nodes, network and "
        "storage; other devices are idle, unhealthy or unknown. PDU and cooling are of quarter "
        "hours that are summed. A box that says not known has no meter, or nothing was measured."
    )
    said = Said("Power path", text, "not known")
    return flow(said, _queries(), root(_PLACES, _ARROWS, (2.0, 62.0)), unit=WATTS, decimals=1)


def _queries() -> list[str]:
    site = {
        "facility": "facility_joint_joules / pue_joint_seconds",
        "IT": "it_joint_joules / pue_joint_seconds",
        "all but IT": "(facility_joint_joules - it_joint_joules) / pue_joint_seconds",
    }
    ups = {
        "into the UPS": "ups_in_joint_joules / ups_joint_seconds",
        "out of the UPS": "ups_out_joint_joules / ups_joint_seconds",
        "UPS losses": "(ups_in_joint_joules - ups_out_joint_joules) / ups_joint_seconds",
    }
    devices = {
        "devices": f"({_DRAWN}) / interval_seconds",
        "active devices": "active_joules / interval_seconds",
        "other devices": f"({_NOT_ACTIVE}) / interval_seconds",
    }
    beside = {
        "beside devices": f"it_joint_joules / pue_joint_seconds - ({_DRAWN}) / interval_seconds"
    }
    both = "pue_joint_seconds > 0 AND interval_seconds > 0"
    return [
        rollup_query(site, where="pue_joint_seconds > 0", scope=Scope.SITE),
        rollup_query(ups, where="ups_joint_seconds > 0", scope=Scope.SITE),
        rollup_query(devices, where="interval_seconds > 0", scope=Scope.SITE),
        rollup_query(beside, where=both, scope=Scope.SITE),
        _of_points({"cooling": "joules / seconds"}, "cooling_joules", "cooling_seconds"),
        _of_points({"PDU": "joules / seconds"}, "pdu_joules", "pdu_seconds"),
        _of_points(
            {"UPS to PDU": "(before - joules) / seconds"},
            "pdu_joint_joules",
            "pdu_joint_seconds",
            before="ups_out_joint_joules",
        ),
    ]


def _of_points(columns: dict[str, str], joules: str, seconds: str, **more: str) -> str:
    fields = {"joules": joules, "seconds": seconds, **more}
    sums = {name: f'sum("{field}")' for name, field in fields.items()}
    return points_query(sums, "event.path", then=columns, only="seconds > 0")
