"""Agent and collector verify the broker themselves, and say in one line why they do not go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from meterhouse_agent.config import MqttConfig as AgentMqtt
from meterhouse_agent.transport import TransportError
from meterhouse_agent.transport.mqtt import LastWill, MqttTransport
from meterhouse_agent.wire import MessageKind, topic
from meterhouse_collector.config import MqttConfig as CollectorMqtt
from meterhouse_collector.enroll.authority import read_identity
from meterhouse_collector.receive.mqtt import probe
from tests.deploy.brokers import ADDRESS, COLLECTOR, Broker

NODE = "node-a"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with Broker(tmp_path_factory.mktemp("broker")) as server:
        yield server


def section(broker: Broker, user: str, **tls: Path) -> dict[str, Any]:
    """Return a section [mqtt] that is right; ``tls`` puts other files in."""
    paths = broker.identities[user]
    files = {
        "ca_file": broker.authority.certificate,
        "certificate_file": paths.certificate,
        "key_file": paths.key,
    }
    return {"host": ADDRESS, "port": broker.certificate_port, "tls": files | tls}


async def agent_trouble(table: dict[str, Any]) -> str | None:
    """Return why the agent's transport does not connect, None if it does."""
    transport = MqttTransport(
        AgentMqtt.model_validate(table),
        node=NODE,
        receipts=topic("site-1", NODE, MessageKind.RECEIPT),
        will=LastWill(topic("site-1", NODE, MessageKind.STATUS), b"{}"),
    )
    try:
        async with transport.connect():
            return None
    except TransportError as error:
        return str(error)


async def collector_trouble(table: dict[str, Any]) -> str | None:
    """Return why the collector's receiver does not connect, None if it does."""
    return await probe(CollectorMqtt.model_validate(table), COLLECTOR)


PROGRAMS = pytest.mark.parametrize(
    ("trouble", "user"), [(agent_trouble, NODE), (collector_trouble, COLLECTOR)]
)


@PROGRAMS
async def test_the_right_files_are_let_in(broker: Broker, trouble: Any, user: str) -> None:  # noqa: ANN401 - one of two
    assert await trouble(section(broker, user)) is None


@PROGRAMS
async def test_a_broker_of_another_authority_is_not_spoken_to(
    broker: Broker,
    trouble: Any,  # noqa: ANN401 - one of two
    user: str,
) -> None:
    other = broker.other_authority.certificate
    found = await trouble(section(broker, user, ca_file=other))
    assert "certificate verify failed" in found
    assert "\n" not in found


@PROGRAMS
async def test_a_broker_of_another_name_is_not_spoken_to(
    broker: Broker,
    trouble: Any,  # noqa: ANN401 - one of two
    user: str,
) -> None:
    found = await trouble(section(broker, user) | {"host": "localhost"})
    assert "certificate is not valid for 'localhost'" in found
    assert "\n" not in found


@PROGRAMS
@pytest.mark.parametrize("file", ["ca_file", "certificate_file", "key_file"])
async def test_a_file_that_is_not_there_is_named(
    broker: Broker,
    tmp_path: Path,
    trouble: Any,  # noqa: ANN401 - one of two
    user: str,
    file: str,
) -> None:
    absent = tmp_path / "absent.pem"
    found = await trouble(section(broker, user, **{file: absent}))
    assert str(absent) in found
    assert "\n" not in found


@PROGRAMS
async def test_an_encrypted_key_is_an_error_and_no_question(
    broker: Broker,
    tmp_path: Path,
    trouble: Any,  # noqa: ANN401 - one of two
    user: str,
) -> None:
    paths = broker.identities[user]
    key = read_identity(paths.key.read_bytes(), paths.certificate.read_bytes()).key
    file = tmp_path / "encrypted.key"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )
    found = await trouble(section(broker, user, key_file=file))
    assert str(file) in found
    assert "\n" not in found
