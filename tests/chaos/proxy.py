"""A TCP proxy on the loopback whose connections can be cut, refused, silenced and held up.

Between MQTT peers it may deliver whole PUBLISH packets twice or in another order.
"""

import asyncio
import contextlib
import heapq
import random
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, Final

from tests.chaos.packets import Packets, again, is_publish
from tests.servers import Port

_CHUNK: Final = 65_536
_HELD_SECONDS: Final = 1.5
_WRITE: Final = b"/api/v2/write"
# Closed with this, a socket sends RST, as after a crash of the machine.
_RESET: Final = struct.pack("ii", 1, 0)


class Link:
    """One way from clients to one server; its faults are set from another thread.

    ``shuffle`` is for MQTT only: dice that say which packets come twice, and which late.
    """

    def __init__(self, *, mqtt: bool) -> None:
        self._port = Port()
        self.port = self._port.number
        self.target_port = 0
        self.mqtt = mqtt
        self.refuses = self.silent = False
        self.delay_seconds = 0.0
        self.shuffle: random.Random | None = None
        # While it is set, the next write to the database is caught: in its middle, or after it.
        self.catch_write: str | None = None
        self.caught = threading.Event()
        self.connections: set[Connection] = set()

    def release(self) -> None:
        """Give the port back."""
        self._port.release()


class Proxy:
    """Runs links on an event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._links: list[Link] = []
        self._servers: list[asyncio.Server] = []

    def open(self, link: Link) -> None:
        """Listen for a link."""
        if not self._thread.is_alive():
            self._thread.start()

        async def serve() -> None:
            async def accept(up: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
                await Connection(link).run(up, back)

            server = await asyncio.start_server(accept, "127.0.0.1", link.port)
            self._servers.append(server)

        self._do(serve())
        self._links.append(link)

    def cut(self, link: Link) -> None:
        """End all connections of a link, as if the machine between had lost its power."""

        async def cut() -> None:
            for connection in list(link.connections):
                connection.cut()

        self._do(cut())

    def close(self) -> None:
        """End everything."""
        if not self._thread.is_alive():
            return

        async def end() -> None:
            for server in self._servers:
                server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for link in self._links:
            link.release()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class Connection:
    """One connection through a link, both directions."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._writers: list[asyncio.StreamWriter] = []
        self._answers_held = False

    async def run(self, up: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Forward until either side ends."""
        self._writers.append(back)
        if self._link.refuses:
            self.cut()
            return
        try:
            down, forth = await asyncio.open_connection("127.0.0.1", self._link.target_port)
        except OSError:
            self.cut()
            return
        self._writers.append(forth)
        self._link.connections.add(self)
        try:
            with contextlib.suppress(OSError):
                await self._forward(up, forth, down, back)
        finally:
            self._link.connections.discard(self)
            self.cut()

    async def _forward(
        self,
        up: asyncio.StreamReader,
        forth: asyncio.StreamWriter,
        down: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        lines = (Line(self._link, forth), Line(self._link, back))
        tasks = [
            asyncio.create_task(each)
            for each in (
                self._read(up, lines[0], asked=True),
                self._read(down, lines[1], asked=False),
                lines[0].drain(),
                lines[1].drain(),
            )
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, line: "Line", *, asked: bool) -> None:
        while data := await reader.read(_CHUNK):
            while self._link.silent or (self._answers_held and not asked):  # noqa: ASYNC110 - set from another thread
                await asyncio.sleep(0.02)
            if asked and self._link.catch_write is not None and _WRITE in data:
                data = self._catch(data)
            line.add(data)
        # What is under way still arrives.
        await line.empty.wait()

    def _catch(self, data: bytes) -> bytes:
        whole = self._link.catch_write == "answer"
        self._answers_held = True
        self._link.catch_write = None
        self._link.caught.set()
        return data if whole else data[: len(data) // 2]

    def cut(self) -> None:
        """End it with RST on both sides."""
        for writer in self._writers:
            end = writer.get_extra_info("socket")
            if end is not None and not writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Line:
    """What is under way in one direction, each part with the time at which it arrives."""

    def __init__(self, link: Link, writer: asyncio.StreamWriter) -> None:
        self._link = link
        self._writer = writer
        self._packets = Packets()
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0
        self._last = 0.0
        self._more = asyncio.Event()
        self.empty = asyncio.Event()
        self.empty.set()

    def add(self, data: bytes) -> None:
        """Take what was read."""
        now = asyncio.get_running_loop().time()
        # Bytes keep their order, also where a delay ends.
        self._last = max(self._last, now + self._link.delay_seconds)
        parts = self._packets.feed(data) if self._link.mqtt else [data]
        for part in parts:
            for late, each in self._shuffled(part):
                heapq.heappush(self._waiting, (self._last + late, self._number, each))
                self._number += 1
        if self._waiting:
            self.empty.clear()
            self._more.set()

    def _shuffled(self, part: bytes) -> Iterator[tuple[float, bytes]]:
        dice = self._link.shuffle
        if dice is None or not is_publish(part):
            yield 0.0, part
            return
        yield dice.choice((0.0, 0.0, dice.uniform(0, _HELD_SECONDS))), part
        if dice.random() < 0.3:
            yield dice.uniform(0, _HELD_SECONDS), again(part)

    async def drain(self) -> None:
        """Write each part when its time has come."""
        while True:
            if not self._waiting:
                self.empty.set()
                self._more.clear()
                await self._more.wait()
            wait = self._waiting[0][0] - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(min(wait, 0.02))
                continue
            self._writer.write(heapq.heappop(self._waiting)[2])
            await self._writer.drain()
