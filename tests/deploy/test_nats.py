"""The deployed NATS lets an identity speak for itself only, as the deployed Mosquitto does."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiomqtt
import pytest

from meterhouse_agent.wire import MAX_PAYLOAD_BYTES, MessageKind, topic
from tests.deploy.brokers import (
    ADDRESS,
    COLLECTOR,
    DAYS,
    DEPLOY,
    NODES,
    USERS,
    enrolled,
    made_authority,
)
from tests.servers import Nats, NatsCluster, binary, mqtt_answers

FILES: Final = DEPLOY / "nats"
SITE: Final = "site-1"
HEARD_SECONDS: Final = 30.0
REFUSED: Final = 0x80
REPORT, STATUS, RECEIPT = MessageKind.REPORT, MessageKind.STATUS, MessageKind.RECEIPT
Message = tuple[str, bytes]


def users(*nodes: str) -> str:
    """Return what users.sh prints."""
    done = subprocess.run([FILES / "users.sh", *nodes], check=True, capture_output=True, text=True)
    return done.stdout


def installed(folder: Path) -> Path:
    """Put the files of ``deploy/nats`` into a folder; return the main one."""
    for name in ("nats-server.conf", "nats-routes.conf"):
        shutil.copy(FILES / name, folder / name)
    (folder / "nats-users.conf").write_text(users(*NODES))
    return folder / "nats-server.conf"


class Deployed(Nats):
    """A server with the very files of ``deploy/nats``: only paths, names and ports differ."""

    tls: ssl.SSLContext

    def _arguments(self) -> list[str]:
        conf = installed(self.folder)
        text = conf.read_text()
        for found, put in (
            ("$NATS_NAME", self.name),
            ("127.0.0.1:4222", f"127.0.0.1:{self.client_port}"),
            ("0.0.0.0:6222", f"127.0.0.1:{self.route_port}"),
            ("0.0.0.0:8883", f"127.0.0.1:{self.port}"),
            ("/var/lib/nats/", f"{self.folder}/"),
            ("/etc/nats/certs/", f"{self.folder.parent}/certs/"),
        ):
            assert found in text
            text = text.replace(found, put)
        conf.write_text(text)
        routes = self.folder / "nats-routes.conf"
        text = routes.read_text().replace("CHANGE-ME", "password-of-routes")
        for number, peer in enumerate(self.peers, 1):
            found = f"n{number}.example:6222"
            assert found in text
            text = text.replace(found, f"127.0.0.1:{peer.route_port}")
        routes.write_text(text)
        return ["-c", str(conf)]

    def _answers(self) -> bool:
        return mqtt_answers(self.port, self.tls)


class Site:
    """A cluster, and the certificates that open it."""

    def __init__(self, folder: Path) -> None:
        authority, other = made_authority(folder / "ca"), made_authority(folder / "other-ca")
        authority.enroll("broker", ADDRESS, renew=False, now=datetime.now(UTC), days=DAYS)
        self.authority = authority
        self.identities = {user: enrolled(authority, user) for user in USERS}
        self.identities["foreign"] = enrolled(other, "node-a")
        certificates = folder / "certs"
        certificates.mkdir()
        shutil.copy(authority.paths("broker", ADDRESS).key, certificates / "broker.key")
        shutil.copy(authority.paths("broker", ADDRESS).certificate, certificates / "broker.pem")
        shutil.copy(authority.certificate, certificates / "nodes-ca.pem")
        Deployed.tls = self.tls(COLLECTOR)
        self.cluster = NatsCluster(folder, Deployed)

    def tls(self, user: str | None) -> ssl.SSLContext:
        """Return what a client trusts, and shows where it has a certificate."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        if user is not None:
            paths = self.identities[user]
            context.load_cert_chain(paths.certificate, paths.key)
        return context

    def client(
        self, user: str, *, server: int = 0, claims: str | None = None, will: Message | None = None
    ) -> aiomqtt.Client:
        """Return a client with the certificate of a user."""
        return aiomqtt.Client(
            ADDRESS,
            self.cluster.servers[server].port,
            identifier=f"{user}-{server}-{claims}",
            username=claims or user,
            tls_context=self.tls(user),
            protocol=aiomqtt.ProtocolVersion.V311,
            timeout=10,
            will=None if will is None else aiomqtt.Will(*will, qos=1),
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("nats"))
    with made.cluster:
        yield made


def at(node: str, kind: MessageKind) -> str:
    return topic(SITE, node, kind)


