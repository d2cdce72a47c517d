"""How messages travel: a link is one connection, made anew after each loss."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class TransportError(Exception):
    """The connection could not be made or was lost; the text says to what, why, what to do."""


class Link(Protocol):
    """One live connection."""

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send one message; a retained one also reaches those who come later.

        Raises ``TransportError``. That it returns does not mean that anyone has it.
        """

    def receipts(self) -> AsyncIterator[bytes]:
        """Yield the payloads on this node's receipt topic; raise ``TransportError`` at the end."""


class Transport(Protocol):
    """Makes links."""

    @property
    def peer(self) -> str:
        """Who is at the other end, for people."""

    def connect(self) -> AbstractAsyncContextManager[Link]:
        """Connect; raise ``TransportError``."""
