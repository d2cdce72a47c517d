"""MQTT 3.1.1 through gmqtt; the only file of the collector that touches the library."""

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import gmqtt
from gmqtt.mqtt.constants import MQTTv311

from meterhouse_agent.wire import PREFIX, SLOTS, MessageKind
from meterhouse_collector.config import MqttConfig
from meterhouse_collector.gathered import SLOT_NAMES
from meterhouse_collector.receive import Deliver
from meterhouse_collector.receive.frames import Frames, publish_at_0

_LOG: Final = logging.getLogger(__name__)
_CONNECT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = (0.5, 15.0)
_BETWEEN_SLOTS_SECONDS: Final = 0.005
UNSENT_BYTES: Final = 8 << 20
_REPORT: Final = f"/{MessageKind.REPORT.value}"
_REFUSED_QOS: Final = 0x80
# To gmqtt -1 is for ever.
_NEVER: Final = -2
_NO_MID: Final = -1


class Listening(NamedTuple):
    """To which slots to listen, and under which name; of a steward only to the status."""

    client_id: str = "meterhouse-collector"
    report_slots: frozenset[str] = frozenset(SLOT_NAMES)
    status_slots: frozenset[str] = frozenset(SLOT_NAMES)


EVERYTHING: Final = Listening()


class MqttReceiver:
    """Subscribes to the reports of some slots, and to the status of their agents slot by slot.

    Slot by slot, because all retained messages of a large fleet at once overrun a broker's queue.
    Of a cluster the next server is tried where a connection fails.
    """

    def __init__(
        self,
        config: MqttConfig,
        listening: Listening = EVERYTHING,
        *,
        connected: Callable[[bool], None],
        skipped: Callable[[], None],
    ) -> None:
        self._config = config
        self._listening = listening
        self._turn = 0
        self._connected = connected
        self._skipped = skipped
        self._paused = False
        self._told_refused = False
        self._client: Any = None
        self._transport: asyncio.Transport | None = None
        # Receipts come in droves: all of one moment are written together.
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._lost = asyncio.Event()
        self._subscribed = asyncio.Event()
        self._last_mid = _NO_MID
        self._up = False

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled; connect again after each loss, and log it once."""
        wait, longest = _RETRY_SECONDS
        told = False
        while True:
            since = time.monotonic()
            try:
                await self._connect(deliver)
                await self._subscribe()
                if not self._lost.is_set():
                    _LOG.info("broker %s: connected", self._peer)
                    self._connected(True)  # noqa: FBT003 - a gauge is set by value
                    told = False
                await self._lost.wait()
                raise ConnectionError("connection lost")
            except (OSError, gmqtt.MQTTConnectError, TimeoutError, ValueError) as error:
                if not told:
                    why = error or "no answer"
                    _LOG.warning("broker %s: %s; trying again", self._peer, why)
                told = True
                self._turn = (self._turn + 1) % len(self._config.servers)
            finally:
                await self._disconnect()
            if time.monotonic() - since > longest:
                wait = _RETRY_SECONDS[0]
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)

    async def try_once(self) -> str | None:
        """Connect and log in, and let go again; return what went wrong, None if nothing did."""
        try:
            await self._connect(lambda _, __: None)
        except (OSError, gmqtt.MQTTConnectError, TimeoutError, ValueError) as error:
            return str(error) or "no answer"
        finally:
            await self._disconnect()
        return None

    @property
    def _peer(self) -> str:
        host, port = self._config.servers[self._turn]
        return f"{host}:{port}"

    async def _connect(self, deliver: Deliver) -> None:
        config = self._config
        client = gmqtt.Client(self._listening.client_id, clean_session=True)
        # The loop above connects again. The library would too, with 0 retries still once, under
        # the same name: the broker would then drop the connection that the loop has made.
        client.set_config({"reconnect_retries": _NEVER})
        if config.username is not None:
            password = None if config.password is None else config.password.read()
            client.set_auth_credentials(
                config.username, None if password is None else password.get_secret_value()
            )

        def take(topic: str, payload: bytes) -> None:
            if self._paused and topic.endswith(_REPORT):
                self._skipped()
            else:
                deliver(topic, payload)

        def on_message(_: Any, topic: str, payload: bytes, *__: Any) -> int:  # noqa: ANN401 - gmqtt is untyped
            take(topic, payload)
            return 0

        # Events of its own: a client that is long gone must not end the connection after it.
        lost = self._lost = asyncio.Event()
        subscribed = self._subscribed = asyncio.Event()

        def on_subscribe(_: Any, mid: int, granted: tuple[int, ...], *___: Any) -> None:  # noqa: ANN401 - gmqtt is untyped
            if any(qos >= _REFUSED_QOS for qos in granted):
                self._refused_subscription()
            if mid == self._last_mid:
                subscribed.set()

        def on_disconnect(*_: Any) -> None:  # noqa: ANN401 - gmqtt is untyped
            lost.set()
            subscribed.set()

        client.on_message = on_message
        client.on_disconnect = on_disconnect
        client.on_subscribe = on_subscribe
        self._client = client
        async with asyncio.timeout(_CONNECT_SECONDS):
            await client.connect(
                *config.servers[self._turn],
                ssl=_tls_context(config) or False,
                keepalive=config.keepalive_seconds,
                version=MQTTv311,
            )
        connection = client._connection  # noqa: SLF001 - it has no other way to what it reads from
        transport = self._transport = connection._transport  # noqa: SLF001 - the same
        transport.set_protocol(Frames(connection._protocol, transport, take))  # noqa: SLF001 - the same
        self._up = True

    async def _subscribe(self) -> None:
        listening, self._last_mid = self._listening, _NO_MID
        slots = listening.report_slots
        wildcards = ("+",) if len(slots) == SLOTS else sorted(slots)
        # What is published at QoS 1 is retained in any case, and an inventory that got lost is
        # asked for; to NATS each subscription at QoS 1 is a consumer in three servers.
        wanted = [
            *((f"{slot}/+/status", 0) for slot in sorted(listening.status_slots)),
            *((f"{slot}/+/report", self._config.qos) for slot in wildcards),
        ]
        for number, (below, qos) in enumerate(wanted, 1):
            mid = self._client.subscribe(f"{PREFIX}/+/{below}", qos=qos)
            if number == len(wanted):
                # Before that is answered, and not while it is the last only so far.
                self._last_mid = mid
            await asyncio.sleep(_BETWEEN_SLOTS_SECONDS)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await self._subscribed.wait()

    async def _disconnect(self) -> None:
        self._up = False
        self._connected(False)  # noqa: FBT003 - a gauge is set by value
        self._write_out()
        self._transport = None
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0):
                    await client.disconnect()

    def _refused_subscription(self) -> None:
        if not self._told_refused:
            self._told_refused = True
            who = self._config.username or self._listening.client_id
            text = "broker %s: refuses a subscription of %s: check its ACL"
            _LOG.error(text, self._peer, who)

    def send(self, topic: str, payload: bytes) -> bool:
        """Send one message, and tell whether there was a connection that took it."""
        transport = self._transport
        if not self._up or transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + self._unsent_bytes > UNSENT_BYTES:
            return False
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._write_out)
        packet = publish_at_0(topic, payload)
        self._unsent.append(packet)
        self._unsent_bytes += len(packet)
        return True

    def _write_out(self) -> None:
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def pause(self) -> None:
        """Look at no report: a connection that is not read would be taken for dead."""
        self._paused = True

    def resume(self) -> None:
        """Look at reports again."""
        self._paused = False


async def probe(config: MqttConfig, client_id: str) -> str | None:
    """Return why the broker does not take the login, None if it does."""
    # Under a name of its own, or the broker would drop a collector that runs.
    aside = Listening(client_id=f"{client_id}-check")
    receiver = MqttReceiver(config, aside, connected=lambda _: None, skipped=lambda: None)
    return await receiver.try_once()


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
