"""MQTT 3.1.1 through aiomqtt; the only file of the agent that touches the library."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiomqtt

from meterhouse_agent.config import MqttConfig
from meterhouse_agent.transport import Link, TransportError

_DEADLINE_SECONDS: Final = 10.0
_QUEUED_RECEIPTS: Final = 256


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker says, retained, when the connection is lost."""

    topic: str
    payload: bytes


class _MqttLink:
    def __init__(self, client: aiomqtt.Client, peer: str) -> None:
        self._client = client
        self._peer = peer

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        # A report needs no acknowledgement of the broker: the receipt says that it is stored.
        try:
            await self._client.publish(topic, payload, qos=1 if retain else 0, retain=retain)
        except aiomqtt.MqttError as error:
            raise TransportError(f"broker {self._peer}: {error}") from None

    async def receipts(self) -> AsyncIterator[bytes]:
        try:
            async for message in self._client.messages:
                if isinstance(message.payload, bytes):
                    yield message.payload
        except aiomqtt.MqttError as error:
            raise TransportError(f"broker {self._peer}: {error}") from None


class MqttTransport:
    """Connects one node to the broker, with its last will, and subscribes to its receipts."""

    def __init__(self, config: MqttConfig, *, node: str, receipts: str, will: LastWill) -> None:
        self._config = config
        self._node = node
        self._receipts = receipts
        self._will = will

    @property
    def peer(self) -> str:
        """Host and port of the broker."""
        return f"{self._config.host}:{self._config.port}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Link]:
        """Connect and subscribe; raise ``TransportError``."""
        config = self._config
        try:
            client = aiomqtt.Client(
                config.host,
                config.port,
                identifier=f"meterhouse-agent-{self._node}",
                username=config.username or self._node,
                password=None if config.password is None else _secret(config),
                tls_context=_tls_context(config),
                protocol=aiomqtt.ProtocolVersion.V311,
                keepalive=config.keepalive_seconds,
                will=aiomqtt.Will(self._will.topic, self._will.payload, qos=1, retain=True),
                timeout=_DEADLINE_SECONDS,
                max_queued_incoming_messages=_QUEUED_RECEIPTS,
            )
            async with client:
                await client.subscribe(self._receipts, qos=1)
                yield _MqttLink(client, self.peer)
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            raise TransportError(f"broker {self.peer}: {error}") from None


def _secret(config: MqttConfig) -> str | None:
    return None if config.password is None else config.password.read().get_secret_value()


def _tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    context = ssl.create_default_context(cafile=config.tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.tls.certificate_file is not None:
        context.load_cert_chain(config.tls.certificate_file, config.tls.key_file)
    return context
