"""A site of real programs under attack: its honest node must never notice, whoever does what."""

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiomqtt
import msgspec

from meterhouse_agent import wire
from tests.deploy.brokers import ADDRESS, COLLECTOR, Broker
from tests.e2e.configs import SITE
from tests.e2e.programs import Program
from tests.security.sites import NODE, agent, by_certificate, collector, until

HOSTILE: Final = "node-b"
PREFIX: Final = "meterhouse_collector_"
REPORT: Final = wire.MessageKind.REPORT
STATUS: Final = wire.MessageKind.STATUS
RECEIPT: Final = wire.MessageKind.RECEIPT
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Site:
    """The broker as deployed, the collector, and the agent of the honest node."""

    broker: Broker
    collects: Program
    measures: Program
    folder: Path

    def _ask(self, database: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as link:
            return link.execute(query, values).fetchall()

    def rows(self, thing: str, measurement: str = "node") -> dict[int, str]:
        """Return the ledger's rows of a thing by their starts."""
        query = "SELECT start_seconds, row FROM packed WHERE policy = ? AND measurement = ?"
        found = self._ask(
            self.folder / "rows.sqlite", f"{query} AND thing = ?", "ledger", measurement, thing
        )
        return dict(found)

    def all_rows(self, starts: list[int]) -> list[str]:
        """Return every row of the ledger of some starts but the marks, and their live rollups."""
        database, span = self.folder / "rows.sqlite", (min(starts), max(starts))
        packed = "SELECT * FROM packed WHERE policy = 'ledger' AND measurement != 'dirty'"
        points = "SELECT * FROM point WHERE policy = 'live'"
        within = " AND start_seconds BETWEEN ? AND ?"
        return sorted(
            map(str, self._ask(database, packed + within, *span)),
        ) + sorted(map(str, self._ask(database, points + within, *span)))

    def spooled(self) -> int:
        """Return how many reports wait in the spool of the honest node."""
        return int(self.measures.metric("meterhouse_agent_spool_reports"))

    def metric(self, name: str, **labels: str) -> float:
        """Return a counter of the collector."""
        return self.collects.metric(f"{PREFIX}{name}_total", **labels)

    def until_counted(self, name: str, above: float, **labels: str) -> None:
        """Return when a counter of the collector is above a number."""
        until(
            lambda: self.metric(name, **labels) > above,
            f"{name} {labels} is counted",
            self.collects,
        )

    def until_stored(self, thing: str, measurement: str, rows: int) -> None:
        """Return when the ledger has so many rows of a thing."""
        until(
            lambda: len(self.rows(thing, measurement)) >= rows,
            f"{rows} rows of {thing} are stored",
            self.collects,
        )

    def goes_on(self) -> None:
        """Assert that the honest node's rows keep coming, and that nobody notices anything."""
        now = int(time.time())
        until(
            lambda: max(self.rows(NODE), default=0) >= now,
            "the honest node's rows come",
            self.collects,
            self.measures,
        )
        assert self.measures.metric("meterhouse_agent_refused_total") == 0
        assert self.collects.metric(f"{PREFIX}bugs_total") == 0
        for program in (self.collects, self.measures):
            assert "Traceback" not in program.text(), program.text()[-4000:]

    def hostile(self) -> aiomqtt.Client:
        """Return a client with the key of the hostile node: who is root there has it."""
        return aiomqtt.Client(
            ADDRESS,
            self.broker.certificate_port,
            tls_context=self.broker.tls(HOSTILE),
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=30,
        )


@contextmanager
def besieged(folder: Path, *sources: Mapping[str, object]) -> Iterator[Site]:
    """Run the site; its agent reads the host, and what else it is given."""
    with (
        Broker(folder / "broker") as broker,
        collector(
            folder,
            mqtt=by_certificate(broker, COLLECTOR),
            sqlite={"path": str(folder / "rows.sqlite")},
        ) as collects,
        agent(
            folder, mqtt=by_certificate(broker, NODE), source=[{"kind": "host"}, *sources]
        ) as measures,
    ):
        collects.start()
        measures.start()
        site = Site(broker, collects, measures, folder)
        database = folder / "rows.sqlite"
        until(lambda: stored(database) and bool(site.rows(NODE)), "rows", collects, measures)
        yield site


def stored(database: Path) -> bool:
    """Tell whether a collector has made its tables in a database."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as link:
        found = link.execute("SELECT 1 FROM sqlite_master WHERE name = 'packed'").fetchone()
    return found is not None


def at(node: str, kind: wire.MessageKind) -> str:
    """Return a topic of the site."""
    return wire.topic(SITE, node, kind)


def report(start: int, *, joules: float = 100.0, **more: object) -> bytes:
    """Return a report of the hostile node, honest but for what is changed in it."""
    made = wire.Report(
        schema=wire.SCHEMA,
        site=SITE,
        node=HOSTILE,
        start_seconds=start,
        length_seconds=1,
        inventory_hash="",
        host=wire.Host(covered_milliseconds=1000, energy_joules=joules),
    )
    table: Mapping[str, object] = msgspec.to_builtins(made)
    return msgspec.json.encode({**table, **more})


async def receipt(client: aiomqtt.Client) -> wire.Receipt:
    """Return the next receipt that a client hears."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in client.messages:
            assert isinstance(message.payload, bytes)
            return wire.decode_receipt(message.payload)
    raise AssertionError("the connection ended")
