"""How the collector hears agents and answers them: the seam behind which an MQTT library stands."""

from collections.abc import Callable
from typing import Protocol

Deliver = Callable[[str, bytes], None]


class Receiver(Protocol):
    """Delivers messages by topic, and sends receipts."""

    async def run(self, deliver: Deliver) -> None:
        """Receive until cancelled; connect again after each loss, and log it once."""

    def send(self, topic: str, payload: bytes) -> bool:
        """Send one message, and tell whether there was a connection that took it."""

    def pause(self) -> None:
        """Stop reading from the connection."""

    def resume(self) -> None:
        """Read on."""
