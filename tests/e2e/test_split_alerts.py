"""Faults and sensors through split roles: a driver and a gateway, two intakes, and a steward.

What wakes somebody is told by agents to the intakes, by these to the steward, and fires there.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meterhouse_agent.sources.modbus_sensors import TemperatureRegister
from meterhouse_agent.wire import slot_of
from meterhouse_collector.rows import Point, Policy
from meterhouse_collector.store.influx import InfluxStore
from tests.e2e.configs import SITE, Table, asset, site_head
from tests.e2e.pipeline import Pipeline
from tests.e2e.programs import Program
from tests.e2e.scale_run import HELD, write_intake
from tests.stand_ins.modbus_meter import ModbusGateway, StandInSensor
from tests.stand_ins.nvml import Nvml

GPU_NODE: Final = "node-1"
HALL_NODE: Final = "hall-a"
SENSOR: Final = "inlet-1"
TENTHS: Final = TemperatureRegister(function_code=4, address=3, type="int16", celsius_per_count=0.1)
XID: Final = "accelerator_xid"
WARM: Final = "temperature_out_of_class"
FOR_EVER: Final = 2**33


class SplitPipeline(Pipeline):
    """A pipeline whose collector is a steward, with two intakes beside it."""

    def __init__(self, folder: Path, *, site: Table) -> None:
        self.intakes: dict[str, Program] = {}
        super().__init__(folder, site=site, interval=1)
        for name, slots in (("a", "00-31"), ("b", "32-63")):
            self.intakes[name] = Program(folder, f"intake-{name}", "meterhouse-collector")
            write_intake(self, self.intakes[name], name, slots)
        self.configure_collector(role="steward", held=HELD)

    @property
    def programs(self) -> list[Program]:
        """The steward, the intakes and the agents."""
        return [*super().programs, *self.intakes.values()]

    def start_all(self) -> None:
        """Start servers, steward, intakes and agents."""
        self.start()
        for program in self.programs:
            program.start()

    def firing(self, kind: str) -> float:
        """Return how many alerts of a kind fire by what the steward says of itself."""
        return self.collector.metric("meterhouse_alert_firing", alert=kind)

    def stored(self, policy: Policy, measurement: str, kind: str) -> list[Point]:
        """Return the points of a measurement that are of one kind."""

        async def read() -> list[Point]:
            store = InfluxStore(self.influx)
            try:
                found = await store.points(
                    policy, measurement, start_seconds=0, end_seconds=FOR_EVER
                )
            finally:
                await store.close()
            return [point for point in found if dict(point.tags).get("kind") == kind]

        return asyncio.run(read())


@dataclass
class Hall:
    """What the agents read: accelerators, and the air before them."""

    driver: Nvml
    gateway: ModbusGateway

    def warm_to(self, celsius: float) -> None:
        """Let the inlet air be so warm from now on."""
        self.gateway.sensors[1].count = 10 * celsius


@asynccontextmanager
async def hall(folder: Path) -> AsyncIterator[Hall]:
    sensor = StandInSensor(unit_id=1, temperature=TENTHS, count=235.0)
    async with ModbusGateway(sensor) as gateway:
        yield Hall(Nvml(folder / "nvml", count=2), gateway)


def site(devices: list[str]) -> Table:
    inlet = {"name": SENSOR, "kind": "inlet", "class": "A1", "cluster": "cluster-a"}
    at_once = {"name": "warm", "kind": WARM, "above": 0.0, "clear": -1.0, "for": "2s"}
    return site_head() | {
        "asset": [asset(GPU_NODE, devices, "h100")],
        "sensor": [inlet | {"readers": [HALL_NODE]}],
        "threshold": [at_once],
    }


def agents(pipeline: Pipeline, read: Hall) -> None:
    pipeline.add_agent(
        "gpus",
        environment=read.driver.environment(),
        node=GPU_NODE,
        source=[{"kind": "nvml", "deadline": "900ms"}],
    )
    sensors = [{"name": SENSOR, "unit_id": 1, "temperature": TENTHS.model_dump(mode="json")}]
    modbus = {"kind": "modbus", "host": "127.0.0.1", "port": read.gateway.port}
    fast = {"timeout": "500ms", "sample_every": "1s", "deadline": "900ms"}
    pipeline.add_agent("hall", node=HALL_NODE, source=[modbus | fast | {"sensors": sensors}])


def follow(pipeline: SplitPipeline, read: Hall) -> None:
    """Let faults come, one of them while their intake is down, and warm air come and go."""

    def fires(kind: str, count: int) -> Callable[[], bool]:
        return lambda: pipeline.firing(kind) == count

    nodes = (GPU_NODE, HALL_NODE)
    pipeline.start_all()
    pipeline.wait_until(lambda: all(map(pipeline.closed_until, nodes)), "both agents report")
    pipeline.wait_until(
        lambda: bool(pipeline.stored("detail", "sensor", "inlet")), "the sensor is read"
    )
    # Of an application, which wakes nobody.
    read.driver.tell(0, 31)
    pipeline.wait_until(
        lambda: bool(pipeline.stored("event", "event", "xid")), "the fault is an event"
    )
    pipeline.sleep(8)
    assert (pipeline.firing(XID), pipeline.firing(WARM)) == (0, 0)

    read.driver.tell(1, 79)
    read.warm_to(33.5)
    pipeline.wait_until(fires(XID, 1), "the fault fires")
    pipeline.wait_until(fires(WARM, 1), "the warm air fires")

    # What is told while the intake is down comes late, and out of the spool.
    read_before = pipeline.closed_until(GPU_NODE)
    pipeline.intakes["a"].kill()
    read.driver.tell(0, 48)
    pipeline.wait_until(lambda: pipeline.closed_until(GPU_NODE) > read_before + 8, "time passes")
    assert pipeline.firing(XID) == 1
    pipeline.intakes["a"].start()
    pipeline.wait_until(fires(XID, 2), "what came late fires")

    # A steward that begins anew takes up what was open.
    pipeline.collector.kill()
    pipeline.collector.start()
    pipeline.wait_until(lambda: ready(pipeline), "the steward is there again")
    pipeline.wait_until(fires(WARM, 1), "the warm air still fires")
    pipeline.wait_until(fires(XID, 2), "both faults still fire")
    read.warm_to(23.0)
    pipeline.wait_until(fires(WARM, 0), "the air is cool again")
    pipeline.wait_until(lambda: len(changes(pipeline, WARM)) > 1, "that is written down")
    assert pipeline.firing(XID) == 2


def ready(pipeline: SplitPipeline) -> bool:
    """Tell whether the steward answers."""
    try:
        pipeline.firing(XID)
    except OSError:
        return False
    return True


def changes(pipeline: SplitPipeline, kind: str) -> list[tuple[dict[str, str], bool]]:
    """Return what alerts of a kind were about, and whether they began to fire or ended."""
    found = [
        (point, {str(point.fields["before"]), str(point.fields["state"])})
        for point in pipeline.stored("event", "event", "alert")
        if point.fields["rule_kind"] == kind
    ]
    return [
        (json.loads(str(point.fields["labels"])), point.fields["state"] == "firing")
        for point, states in sorted(found, key=lambda each: each[0].start_seconds)
        if "firing" in states and len(states) == 2
    ]


async def test_faults_and_warm_air_fire_at_the_steward_whichever_intake_heard_of_them(
    tmp_path: Path,
) -> None:
    assert {slot_of(GPU_NODE) < "32", slot_of(HALL_NODE) < "32"} == {True, False}
    async with hall(tmp_path) as read:
        devices = [gpu.device for gpu in read.driver.gpus]
        with SplitPipeline(tmp_path, site=site(devices)) as pipeline:
            agents(pipeline, read)
            await asyncio.to_thread(follow, pipeline, read)
            told = await asyncio.to_thread(pipeline.stored, "event", "event", "xid")
            warm = await asyncio.to_thread(changes, pipeline, WARM)
            faults = await asyncio.to_thread(changes, pipeline, XID)
            pipeline.assert_logs_are_clean()
    codes = sorted((dict(p.tags)["device"], dict(p.tags)["xid"]) for p in told)
    assert codes == sorted([(devices[0], "31"), (devices[0], "48"), (devices[1], "79")])
    about = {"site": SITE, "cluster": "cluster-a", "sensor": SENSOR}
    assert warm == [(about, True), (about, False)]
    node = {"site": SITE, "node": GPU_NODE}
    assert faults == [
        (node | {"device": devices[1], "xid": "79"}, True),
        (node | {"device": devices[0], "xid": "48"}, True),
    ]
