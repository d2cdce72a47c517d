"""Sends reports until a receipt says that they are stored: fresh first, backlog on credit."""

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from meterhouse_agent.spool import Spool, Spooled, SpoolError
from meterhouse_agent.telemetry import Telemetry
from meterhouse_agent.transport import Link, Transport, TransportError
from meterhouse_agent.wire import (
    Inventory,
    MessageKind,
    Receipt,
    Status,
    WireError,
    decode_receipt,
    encode,
    topic,
    with_backlog,
)

_LOG: Final = logging.getLogger(__name__)
_FRESH_QUEUED: Final = 64
_BATCH: Final = 64
_BACKOFF_SECONDS: Final = (0.5, 30.0)
_PATIENCE_REPORTS: Final = 24


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose messages these are."""

    site: str
    node: str

    def topic(self, kind: MessageKind) -> str:
        """Return the topic of one kind of this node's messages."""
        return topic(self.site, self.node, kind)


class Publisher:
    """Publishes one node's reports and status, and works through its spool.

    What was sent and has no receipt is in flight for ``resend_after`` seconds; then, or after a
    lost connection, it waits again. What waits is only sent against the credit of receipts.
    """

    def __init__(
        self,
        identity: Identity,
        transport: Transport,
        spool: Spool,
        telemetry: Telemetry,
        *,
        status: Callable[[], Status],
        resend_after_seconds: float,
    ) -> None:
        self._identity = identity
        self._transport = transport
        self._spool = spool
        self._telemetry = telemetry
        self._status = status
        self._resend_after = resend_after_seconds
        self._fresh: deque[Spooled] = deque(maxlen=_FRESH_QUEUED)
        self._in_flight: dict[int, float] = {}
        self._credit = 0
        self._wake = asyncio.Event()
        self._status_due = False
        self._wanted: set[str] = set()
        self._without_receipt = 0

    def fresh(self, report: Spooled) -> None:
        """Offer a report that was made just now; the spool has it already."""
        self._fresh.append(report)
        self._wake.set()

    def status_changed(self) -> None:
        """Have the status sent again."""
        self._status_due = True
        self._wake.set()

    async def run(self) -> None:
        """Connect, send, and connect again, until cancelled."""
        attempt = 0
        told = False
        while True:
            try:
                async with self._transport.connect() as link:
                    attempt, told = 0, False
                    await self._session(link)
            except TransportError as error:
                if not told:
                    node = self._identity.node
                    _LOG.warning("%s: %s; trying again, reports wait in the spool", node, error)
                told = True
            finally:
                self._disconnected()
            low, high = _BACKOFF_SECONDS
            attempt = min(attempt + 1, 10)
            await asyncio.sleep(random.uniform(low / 2, min(high, low * 2**attempt)))  # noqa: S311 - jitter

    def _disconnected(self) -> None:
        self._telemetry.connected.set(0)
        self._in_flight.clear()
        self._credit = 0

    async def _session(self, link: Link) -> None:
        self._status_due = True
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                node = self._identity.node
                tasks.create_task(self._receive(link), name=f"receipts[{node}]")
                tasks.create_task(self._send(link), name=f"send[{node}]")
        except* TransportError as errors:
            raise TransportError(str(errors.exceptions[0])) from None

    async def _send(self, link: Link) -> None:
        await self._send_status(link)
        _LOG.info("%s: connected to %s", self._identity.node, self._transport.peer)
        self._telemetry.connected.set(1)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._wake.wait()
            self._wake.clear()
            if self._status_due:
                await self._send_status(link)
            while self._fresh:
                await self._send_report(link, self._fresh.popleft())
            if self._credit > 0 and self._waiting() > 0:
                await self._send_backlog(link)

    async def _send_status(self, link: Link) -> None:
        self._status_due = False
        here = self._identity.topic(MessageKind.STATUS)
        status = self._status()
        await link.publish(here, encode(status), retain=True)
        wanted, self._wanted = self._wanted - {status.inventory_hash}, set()
        for name in wanted:
            body = await self._spool.inventory(name)
            if body is not None:
                past = msgspec.json.decode(body, type=Inventory)
                told = msgspec.structs.replace(status, inventory=past, inventory_hash=name)
                await link.publish(here, encode(told))

    async def _send_report(self, link: Link, report: Spooled) -> None:
        self._expire()
        self._in_flight[report.start_seconds] = time.monotonic()
        waiting = self._waiting()
        since = self._spool.oldest_seconds if waiting else None
        body = with_backlog(report.body, waiting, since)
        await link.publish(self._identity.topic(MessageKind.REPORT), body)
        self._telemetry.published.inc()
        self._without_receipt += 1
        if self._without_receipt == _PATIENCE_REPORTS:
            _LOG.warning(
                "%s: published %d reports, no receipt on %s: check that a collector runs, "
                "and the broker's ACL",
                self._identity.node,
                _PATIENCE_REPORTS,
                self._identity.topic(MessageKind.RECEIPT),
            )

    async def _send_backlog(self, link: Link) -> None:
        self._expire()
        count = min(self._credit, _BATCH)
        try:
            reports = await self._spool.oldest(count, skip=self._in_flight)
        except SpoolError as error:
            _LOG.warning("%s", error)
            return
        for report in reports:
            self._credit -= 1
            await self._send_report(link, report)
        if len(reports) == count and self._credit > 0:
            self._wake.set()

    def _waiting(self) -> int:
        return max(0, self._spool.reports - len(self._in_flight) - len(self._fresh))

    def _expire(self) -> None:
        horizon = time.monotonic() - self._resend_after
        for start in [s for s, sent in self._in_flight.items() if sent < horizon]:
            del self._in_flight[start]

    async def _receive(self, link: Link) -> None:
        async for payload in link.receipts():
            try:
                receipt = decode_receipt(payload)
            except WireError as error:
                self._telemetry.dropped("receipt_malformed")
                _LOG.debug("a receipt that is none: %s", error)
                continue
            if receipt.node == self._identity.node:
                await self._take(receipt)
        raise TransportError(f"{self._transport.peer}: the connection ended")

    async def _take(self, receipt: Receipt) -> None:
        if self._without_receipt >= _PATIENCE_REPORTS:
            _LOG.info("%s: receipts come again", self._identity.node)
        self._without_receipt = 0
        self._telemetry.receipts.inc()
        final = [(r.start_seconds, r.reason) for r in receipt.refused if r.final]
        for refusal in receipt.refused:
            self._telemetry.refused(refusal.reason, final=refusal.final)
        if final:
            _LOG.warning("%s: refused for good: %s", self._identity.node, final[:5])
        try:
            await self._spool.forget(receipt.stored, receipt.length_seconds)
            if final:
                await self._spool.set_aside(final)
        except SpoolError as error:
            _LOG.warning("%s", error)
        for start in [s for s in self._in_flight if _settled(s, receipt)]:
            del self._in_flight[start]
        self._wanted.update(receipt.inventory_wanted)
        self._status_due = self._status_due or bool(receipt.inventory_wanted)
        self._credit = receipt.credit
        self._wake.set()


def _settled(start_seconds: int, receipt: Receipt) -> bool:
    # What is refused for later stays in flight until it is due again: no tight loop.
    step = max(1, receipt.length_seconds)
    return any(
        first <= start_seconds <= last and (start_seconds - first) % step == 0
        for first, last in receipt.stored
    ) or any(
        start_seconds == refusal.start_seconds and refusal.final for refusal in receipt.refused
    )
