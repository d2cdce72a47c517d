"""MQTT 3.1.1 through gmqtt; the only file of the collector that touches the library."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final

import gmqtt
from gmqtt.mqtt.constants import MQTTv311

from meterhouse_agent.wire import PREFIX, SLOTS
from meterhouse_collector.config import MqttConfig
from meterhouse_collector.receive import Deliver

_LOG: Final = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = (0.5, 15.0)
_BETWEEN_SLOTS_SECONDS: Final = 0.005
# To gmqtt -1 is for ever.
_NEVER: Final = -2


class MqttReceiver:
    """Subscribes to every report, and to the status of the agents slot by slot.

    Slot by slot, because all retained messages of a large fleet at once overrun a broker's queue.
    """

    def __init__(self, config: MqttConfig, *, connected: Callable[[bool], None]) -> None:
        self._config = config
        self._connected = connected
        self._client: Any = None
        self._lost = asyncio.Event()
        self._up = False

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled; connect again after each loss, and log it once."""
        wait, longest = _RETRY_SECONDS
        told = False
        while True:
            try:
                await self._connect(deliver)
                _LOG.info("broker %s: connected", self._peer)
                wait, told = _RETRY_SECONDS[0], False
                await self._subscribe()
                await self._lost.wait()
                _LOG.warning("broker %s: connection lost; trying again", self._peer)
                told = True
            except (OSError, gmqtt.MQTTConnectError, TimeoutError, ValueError) as error:
                if not told:
                    why = error or "no answer"
                    _LOG.warning("broker %s: %s; trying again", self._peer, why)
                told = True
            finally:
                await self._disconnect()
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)

    @property
    def _peer(self) -> str:
        return f"{self._config.host}:{self._config.port}"

    async def _connect(self, deliver: Deliver) -> None:
        config = self._config
        client = gmqtt.Client(config.client_id, clean_session=True)
        # The loop above connects again. The library would too, with 0 retries still once, under
        # the same name: the broker would then drop the connection that the loop has made.
        client.set_config({"reconnect_retries": _NEVER})
        if config.username is not None:
            password = None if config.password is None else config.password.read()
            client.set_auth_credentials(
                config.username, None if password is None else password.get_secret_value()
            )

        def on_message(_: Any, topic: str, payload: bytes, *__: Any) -> int:  # noqa: ANN401 - gmqtt is untyped
            deliver(topic, payload)
            return 0

        # An event of its own: a client that is long gone must not end the connection after it.
        lost = self._lost = asyncio.Event()

        def on_disconnect(*_: Any) -> None:  # noqa: ANN401 - gmqtt is untyped
            lost.set()

        client.on_message = on_message
        client.on_disconnect = on_disconnect
        self._client = client
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.connect(
                config.host,
                config.port,
                ssl=_tls_context(config) or False,
                keepalive=config.keepalive_seconds,
                version=MQTTv311,
            )
        self._up = True
        self._connected(True)  # noqa: FBT003 - a gauge is set by value

    async def _subscribe(self) -> None:
        for slot in range(SLOTS):
            self._client.subscribe(f"{PREFIX}/+/{slot:02d}/+/status", qos=1)
            await asyncio.sleep(_BETWEEN_SLOTS_SECONDS)
        self._client.subscribe(f"{PREFIX}/+/+/+/report", qos=self._config.qos)

    async def _disconnect(self) -> None:
        self._up = False
        self._connected(False)  # noqa: FBT003 - a gauge is set by value
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await client.disconnect()

    def send(self, topic: str, payload: bytes) -> None:
        """Send one message if there is a connection; what is lost is said again later."""
        if self._up:
            self._client.publish(topic, payload, qos=0)

    def pause(self) -> None:
        """Stop reading: the broker queues, and what it drops the agents send again."""
        transport = self._transport()
        if transport is not None:
            with contextlib.suppress(RuntimeError):
                transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        transport = self._transport()
        if transport is not None:
            with contextlib.suppress(RuntimeError):
                transport.resume_reading()

    def _transport(self) -> asyncio.ReadTransport | None:
        connection = getattr(self._client, "_connection", None)
        return getattr(connection, "_transport", None)


def _tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    if config.tls is None:
        return None
    context = ssl.create_default_context(cafile=config.tls.ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.tls.certificate_file is not None:
        context.load_cert_chain(config.tls.certificate_file, config.tls.key_file)
    return context
