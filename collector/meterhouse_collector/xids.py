"""Fault codes (XID) of devices: from a report to points of the ``event`` bucket, and back. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.rows import NOBODY, Point
from meterhouse_collector.shares import ReportError

KIND: Final = "xid"
MEASUREMENT: Final = "event"
# NVIDIA's catalogue goes up to 172, and NVML says 999 for one unknown (nvml.h, nvmlEventData_t):
# whatever else a node says makes no series of its own.
_OWN_SERIES: Final = frozenset(range(256)) | {999}
_OTHER: Final = "other"

# The codes of each device in one interval, in their order.
Xids = Mapping[str, tuple[int, ...]]
NO_XIDS: Final[Xids] = {}


class ToldXid(NamedTuple):
    """A code that a device told so often in one interval."""

    node: str
    device: str
    xid: int
    times: int
    start_seconds: int


def xids_of(columns: wire.Accelerators, inventory: wire.Inventory) -> Xids:
    """Return the codes of a report by device; raise ``ReportError`` for one that is not there."""
    devices = inventory.devices
    for column in columns.xids:
        if not 0 <= column < len(devices):
            raise ReportError(f"an XID of device {column} of {len(devices)}")
    return {
        devices[column].device or NOBODY: tuple(codes)
        for column, codes in columns.xids.items()
        if codes
    }


def told(node: str, start_seconds: int, xids: Xids) -> Iterator[ToldXid]:
    """Yield each code of each device once."""
    for device, codes in xids.items():
        for xid, count in Counter(codes).items():
            yield ToldXid(node, device, xid, count, start_seconds)


def xid_points(site: str, node: str, start_seconds: int, xids: Xids) -> Iterator[Point]:
    """Yield the points of the codes of one report: the same ones however often it comes."""
    for each in told(node, start_seconds, xids):
        tags = (
            ("device", each.device),
            ("kind", KIND),
            ("node", node),
            ("site", site),
            ("xid", str(each.xid) if each.xid in _OWN_SERIES else _OTHER),
        )
        fields: dict[str, float | int | str | bool] = {
            "code": float(each.xid),
            "count": float(each.times),
        }
        yield Point("event", MEASUREMENT, tags, fields, start_seconds)


def told_in(points: Iterable[Point], site: str) -> Iterator[ToldXid]:
    """Yield what points of ``event`` say of the codes of a site."""
    for point in points:
        tags = dict(point.tags)
        if (tags.get("kind"), tags.get("site")) == (KIND, site):
            code, count = point.fields.get("code"), point.fields.get("count")
            if isinstance(code, (int, float)) and isinstance(count, (int, float)):
                node, device = tags.get("node", NOBODY), tags.get("device", NOBODY)
                yield ToldXid(node, device, int(code), int(count), point.start_seconds)
