"""The two consumers: the collector in its two modes, and Telegraf, each with its own InfluxDB."""

import re
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from meterhouse_collector.kpi.catalogue import DETAIL_FIELDS
from meterhouse_collector.rows import POLICY_DAYS
from tests.bench.fleet import DEVICES, MODEL, SITE, VENDOR, Fleet
from tests.bench.load import LINES_TOPIC, Form
from tests.bench.sink import Sink
from tests.servers import InfluxDB, Mosquitto, binary

Mode = Literal["as_shipped", "same_points", "without_detail"]
READY_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_DRAIN_SECONDS: Final = 30.0
_POOLS: Final = 10
AGENT_NODE: Final = "bench-agent"
_TELEGRAF_BUCKET: Final = "telegraf"
# Both consumers get the whole of a burst queued: what is compared is their CPU, not the queue.
BROKER_CONF: Final = (
    "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"
    "max_queued_messages 0\n"
    "log_dest stderr\nlog_type error\nlog_type warning\nlog_type subscribe\n"
)


class ConsumerError(Exception):
    """A consumer ended or did not begin; the text has the end of what it printed."""


class Stretch(NamedTuple):
    """Intervals by their starts, [start, end)."""

    start_seconds: int
    end_seconds: int


class Consumer(ABC):
    """A process that reads the broker and writes to its InfluxDB; a context manager."""

    name: str
    form: Form
    subscription: str

    def __init__(
        self, folder: Path, broker: Mosquitto, influx: InfluxDB | Sink, fleet: Fleet
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.broker = broker
        self.influx = influx
        self.fleet = fleet
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make the buckets it writes to, once."""

    @abstractmethod
    def command(self) -> list[str]:
        """Write its configuration and return its command."""

    @abstractmethod
    def samples_stored(self, stretch: Stretch) -> int:
        """Count the samples of a stretch that are in the database."""

    @property
    def database(self) -> InfluxDB:
        """The InfluxDB it writes to."""
        if isinstance(self.influx, Sink):
            raise TypeError("BUG: a sink is no database")
        return self.influx

    @property
    def pid(self) -> int:
        """The process id of the running consumer."""
        if self._process is None:
            raise ConsumerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        """All it printed."""
        return self.folder / f"{self.name}.log"

    def __enter__(self) -> Self:
        before = self._subscriptions()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_for_more_than(before)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait_for_more_than(self, subscriptions: int) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while self._subscriptions() == subscriptions:
            self.check()
            if time.monotonic() > deadline:
                raise ConsumerError(f"{self.name} did not subscribe: {self._tail()}")
            time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check(self) -> None:
        """Raise ``ConsumerError`` if the process has ended."""
        if self._process is None or self._process.poll() is not None:
            raise ConsumerError(f"{self.name} ended: {self._tail()}")

    def wait_for(self, samples: int, stretch: Stretch) -> int:
        """Wait until so many samples are stored, or no more come; return how many are."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        while (stored := self.samples_stored(stretch)) < samples and time.monotonic() < deadline:
            self.check()
            time.sleep(0.5)
        return stored

    def _subscriptions(self) -> int:
        return self.broker.log.read_text(errors="replace").count(f" {self.subscription}\n")

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]

    def _count(self, database: str, measurement: str, field: str, stretch: Stretch) -> int:
        # An agent that is measured at the same time is not of the fleet.
        others = f"reader != '{AGENT_NODE}' AND node != '{AGENT_NODE}'"
        times = f"time >= {stretch.start_seconds}s AND time < {stretch.end_seconds}s"
        query = f'SELECT count("{field}") AS n FROM {measurement} WHERE {times} AND {others}'  # noqa: S608 - no user's text
        rows = self.database.influxql(database, query)
        return int(rows[0]["n"]) if rows else 0


