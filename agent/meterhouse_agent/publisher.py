"""Sends reports until a receipt says that they are stored: fresh first, backlog on credit."""

import asyncio
import contextlib
import logging
import math
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
    MAX_PAYLOAD_BYTES,
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
_STABLE_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_STATUS_SECONDS: Final = 10.0
_GOODBYE_SECONDS: Final = 2.0
_WANTED_MAX: Final = 64
_REASONS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose messages these are."""

    site: str
    node: str

    def topic(self, kind: MessageKind) -> str:
        """Return the topic of one kind of this node's messages."""
        return topic(self.site, self.node, kind)


class _Silence:
    """For how many reports, and since when, no receipt has come."""

    def __init__(self) -> None:
        self.published = 0
        self._since = 0.0
        self._told = False

    def too_long(self, patience_seconds: float) -> bool:
        """Count a report; tell, once, that no receipt has come for too long."""
        now = time.monotonic()
        if self.published == 0:
            self._since = now
        self.published += 1
        if self._told or now - self._since < patience_seconds:
            return False
        self._told = True
        return True

    def broken(self) -> bool:
        """Note a receipt; return whether the silence was told of."""
        told, self._told, self.published = self._told, False, 0
        return told


class Publisher:
    """Publishes one node's reports and status, and works through its spool.

    A report made while connected is sent at once. What was sent and has no receipt is in flight for
    ``resend_after`` seconds; then, or after a lost connection, it waits again. What waits is only
    sent against the credit of receipts, but for one report where nothing was sent for so long:
    a collector that hears nothing of a backlog grants none.
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
        self._connected = False
        self._fresh: deque[Spooled] = deque(maxlen=_FRESH_QUEUED)
        self._in_flight: dict[int, float] = {}
        self._credit = 0
        self._sent_at = 0.0
        self._wake = asyncio.Event()
        self._status_due = False
        self._status_after = 0.0
        self._wanted: set[str] = set()
        self._silence = _Silence()
        self._refusals_told: set[str] = set()

    def fresh(self, report: Spooled) -> None:
        """Offer a report that was made just now; without a connection it waits in the spool."""
        if self._connected:
            self._fresh.append(report)
            self._wake.set()

    def status_changed(self, *, at_once: bool) -> None:
        """Have the status sent again: at once where a report would not be understood without."""
        self._status_due = True
        if at_once:
            self._status_after = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Connect, send, and connect again, until cancelled."""
        attempt = 0
        told = False
        while True:
            connected_at = math.inf
            try:
                async with self._transport.connect() as link:
                    connected_at, told = time.monotonic(), False
                    await self._session(link)
            except TransportError as error:
                if not told:
                    node = self._identity.node
                    _LOG.warning("%s: %s; trying again, reports wait in the spool", node, error)
                told = True
            finally:
                self._disconnected()
            low, high = _BACKOFF_SECONDS
            # Two agents of one name throw each other out: not as fast as they can.
            stable = time.monotonic() - connected_at >= _STABLE_SECONDS
            attempt = 1 if stable else min(attempt + 1, 10)
            await asyncio.sleep(random.uniform(low / 2, min(high, low * 2**attempt)))  # noqa: S311 - jitter

    def _disconnected(self) -> None:
        self._connected = False
        self._telemetry.connected.set(0)
        self._fresh.clear()
        self._in_flight.clear()
        self._credit = 0

    async def _session(self, link: Link) -> None:
        self._connected, self._sent_at = True, time.monotonic()
        self._wake.set()
        node = self._identity.node
        try:
            await self._send_status(link)
            _LOG.info("%s: connected to %s", node, self._transport.peer)
            self._telemetry.connected.set(1)
            tasks = (
                asyncio.create_task(self._receive(link), name=f"receipts[{node}]"),
                asyncio.create_task(self._send(link), name=f"send[{node}]"),
            )
            # No task group: where a loss and a stop come together, it would raise the loss.
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=_GOODBYE_SECONDS)
        except asyncio.CancelledError:
            await self._say_goodbye(link)
            raise

    async def _say_goodbye(self, link: Link) -> None:
        # The broker speaks the last will only for those who go without a word.
        status = msgspec.structs.replace(self._status(), state="offline")
        with contextlib.suppress(TransportError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                here = self._identity.topic(MessageKind.STATUS)
                await link.publish(here, encode(status), retain=True)

    async def _send(self, link: Link) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds()):
                    await self._wake.wait()
            self._wake.clear()
            if self._status_due and time.monotonic() >= self._status_after:
                await self._send_status(link)
            while self._fresh:
                await self._send_report(link, self._fresh.popleft())
            await self._send_backlog(link)

    def _idle_seconds(self) -> float | None:
        """Return after which time something is to be sent though nothing happens, if ever."""
        now = time.monotonic()
        if self._credit == 0:
            due = self._sent_at
        elif self._waiting():
            # The spool could not be read, or a fresh report went before.
            due = now + _RETRY_SECONDS - self._resend_after
        else:
            due = min(self._in_flight.values(), default=math.inf)
        due += self._resend_after
        if self._status_due:
            due = min(due, self._status_after)
        return None if due == math.inf else max(0.0, due - now)

    async def _send_status(self, link: Link) -> None:
        self._status_due, self._status_after = False, time.monotonic() + _STATUS_SECONDS
        here = self._identity.topic(MessageKind.STATUS)
        status = self._status()
        await link.publish(here, encode(status), retain=True)
        wanted, self._wanted = self._wanted - {status.inventory_hash}, set()
        for name in wanted:
            past = await self._past_inventory(name)
            if past is not None:
                told = msgspec.structs.replace(status, inventory=past, inventory_hash=name)
                await link.publish(here, encode(told))

    async def _past_inventory(self, name: str) -> Inventory | None:
        try:
            body = await self._spool.inventory(name)
            return None if body is None else msgspec.json.decode(body, type=Inventory)
        except (SpoolError, msgspec.MsgspecError) as error:
            _LOG.debug("%s: inventory %s: %s", self._identity.node, name, error)
            return None

    async def _send_report(self, link: Link, report: Spooled) -> None:
        self._expire()
        self._in_flight[report.start_seconds] = self._sent_at = time.monotonic()
        waiting = self._waiting()
        since = self._spool.oldest_seconds if waiting else None
        body = with_backlog(report.body, waiting, since)
        if len(body) > MAX_PAYLOAD_BYTES:
            await self._refuse(report.start_seconds, "oversized")
            return
        await link.publish(self._identity.topic(MessageKind.REPORT), body)
        self._telemetry.published.inc()
        if self._silence.too_long(self._resend_after):
            _LOG.warning(
                "%s: published %d reports, no receipt on %s: check that a collector runs, "
                "and the broker's ACL",
                self._identity.node,
                self._silence.published,
                self._identity.topic(MessageKind.RECEIPT),
            )

    async def _send_backlog(self, link: Link) -> None:
        self._expire()
        if self._credit == 0 and time.monotonic() - self._sent_at >= self._resend_after:
            self._credit = 1
        if self._credit == 0 or self._waiting() == 0:
            return
        try:
            reports = await self._spool.oldest(min(self._credit, _BATCH), skip=self._in_flight)
        except SpoolError as error:
            # The next report's writing finds what is wrong, and says it once.
            _LOG.debug("%s", error)
            return
        for report in reports:
            # A receipt or a fresh report may have come meanwhile.
            if self._fresh or self._credit == 0:
                break
            self._credit -= 1
            await self._send_report(link, report)
        if reports:
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
        if self._silence.broken():
            _LOG.info("%s: receipts come again", self._identity.node)
        self._telemetry.receipts.inc()
        for refusal in receipt.refused:
            self._tell_refusal(refusal.reason, final=refusal.final)
        if self._refusals_told and not receipt.refused:
            _LOG.info("%s: no report is refused any more", self._identity.node)
            self._refusals_told.clear()
        try:
            await self._spool.forget(receipt.stored, receipt.length_seconds)
            if final := [(r.start_seconds, r.reason) for r in receipt.refused if r.final]:
                await self._spool.set_aside(final)
        except SpoolError as error:
            # What could not be forgotten stays in flight: sent again later, and in no tight loop.
            _LOG.debug("%s", error)
        else:
            for start in [s for s in self._in_flight if _settled(s, receipt)]:
                del self._in_flight[start]
        if receipt.inventory_wanted:
            self._wanted.update(receipt.inventory_wanted[:_WANTED_MAX])
            self.status_changed(at_once=True)
        self._credit = receipt.credit
        self._wake.set()

    async def _refuse(self, start_seconds: int, reason: str) -> None:
        """Set a report aside that no collector would take."""
        self._tell_refusal(reason, final=True)
        with contextlib.suppress(SpoolError):
            await self._spool.set_aside([(start_seconds, reason)])
            self._in_flight.pop(start_seconds, None)

    def _tell_refusal(self, reason: str, *, final: bool) -> None:
        self._telemetry.refused(reason, final=final)
        if reason in self._refusals_told or len(self._refusals_told) >= _REASONS_MAX:
            return
        self._refusals_told.add(reason)
        fate = "set aside; `meterhouse-agent resend` brings them back" if final else "sent again"
        _LOG.warning("%s: reports are refused: %s; they are %s", self._identity.node, reason, fate)


def _settled(start_seconds: int, receipt: Receipt) -> bool:
    # What is refused for later stays in flight until it is due again: no tight loop.
    step = max(1, receipt.length_seconds)
    return any(
        first <= start_seconds <= last and (start_seconds - first) % step == 0
        for first, last in receipt.stored
    ) or any(
        start_seconds == refusal.start_seconds and refusal.final for refusal in receipt.refused
    )