async def heard(reader: aiomqtt.Client, last: Message) -> list[Message]:
    """Return what comes, up to a message that was sent after all others."""
    found: list[Message] = []
    async with asyncio.timeout(HEARD_SECONDS):
        async for message in reader.messages:
            assert isinstance(message.payload, bytes)
            found.append((str(message.topic), message.payload))
            if found[-1] == last:
                break
    return found


async def listen(reader: aiomqtt.Client) -> None:
    for kind in (REPORT, STATUS):
        await reader.subscribe(f"meterhouse/v1/+/+/+/{kind.value}", qos=0)


async def publish(client: aiomqtt.Client, where: str, payload: bytes) -> None:
    """Publish what may be refused: NATS may hang up on who tries."""
    with suppress(aiomqtt.MqttError):
        async with client:
            await client.publish(where, payload, qos=1)


@pytest.mark.parametrize(
    ("user", "where"),
    [
        ("node-a", at("node-b", REPORT)),
        ("node-a", at("node-b", STATUS)),
        ("node-a", at("node-b", RECEIPT)),
        ("node-a", at("node-a", RECEIPT)),
        ("node-a", at("node-a", REPORT) + "/more"),
        ("node-a", "meterhouse/v2/site-1/00/node-a/report"),
        ("collector", at("node-a", REPORT)),
        ("collector", at("node-a", STATUS)),
    ],
)
async def test_what_is_forged_is_dropped_and_ones_own_crosses_the_cluster(
    site: Site, user: str, where: str
) -> None:
    own = (at("node-a", REPORT), b"own")
    async with site.client(COLLECTOR, server=1, claims="a-listener") as collector:
        await listen(collector)
        await publish(site.client(user), where, b"forged")
        await publish(site.client("node-a", claims="node-b"), at("node-b", REPORT), b"forged")
        async with site.client("node-a", server=2) as node:
            await node.publish(*own)
            assert await heard(collector, own) == [own]


async def test_a_node_hears_its_own_receipts_and_nothing_else(site: Site) -> None:
    last = (at("node-a", RECEIPT), b"of a")
    async with (
        site.client(COLLECTOR, server=1) as collector,
        site.client("node-a", server=2) as node,
        site.client("node-b") as other,
    ):
        for where in (
            "#",
            "meterhouse/v1/+/+/+/receipt",
            at("node-b", RECEIPT),
            at("node-b", REPORT),
        ):
            (granted,) = await node.subscribe(where, qos=0)
            assert getattr(granted, "value", granted) == REFUSED
        await node.subscribe(at("node-a", RECEIPT), qos=0)
        await other.publish(at("node-b", REPORT), b"secret", qos=1)
        await other.publish(at("node-b", STATUS), b"secret", qos=1)
        await collector.publish(at("node-b", RECEIPT), b"of b")
        await collector.publish(*last)
        assert await heard(node, last) == [last]


async def test_a_forged_last_will_is_dropped_and_ones_own_is_said(site: Site) -> None:
    own = (at("node-b", STATUS), b"offline")
    async with site.client(COLLECTOR, server=1) as collector:
        await listen(collector)
        for user, will in (("node-a", (at("node-b", STATUS), b"forged")), ("node-b", own)):
            with suppress(aiomqtt.MqttError):
                async with site.client(user, will=will) as doomed:
                    connection = doomed._client.socket()
                    assert isinstance(connection, socket.socket)
                    connection.shutdown(socket.SHUT_RDWR)
        assert await heard(collector, own) == [own]


@pytest.mark.parametrize("user", ["foreign", None])
async def test_nobody_comes_in_without_a_certificate_of_the_authority(
    site: Site, user: str | None
) -> None:
    client = aiomqtt.Client(
        ADDRESS,
        site.cluster.servers[0].port,
        username="node-a",
        password="password",
        tls_context=site.tls(user),
        timeout=3,
    )
    with pytest.raises(aiomqtt.MqttError):
        async with client:
            pytest.fail("it was let in")


def test_the_files_are_what_nats_takes(tmp_path: Path, site: Site) -> None:
    conf = installed(tmp_path)
    text = conf.read_text().replace(
        "/etc/nats/certs/", f"{site.cluster.servers[0].folder.parent}/certs/"
    )
    conf.write_text(text)
    environment = {**os.environ, "NATS_NAME": "n1"}
    command = [binary("nats-server"), "-t", "-c", str(conf)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "configuration file" in done.stderr
    assert f"\nmax_payload: {MAX_PAYLOAD_BYTES}\n" in text


@pytest.mark.parametrize("name", ["collector", "a.b", "a b", "*", ""])
def test_what_is_no_node_gets_no_rights(name: str) -> None:
    done = subprocess.run([FILES / "users.sh", name], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is no name of a node" in done.stderr
