"""MQTT 3.1.1 through aiomqtt; the only file of the agent that touches the library."""

import asyncio
import contextlib
import errno
import logging
import ssl
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiomqtt

from meterhouse_agent.config import MqttConfig
from meterhouse_agent.transport import Link, TransportError

_LOG: Final = logging.getLogger(__name__)
_DEADLINE_SECONDS: Final = 10.0
_REFUSED: Final = 0x80
_QUEUED_RECEIPTS: Final = 256
_LOOKS_PER_KEEPALIVE: Final = 4


@dataclass(frozen=True, slots=True)
class LastWill:
    """What the broker says, retained, when the connection is lost."""

    topic: str
    payload: bytes


class _Client(aiomqtt.Client):
    """The library's client, which looks after the keepalive as often as that needs it.

    The library looks each second: on a node that measures, a fifth of all times it wakes up.
    """

    async def _misc_loop(self) -> None:
        # A broker bears a silence of one and a half times the keepalive.
        pause = self._keepalive / _LOOKS_PER_KEEPALIVE
        # Any other result than 0 is that of a connection that is lost.
        while self._client.loop_misc() == 0:  # noqa: ASYNC110 - the library has no event for it
            await asyncio.sleep(pause)


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
    """Connects one node to the broker, with its last will, and subscribes to its receipts.

    Of a cluster nodes begin with different servers, and go on to the next after each failure.
    """

    def __init__(self, config: MqttConfig, *, node: str, receipts: str, will: LastWill) -> None:
        self._config = config
        self._node = node
        self._receipts = receipts
        self._will = will
        self._turn = zlib.crc32(f"{node} begins".encode()) % len(config.servers)

    @property
    def peer(self) -> str:
        """Host and port of the broker."""
        host, port = self._config.servers[self._turn]
        return f"{host}:{port}"

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Link]:
        """Connect and subscribe; raise ``TransportError``."""
        asyncio.get_running_loop().set_exception_handler(_hear)
        try:
            client = self._client()
            await client.__aenter__()
        except (aiomqtt.MqttError, OSError, ValueError) as error:
            peer = self._next()
            raise TransportError(f"broker {peer}: {error}") from None
        except AttributeError as error:
            # It connects on a thread: lost meanwhile, the socket is None there.
            _LOG.debug("a socket was lost while it was connected: %s", error)
            raise TransportError(f"broker {self._next()}: connection lost") from None
        try:
            await self._subscribe(client)
            yield _MqttLink(client, self.peer)
        except TransportError:
            self._next()
            raise
        finally:
            # An error of the disconnection must not cover up why the connection ends: a stop would
            # be taken for a loss.
            with contextlib.suppress(aiomqtt.MqttError):
                await client.__aexit__(None, None, None)

    def _next(self) -> str:
        """Turn to the next server; return the one that failed."""
        failed = self.peer
        self._turn = (self._turn + 1) % len(self._config.servers)
        return failed

    def _client(self) -> _Client:
        config = self._config
        return _Client(
            *config.servers[self._turn],
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

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        try:
            # Receipts are sent at QoS 0; to NATS a subscription at QoS 1 is a consumer of its own.
            granted = await client.subscribe(self._receipts, qos=0)
        except aiomqtt.MqttError as error:
            raise TransportError(f"broker {self.peer}: {error}") from None
        if any(_code(each) >= _REFUSED for each in granted):
            # Reports still arrive; they wait in the spool until the broker lets receipts through.
            _LOG.warning(
                "broker %s refuses %s to this user: check its ACL", self.peer, self._receipts
            )


def _hear(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take an error of a callback; some of them say only what the connection says itself.

    The library has a socket watched one step after it asks for that; lost meanwhile, it is closed.
    And a connection that is lost after it was given up finds nobody who waits for it.
    """
    error, handle = context.get("exception"), repr(context.get("handle"))
    closed = isinstance(error, OSError) and error.errno == errno.EBADF
    if closed and ("add_writer" in handle or "add_reader" in handle):
        _LOG.debug("a socket was lost before it was watched: %s", error)
    elif isinstance(error, asyncio.CancelledError | aiomqtt.MqttError):
        _LOG.debug("a connection was lost after it was given up: %r", error)
    else:
        loop.default_exception_handler(context)


def _code(granted: object) -> int:
    return granted if isinstance(granted, int) else int(getattr(granted, "value", 0))


def _secret(config: MqttConfig) -> str | None:
    return None if config.password is None else config.password.read().get_secret_value()


def _tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    tls = config.tls
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.certificate_file is not None:
            # Without a password OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
    except OSError as error:
        # OpenSSL does not say which file it could not read.
        files = [tls.ca_file, tls.certificate_file, tls.key_file]
        names = ", ".join(str(file) for file in files if file is not None)
        raise ValueError(f"TLS files {names}: {error}") from None
    return context
