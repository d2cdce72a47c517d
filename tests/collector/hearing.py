"""Hears what a receiver delivers, and waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from meterhouse_collector.receive import Receiver

DEADLINE_SECONDS = 60.0


class Heard:
    """What a receiver delivered, and what it said of itself."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.connected: list[bool] = []
        self.skipped = 0

    def deliver(self, where: str, payload: bytes) -> None:
        self.messages.append((where, payload))

    def skip(self) -> None:
        self.skipped += 1

    @property
    def payloads(self) -> list[bytes]:
        return [payload for _, payload in self.messages]

    @asynccontextmanager
    async def by(self, receiver: Receiver) -> AsyncIterator[None]:
        task = asyncio.create_task(receiver.run(self.deliver), name="receiver")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                async with asyncio.timeout(DEADLINE_SECONDS):
                    await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
