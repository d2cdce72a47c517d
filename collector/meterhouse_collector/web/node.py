"""One node: its devices as they are now, and their states and readings of the last hour."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import DETAIL_STATE
from meterhouse_collector.rows import Point
from meterhouse_collector.store import Store
from meterhouse_collector.web.fleet import LETTERS, Fleet

PAST_SECONDS: Final = 3600
GAUGES: Final = (
    "power_watts",
    "utilization_ratio",
    "sm_activity_ratio",
    "memory_used_bytes",
    "temperature_celsius",
    "throttled_milliseconds",
)
_UNKNOWN: Final = LETTERS[-1]
_DRAWN: Final = ("power_watts", "temperature_celsius")


class DeviceView(Struct, frozen=True, kw_only=True):
    """One device: its last readings, and its past.

    ``states`` has one letter for each of the node's ``start_seconds``; ``past`` has columns with an
    entry for each of the node's ``past_seconds``.
    """

    name: str
    accelerator_model: str
    readings: Mapping[str, float | None]
    states: str
    unhealthy_reason: str | None
    past: Mapping[str, Sequence[float | None]]


class NodeDetail(Struct, frozen=True, kw_only=True):
    """One node with all its devices; ``reading_seconds`` is the interval of the readings."""

    name: str
    pool: str
    cluster: str
    tenant: str
    reading_seconds: int | None
    said_down: str | None
    start_seconds: Sequence[int]
    past_seconds: Sequence[int]
    devices: Sequence[DeviceView]


async def node_detail(
    fleet: Fleet, store: Store | None, site: str, name: str, now_seconds: float
) -> NodeDetail | None:
    """Return a node of the map, or None where it has none of that name.

    Raises ``StoreUnavailableError`` where its past cannot be read.
    """
    cells = fleet.node(name, now_seconds)
    if cells is None:
        return None
    points: list[Point] = []
    if store is not None:
        end = int(now_seconds) + 1
        points = await store.points(
            "detail",
            "accelerator",
            start_seconds=end - PAST_SECONDS,
            end_seconds=end,
            node=name,
        )
    past = _past(point for point in points if ("site", site) in point.tags)
    starts = sorted({start for columns in past.values() for start in columns})
    last = fleet.last(name)
    now = [] if last is None or last[0] in starts else [last[0]]
    return NodeDetail(
        name=cells.name,
        pool=cells.pool,
        cluster=cells.cluster,
        tenant=cells.tenant,
        reading_seconds=None if last is None else last[0],
        said_down=fleet.said(name, now_seconds),
        start_seconds=[*starts, *now],
        past_seconds=starts,
        devices=[
            DeviceView(
                name=device,
                accelerator_model=cells.accelerator_models[column],
                readings=_readings(None if last is None else last[2], column),
                states=_letters(past.get(device, {}), starts)
                + ((last[1][column : column + 1] or _UNKNOWN) if last is not None and now else ""),
                unhealthy_reason=None if last is None else last[2].unhealthy_reasons.get(column),
                past=_columns(past.get(device, {}), starts),
            )
            for column, device in enumerate(cells.devices)
        ],
    )


def _letters(points: Mapping[int, Point], starts: Sequence[int]) -> str:
    numbers = (
        None if (point := points.get(start)) is None else point.fields.get(DETAIL_STATE.name)
        for start in starts
    )
    return "".join(_UNKNOWN if number is None else LETTERS[int(number)] for number in numbers)


def _readings(last: wire.Accelerators | None, column: int) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in GAUGES:
        values = () if last is None else getattr(last, name)
        found[name] = values[column] if column < len(values) else None
    return found


def _past(points: Iterable[Point]) -> dict[str, dict[int, Point]]:
    found: dict[str, dict[int, Point]] = {}
    for point in points:
        found.setdefault(dict(point.tags)["device"], {})[point.start_seconds] = point
    return found


def _columns(points: Mapping[int, Point], starts: Sequence[int]) -> dict[str, list[float | None]]:
    def value(start: int, name: str) -> float | None:
        point = points.get(start)
        found = None if point is None else point.fields.get(name)
        return None if found is None else float(found)

    return {name: [value(start, name) for start in starts] for name in _DRAWN}
