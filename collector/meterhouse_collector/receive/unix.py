"""The same frames over a Unix socket: for the demo and for one machine, without a broker."""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.receive import Deliver

_LOG: Final = logging.getLogger(__name__)
_CLOSE_SECONDS: Final = 1.0
_UNSENT_BYTES: Final = 1 << 20


class UnixReceiver:
    """Listens on a socket; a receipt goes to the connection its node spoke on last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._reading = asyncio.Event()
        self._reading.set()

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, deliver)

        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(serve, self._path)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for writer in set(self._writers.values()):
                writer.close()
            self._path.unlink(missing_ok=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deliver: Deliver
    ) -> None:
        topics: set[str] = set()
        try:
            while True:
                topic, payload = await wire.read_frame(reader)
                self._note(topic, writer, topics)
                deliver(topic, payload)
                await self._reading.wait()
        except (OSError, asyncio.IncompleteReadError):
            pass
        except wire.WireError as error:
            _LOG.warning("socket %s: %s; connection closed", self._path, error)
        finally:
            for topic in topics:
                if self._writers.get(topic) is writer:
                    del self._writers[topic]
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await writer.wait_closed()

    def _note(self, topic: str, writer: asyncio.StreamWriter, topics: set[str]) -> None:
        with contextlib.suppress(wire.WireError):
            address = wire.parse_topic(topic)
            answer = wire.topic(address.site, address.node, wire.MessageKind.RECEIPT)
            self._writers[answer] = writer
            topics.add(answer)

    def send(self, topic: str, payload: bytes) -> None:
        """Send one message if its node is connected and reads."""
        writer = self._writers.get(topic)
        if writer is None or writer.transport.get_write_buffer_size() > _UNSENT_BYTES:
            return
        writer.write(wire.frame(topic, payload))

    def pause(self) -> None:
        """Stop reading."""
        self._reading.clear()

    def resume(self) -> None:
        """Read on."""
        self._reading.set()
