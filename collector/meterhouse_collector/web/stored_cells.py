"""The map of a steward, which hears no report: the states of devices as the store has them.

They are as old as the detail of single devices is far apart.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import DETAIL_STATE
from meterhouse_collector.rows import Point
from meterhouse_collector.store import Store, StoreUnavailableError
from meterhouse_collector.web.fleet import LETTERS, Fleet
from meterhouse_collector.web.node import GAUGES

_LOG: Final = logging.getLogger(__name__)
# Detail is in the store so long after its interval began, late ones apart.
_LATE_SECONDS: Final = 30


class StoredCells:
    """Reads the newest detail of every device again and again, into the map."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        site: str,
        *,
        every_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._site = site
        self._every_seconds = every_seconds
        self._clock = clock
        fleet.patience_seconds = 2 * every_seconds + _LATE_SECONDS

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self.read()
            except StoreUnavailableError as error:
                # The writer tells of the outage.
                _LOG.debug("the map waits for the store: %s", error)
            await asyncio.sleep(max(1.0, self._every_seconds / 2))

    async def read(self) -> None:
        """Read once."""
        end = int(self._clock()) + 1
        start = end - round(2 * self._every_seconds + _LATE_SECONDS)
        points = await self._store.points(
            "detail", "accelerator", start_seconds=start, end_seconds=end
        )
        for (node, at), devices in _by_node(points, self._site).items():
            self._fleet.take_cells(node, at, *_told(devices))


def _by_node(points: Iterable[Point], site: str) -> dict[tuple[str, int], dict[str, Point]]:
    """Return the newest detail of each node, by device."""
    newest: dict[str, int] = {}
    found: dict[tuple[str, int], dict[str, Point]] = {}
    for point in points:
        tags = dict(point.tags)
        if tags["site"] == site and DETAIL_STATE.name in point.fields:
            node, start = tags["node"], point.start_seconds
            found.setdefault((node, start), {})[tags["device"]] = point
            newest[node] = max(start, newest.get(node, start))
    return {key: devices for key, devices in found.items() if newest[key[0]] == key[1]}


def _told(devices: dict[str, Point]) -> tuple[str, wire.Inventory, wire.Accelerators]:
    names = sorted(devices, key=lambda name: (len(name), name))
    fields = [devices[name].fields for name in names]
    letters = "".join(LETTERS[int(each[DETAIL_STATE.name])] for each in fields)
    models = [dict(devices[name].tags)["accelerator_model"] for name in names]
    inventory = wire.Inventory(
        devices=[
            wire.Device(device=name, vendor="", accelerator_model=model)
            for name, model in zip(names, models, strict=True)
        ]
    )
    columns: dict[str, list[float | None]] = {
        gauge: [None if (v := each.get(gauge)) is None else float(v) for each in fields]
        for gauge in GAUGES
    }
    return letters, inventory, wire.Accelerators(**columns)  # type: ignore[arg-type] # columns alone
