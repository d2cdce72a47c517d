"""A fleet whose reports several intakes share, with a steward; on Mosquitto or a NATS cluster."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from meterhouse_agent.simulation.fleet import FleetSpec
from tests.e2e.configs import collector_config, document
from tests.e2e.fleet_run import FleetRun
from tests.e2e.pipeline import Pipeline
from tests.e2e.programs import Program
from tests.servers import NatsCluster

# Short, so that what is seen late is seen within a test.
HELD: Final = "60s"


def write_intake(
    pipeline: Pipeline, program: Program, name: str, slots: str, **more: object
) -> None:
    """Write the config of an intake of a pipeline, whose collector is then a steward."""
    influx = {
        "url": pipeline.influx.url,
        "org": pipeline.influx.org,
        "token": {"file": pipeline.influx.token.file},
        "timeout": "5s",
    }
    keys = {"role": "intake", "part": name, "slots": slots, "held": HELD, "influx": influx}
    config = collector_config(
        pipeline.folder,
        interval=pipeline.interval,
        broker_port=pipeline.broker.port,
        page_port=program.metrics_port,
        more=keys | more,
    )
    program.config.write_text(document(config))


class ScaleRun(FleetRun):
    """A fleet run whose collector is a steward; ``intakes`` are slots by the name of the part."""

    def __init__(
        self,
        folder: Path,
        fleet: FleetSpec,
        played: Mapping[str, Sequence[str]],
        *,
        interval: int,
        intakes: Mapping[str, str],
        cluster: NatsCluster | None = None,
    ) -> None:
        self.cluster = cluster
        self._mqtt: dict[str, object] = {}
        if cluster is not None:
            first, *others = (server.port for server in cluster.servers)
            more = [f"127.0.0.1:{port}" for port in others]
            self._mqtt = {"host": "127.0.0.1", "port": first, "others": more}
        keys = {name: {"mqtt": self._mqtt} for name in played} if cluster else None
        self.intakes: dict[str, Program] = {}
        super().__init__(folder, fleet, played, interval=interval, keys=keys)
        for name, slots in intakes.items():
            self.intakes[name] = Program(folder, f"intake-{name}", "meterhouse-collector")
            self.configure_intake(name, slots)
        self.configure_collector(role="steward", held=HELD, **self._broker())

    def _broker(self) -> dict[str, object]:
        return {"mqtt": self._mqtt} if self._mqtt else {}

    def configure_intake(self, name: str, slots: str) -> None:
        """Write the config of an intake; it reads it when it starts."""
        write_intake(self, self.intakes[name], name, slots, **self._broker())

    @property
    def programs(self) -> list[Program]:
        """The steward, the intakes and the agents."""
        return [*super().programs, *self.intakes.values()]

    def start_all(self) -> None:
        """Start servers, steward, intakes and agents."""
        self.start(broker=self.cluster is None)
        for program in (self.collector, *self.intakes.values(), *self.agents.values()):
            program.start()
