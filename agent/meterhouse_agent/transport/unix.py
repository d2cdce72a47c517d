"""The same frames over a Unix socket: for the demo and for one machine, without a broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from meterhouse_agent.transport import Link, TransportError
from meterhouse_agent.wire import WireError, frame, read_frame

_DEADLINE_SECONDS: Final = 10.0


class _UnixLink:
    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: str,
        receipts: str,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._receipts = receipts

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        del retain  # There is no one who could come later: the collector is the other end.
        try:
            self._writer.write(frame(topic, payload))
            async with asyncio.timeout(_DEADLINE_SECONDS):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            raise TransportError(f"socket {self._peer}: {error or 'no progress'}") from None

    async def receipts(self) -> AsyncIterator[bytes]:
        try:
            while True:
                topic, payload = await read_frame(self._reader)
                if topic == self._receipts:
                    yield payload
        except (OSError, asyncio.IncompleteReadError, WireError) as error:
            raise TransportError(f"socket {self._peer}: {error}") from None


class UnixTransport:
    """Connects one node to the collector's socket."""

    def __init__(self, path: Path, *, receipts: str) -> None:
        self._path = path
        self._receipts = receipts

    @property
    def peer(self) -> str:
        """The path of the socket."""
        return str(self._path)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Link]:
        """Connect; raise ``TransportError``."""
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path)
        except (OSError, TimeoutError) as error:
            raise TransportError(f"socket {self.peer}: {error or 'no answer'}") from None
        try:
            yield _UnixLink(reader, writer, self.peer, self._receipts)
        finally:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()
