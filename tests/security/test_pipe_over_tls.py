"""The real programs over mutual TLS: reports into a store, receipts back, and an end by the CRL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.deploy.brokers import COLLECTOR, Broker, enrolled
from tests.e2e.programs import Program, wait_for_text
from tests.security.sites import NODE, agent, by_certificate, collector, has, until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as server:
        yield server


def stored(database: Path) -> int:
    """Return how many ledger rows a node has in a database."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        query = "SELECT count(*) FROM packed WHERE policy = 'ledger' AND thing = ?"
        found = connection.execute(query, (NODE,))
        return int(found.fetchone()[0])


def test_reports_are_stored_and_receipts_come_back(broker: Broker, tmp_path: Path) -> None:
    database = tmp_path / "rows.sqlite"
    with (
        collector(
            tmp_path, mqtt=by_certificate(broker, COLLECTOR), sqlite={"path": str(database)}
        ) as collects,
        agent(tmp_path, mqtt=by_certificate(broker, NODE)) as measures,
    ):
        collects.start()
        measures.start()
        settle(measures, collects)
        assert stored(database) > 0
        revoke_and_renew(broker, measures, collects)
        assert (measures.stop(), collects.stop()) == (0, 0)


def settle(measures: Program, collects: Program) -> None:
    until(lambda: has(measures, "meterhouse_agent_receipts_total"), "a receipt", measures, collects)


def revoke_and_renew(broker: Broker, measures: Program, collects: Program) -> None:
    """Lock the node out, as the pages say, and let it in again with a new key."""
    broker.authority.revoke(NODE, now=datetime.now(UTC))
    broker.install(broker.authority)
    broker.restart()
    wait_for_text(measures, "trying again")
    until(lambda: not has(measures, "meterhouse_agent_connected"), "it is out", measures)
    # The agent reads its files at each attempt: it needs no restart.
    enrolled(broker.authority, NODE, renew=True)
    until(lambda: has(measures, "meterhouse_agent_connected"), "it is in again", measures, collects)
