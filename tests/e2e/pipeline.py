"""The whole pipe on real servers: agents, broker, collector and database, in one folder."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import SecretStr

from meterhouse_collector.settings import Secret
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from meterhouse_collector.store.init_influx import init_influx
from tests.e2e.configs import Table, agent_config, collector_config, document
from tests.e2e.ledger import Ledger, read_ledger
from tests.e2e.programs import Program, ProgramError
from tests.servers import InfluxDB, Mosquitto

PATIENCE_SECONDS = 100.0
NO_TRACE_OF = ("Traceback", "Task exception was never retrieved", "BUG:")


class Pipeline:
    """A site's programs and servers; as a context manager its servers run inside the block."""

    def __init__(self, folder: Path, *, site: Table, interval: int) -> None:
        self.folder = folder
        self.interval = interval
        self.spool_folder = folder / "spool"
        self.broker = Mosquitto(folder / "mosquitto")
        self.database = InfluxDB(folder / "influxdb")
        self.agents: dict[str, Program] = {}
        self._site = site
        self.influx = InfluxConfig(
            url=self.database.url,
            org=self.database.org,
            token=Secret(file=folder / "collector.token"),
            timeout="5s",  # type: ignore[arg-type] # parsed
        )
        self.collector = Program(folder, "collector", "meterhouse-collector")
        self.configure_collector()

    def configure_collector(self, **more: object) -> None:
        """Write the collector's config and site model, with other keys than the usual ones."""
        influx = {
            "url": self.influx.url,
            "org": self.influx.org,
            "token": {"file": self.influx.token.file},
            "timeout": "5s",
        }
        config = collector_config(
            self.folder,
            interval=self.interval,
            broker_port=self.broker.port,
            page_port=self.collector.metrics_port,
            more={"influx": influx, **more},
        )
        self.collector.config.write_text(document(config))
        (self.folder / "site.toml").write_text(document(self._site))

    def add_agent(
        self, name: str, *, environment: Mapping[str, str] | None = None, **more: object
    ) -> Program:
        """Write the config of one more agent process; ``more`` has its nodes and sources."""
        agent = Program(self.folder, name, "meterhouse-agent", environment=environment)
        config = agent_config(
            self.folder,
            interval=self.interval,
            broker_port=self.broker.port,
            metrics_port=agent.metrics_port,
            more=more,
        )
        agent.config.write_text(document(config))
        self.agents[name] = agent
        return agent

    def start(self, *, broker: bool = True) -> None:
        """Start the servers and make the buckets."""
        if broker:
            self.broker.start()
        self.database.start()
        token = self.influx.token.file
        assert token is not None
        asyncio.run(
            init_influx(
                self.influx,
                SecretStr(self.database.token),
                collector_token_file=token,
                grafana_token_file=self.folder / "grafana.token",
            )
        )

    def start_all(self) -> None:
        """Start servers, collector and agents."""
        self.start()
        self.collector.start()
        for agent in self.agents.values():
            agent.start()

    @property
    def programs(self) -> list[Program]:
        """The collector and the agents."""
        return [self.collector, *self.agents.values()]

    def wait_until(
        self, good: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return when something is so; fail if it never becomes so or a program ends."""
        deadline = time.monotonic() + seconds
        while not good():
            for program in self.programs:
                program.check()
            if time.monotonic() > deadline:
                raise ProgramError(f"not within {seconds:g} s: {what}\n{self.logs()}")
            time.sleep(0.1)

    def sleep(self, seconds: float) -> None:
        """Let the pipe work for a while, and notice if a program ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.1)
            for program in self.programs:
                program.check()

    def read(self, start_seconds: int, end_seconds: int) -> Ledger:
        """Read the ledger of a window back from the database."""

        async def read() -> Ledger:
            store = InfluxStore(self.influx)
            try:
                return await read_ledger(store, start_seconds, end_seconds)
            finally:
                await store.close()

        ledger = asyncio.run(read())
        assert ledger.twice == [], "rows are there twice"
        return ledger

    def spool_path(self, node: str) -> Path:
        """Return where the spool of a node lies."""
        return self.spool_folder / f"{node}.spool"

    def spooled(self, node: str) -> list[int]:
        """Return the starts of the reports that wait in a node's spool."""
        rows = self._ask_spool(node, "SELECT start_seconds FROM report ORDER BY start_seconds")
        return [int(start) for (start,) in rows]

    def closed_until(self, node: str) -> int:
        """Return the end of the last interval that a node's agent has reported, 0 for none."""
        query = "SELECT value FROM state WHERE key = 'closed_until_seconds'"
        return max((int(value) for (value,) in self._ask_spool(node, query)), default=0)

    def _ask_spool(self, node: str, query: str) -> list[tuple[Any, ...]]:
        path = self.spool_path(node)
        if not path.exists():
            return []
        with closing(sqlite3.connect(path, timeout=30)) as database:
            try:
                return database.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                # The agent has made the file, and is about to make its tables.
                if "no such table" in str(error):
                    return []
                raise

    def wait_reported(
        self, nodes: Iterable[str], until_seconds: int, seconds: float = PATIENCE_SECONDS
    ) -> None:
        """Return when every node has reported up to a time, and has receipts for all of it."""
        names = list(nodes)

        def settled() -> bool:
            return all(
                self.closed_until(node) >= until_seconds
                and not any(start < until_seconds for start in self.spooled(node))
                for node in names
            )

        self.wait_until(settled, f"{names} have receipts up to {until_seconds}", seconds)

    def logs(self) -> str:
        """Return what every program logged, its end only."""
        return "\n".join(f"--- {p.name}\n{p.text()[-6000:]}" for p in self.programs)

    def assert_logs_are_clean(self) -> None:
        """Assert that no program showed anybody a traceback."""
        for program in self.programs:
            for trace in NO_TRACE_OF:
                assert trace not in program.text(), f"{program.name}:\n{program.text()[-8000:]}"

    def close(self) -> None:
        """Kill everything."""
        for program in self.programs:
            program.close()
        self.broker.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            error.add_note(self.logs())
        self.close()
