"""What the size of a fleet costs: the curve, the largest fleets, and how fresh a KPI is."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple

from tests.bench.consumers import BROKER_CONF, Collector, Mode
from tests.bench.fleet import DEVICES, Fleet
from tests.bench.load import Load, loading
from tests.bench.sink import Sink
from tests.bench.stretch import Measured, Plan, measure
from tests.servers import InfluxDB, Mosquitto

# Recorded intervals; they are published over and again.
_RECORDED: Final = 2
_POLL_SECONDS: Final = 0.05
_PATIENCE_SECONDS: Final = 20.0
# Groups of the bench's site: its ten pools, and the site.
_GROUPS: Final = 11


Store = Literal["InfluxDB", "discards"]


class Size(NamedTuple):
    """A fleet, what it writes to and what it is measured with."""

    nodes: int
    length_seconds: int
    store: Store
    plan: Plan
    mode: Mode = "as_shipped"

    @property
    def accelerators(self) -> int:
        """How many accelerators it has."""
        return self.nodes * DEVICES


class Scaled(NamedTuple):
    """What a fleet of one size cost."""

    size: Size
    measured: Measured
    freshness_seconds: list[float]


def measure_size(folder: Path, size: Size) -> Scaled:
    """Run a collector as shipped under a fleet, with a broker and a store of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    fleet = Fleet(size.nodes, size.length_seconds)
    with ExitStack() as stack:
        broker = stack.enter_context(Mosquitto(folder / "broker", BROKER_CONF))
        store: InfluxDB | Sink
        if size.store == "InfluxDB":
            store = stack.enter_context(InfluxDB(folder / "influxdb"))
        else:
            store = stack.enter_context(Sink())
        collector = Collector(folder / "collector", broker, store, fleet, size.mode)
        collector.prepare()
        load: Load = stack.enter_context(loading(broker.port, fleet, _RECORDED, ("report",)))
        fresh: list[float] = []
        watch = _watching(store, size, fresh) if isinstance(store, InfluxDB) else ExitStack()
        with watch:
            measured = measure(collector, load, size.plan)
    return Scaled(size, measured, fresh[size.plan.warm_up :])


@contextmanager
def _watching(influx: InfluxDB, size: Size, fresh: list[float]) -> Iterator[None]:
    """Note for each interval how long after its end its rollups could be read."""
    ended = threading.Event()
    thread = threading.Thread(target=_watch, args=(influx, size, fresh, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(influx: InfluxDB, size: Size, fresh: list[float], ended: threading.Event) -> None:
    length = size.length_seconds
    start = (int(time.time()) // length + 1) * length
    while not ended.wait(max(0.0, start + length - time.time())):
        while not ended.wait(_POLL_SECONDS):
            rolled, told = _state(influx, start)
            now = time.time()
            # Before the load, or after it, all nodes are silent: that is no fleet's interval.
            if rolled >= _GROUPS and told > 0:
                fresh.append(now - start - length)
            if rolled >= _GROUPS or now - start - length > _PATIENCE_SECONDS:
                break
        start += length


def _state(influx: InfluxDB, start_seconds: int) -> tuple[int, float]:
    query = (
        "SELECT count(installed_seconds) AS n, sum(active_seconds) AS told FROM live.rollup "  # noqa: S608 - no user's text
        f"WHERE time = {start_seconds}s"
    )
    rows = influx.influxql("meterhouse", query)
    return (int(rows[0]["n"]), float(rows[0]["told"] or 0.0)) if rows else (0, 0.0)
