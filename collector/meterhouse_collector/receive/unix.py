"""The same frames over a Unix socket: for the demo and for one machine, without a broker."""

import asyncio
import logging
from pathlib import Path
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.receive import Deliver

_LOG: Final = logging.getLogger(__name__)
_CLOSE_SECONDS: Final = 1.0
_UNSENT_BYTES: Final = 1 << 20
_TOPICS_MAX: Final = 65_536


class UnixReceiver:
    """Listens on a socket; a receipt goes to the connection its node spoke on last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._connections: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Event()
        self._reading.set()

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled."""

        def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            work = self._serve(reader, writer, deliver)
            task = asyncio.create_task(work, name=f"connection to {self._path}")
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        try:
            self._path.unlink(missing_ok=True)
            server = await asyncio.start_unix_server(serve, self._path)
        except OSError as error:
            why = error.strerror or str(error)
            advice = "its folder must be there and writable"
            raise OSError(f"socket {self._path}: {why}: {advice}") from None
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            if self._connections:
                await asyncio.wait(self._connections, timeout=2 * _CLOSE_SECONDS)
            self._path.unlink(missing_ok=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, deliver: Deliver
    ) -> None:
        answers: dict[str, str] = {}
        try:
            while True:
                topic, payload = await wire.read_frame(reader)
                self._note(topic, writer, answers)
                deliver(topic, payload)
                await self._reading.wait()
        except (OSError, asyncio.IncompleteReadError):
            pass
        except wire.WireError as error:
            _LOG.warning("socket %s: %s; connection closed", self._path, error)
        finally:
            for answer in answers.values():
                if self._writers.get(answer) is writer:
                    del self._writers[answer]
            writer.close()
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await writer.wait_closed()
            except (OSError, TimeoutError):
                # It does not read what it was sent.
                writer.transport.abort()

    def _note(self, topic: str, writer: asyncio.StreamWriter, answers: dict[str, str]) -> None:
        answer = answers.get(topic)
        if answer is None:
            if len(answers) >= _TOPICS_MAX:
                return
            try:
                address = wire.parse_topic(topic)
            except wire.WireError:
                return
            answer = wire.topic(address.site, address.node, wire.MessageKind.RECEIPT)
            answers[topic] = answer
        self._writers[answer] = writer

    def send(self, topic: str, payload: bytes) -> bool:
        """Send one message, if its node is connected and reads; tell whether it is."""
        writer = self._writers.get(topic)
        if writer is None or writer.is_closing():
            return False
        if writer.transport.get_write_buffer_size() > _UNSENT_BYTES:
            return False
        writer.write(wire.frame(topic, payload))
        return True

    def pause(self) -> None:
        """Stop reading: what agents send waits with them."""
        self._reading.clear()

    def resume(self) -> None:
        """Read on."""
        self._reading.set()