class Collector(Consumer):
    """``meterhouse-collector run`` as a process of its own.

    On a sink, which holds no times, the samples of all stretches count: give each its own.
    """

    form: Form = "report"
    subscription = "meterhouse/v1/+/+/+/report"

    def __init__(
        self, folder: Path, broker: Mosquitto, influx: InfluxDB | Sink, fleet: Fleet, mode: Mode
    ) -> None:
        super().__init__(folder, broker, influx, fleet)
        self.name = f"collector-{mode.replace('_', '-')}"
        self.mode = mode
        # Where a profile of the next run goes.
        self.profile: Path | None = None

    def prepare(self) -> None:
        """Make the buckets it writes to, once."""
        if isinstance(self.influx, InfluxDB):
            for policy in POLICY_DAYS:
                self.influx.make_bucket(f"meterhouse/{policy}")

    def command(self) -> list[str]:
        """Write config and site model, and return its command."""
        (self.folder / "token").write_text(self.influx.token)
        (self.folder / "site.toml").write_text(site_model(self.fleet))
        path = self.folder / f"{self.name}.toml"
        path.write_text(self._config())
        run = ["-m", "meterhouse_collector", "run", "-c", str(path), "--log-level", "warning"]
        if self.profile is not None:
            # By its path, for the process runs in a folder of its own.
            run[:2] = ["-P", str(Path(__file__).with_name("profiled.py")), str(self.profile)]
        return [sys.executable, *run]

    def _config(self) -> str:
        length = self.fleet.length_seconds
        every = {"same_points": f"{length}s", "without_detail": "86400s"}.get(self.mode)
        detail = f'detail_every = "{every}"\n' if every is not None else ""
        return (
            f'site = "{self.folder / "site.toml"}"\ninterval = "{length}s"\n{detail}'
            f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\n'
            f'[influx]\nurl = "{self.influx.url}"\norg = "{self.influx.org}"\n'
            f'token = {{ file = "{self.folder / "token"}" }}\n'
        )

    def samples_stored(self, stretch: Stretch) -> int:
        """Count ledger rows, a row for eight samples, and with the same points also those."""
        if isinstance(self.influx, Sink):
            return DEVICES * self.influx.counts().get("node", 0)
        rows = DEVICES * self._count("meterhouse", "ledger.node", "row", stretch)
        if self.mode != "same_points":
            return rows
        points = self._count("meterhouse", "detail.accelerator", _FIELD, stretch)
        return min(rows, points)


class Telegraf(Consumer):
    """Telegraf with its MQTT input, influx parser and InfluxDB 2 output."""

    name = "telegraf"
    form: Form = "lines"
    subscription = f"{LINES_TOPIC}/+"

    def prepare(self) -> None:
        """Make the bucket it writes to, once."""
        self.database.make_bucket(_TELEGRAF_BUCKET)

    def command(self) -> list[str]:
        """Write its configuration and return its command."""
        path = self.folder / "telegraf.conf"
        path.write_text(telegraf_conf(self.broker.port, self.database))
        return [binary("telegraf"), "--config", str(path), "--quiet"]

    def samples_stored(self, stretch: Stretch) -> int:
        """Count the points of a stretch."""
        return self._count(_TELEGRAF_BUCKET, "accelerator", _FIELD, stretch)


_FIELD: Final = DETAIL_FIELDS[0].name


def telegraf_conf(broker_port: int, influx: InfluxDB) -> str:
    """Return Telegraf's configuration for throughput.

    Batches of 5,000 as InfluxDB's documentation advises and a buffer that no burst fills; the
    parser that its documentation calls faster; no compression, as none of the collector's on the
    loopback. The 1,000 undelivered messages of eight points that are its default fill a batch.
    """
    return f"""[agent]
  omit_hostname = true
  metric_batch_size = 5000
  metric_buffer_limit = 1000000
  flush_interval = "10s"
[[inputs.mqtt_consumer]]
  servers = ["tcp://127.0.0.1:{broker_port}"]
  topics = ["{LINES_TOPIC}/+"]
  topic_tag = ""
  qos = 0
  data_format = "influx"
  influx_parser_type = "upstream"
[[outputs.influxdb_v2]]
  urls = ["{influx.url}"]
  token = "{influx.token}"
  organization = "{influx.org}"
  bucket = "{_TELEGRAF_BUCKET}"
  content_encoding = "identity"
"""


_SITE_HEAD: Final = f"""name = "{SITE}"
currency = "EUR"
time_zone = "Europe/Berlin"
[[hardware]]
accelerator_model = "{MODEL}"
vendor = "{VENDOR}"
price_per_device = 25000.0
life = "1825d"
[[tariff]]
per_kwh = 0.18
valid_from = 2020-01-01
"""


def site_model(fleet: Fleet) -> str:
    """Return a site model: the fleet in ten pools of as many tenants, priced."""
    parts = [_SITE_HEAD]
    for pool in range(_POOLS):
        nodes = ", ".join(f'"{fleet.node(index)}"' for index in range(pool, fleet.nodes, _POOLS))
        parts.append(
            f'[[pool]]\nname = "pool-{pool}"\ncluster = "cluster-{pool % 2}"\n'
            f'tenant = "tenant-{pool}"\n'
            f'[[asset]]\nnodes = [{nodes}]\npool = "pool-{pool}"\n'
            f'accelerator_model = "{MODEL}"\ndevices = {DEVICES}\nin_service = 2024-01-01\n'
        )
    return "\n".join(parts)


def telegraf_version() -> str:
    """Return the version of Telegraf, by the paths of its sources in the program."""
    # One that was not built by its own makefile calls itself "unknown".
    found = re.search(rb"influxdata/telegraf@(v[0-9.]+)/", Path(binary("telegraf")).read_bytes())
    return found[1].decode() if found else "unknown"
