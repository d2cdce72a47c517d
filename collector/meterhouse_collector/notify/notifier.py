"""Tells each receiver of what changed, until it takes it."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.alerts.back import last_points
from meterhouse_collector.alerts.book import Open
from meterhouse_collector.alerts.state import Key
from meterhouse_collector.alerts.words import Links
from meterhouse_collector.notify.config import AlertsConfig, Receiver
from meterhouse_collector.notify.due import BATCH, Told, due
from meterhouse_collector.notify.message import (
    Message,
    alertmanager_body,
    repeated_until,
    webhook_body,
)
from meterhouse_collector.notify.post import NotTakenError, Post, posting
from meterhouse_collector.notify.told import is_told, last_told, told_point
from meterhouse_collector.rows import Row
from meterhouse_collector.store import Store
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_TICK_SECONDS: Final = 1.0
_BACKOFF_SECONDS: Final = (1.0, 60.0)
_ALERTS_PATH: Final = "/api/v2/alerts"

Body = Callable[[Sequence[Message], float], bytes]


class Way(NamedTuple):
    """A receiver, how it is spoken to, and how often what fires is repeated."""

    name: str
    receiver: Receiver
    path: str
    body: Body
    repeat_seconds: float | None


def ways_of(config: AlertsConfig) -> list[Way]:
    """Return the receivers of a config."""
    links = Links(config.boards_url or "", config.runbooks_url or "")
    found = []
    if config.alertmanager is not None:
        repeat = config.alertmanager.repeat

        def alertmanager(messages: Sequence[Message], now: float) -> bytes:
            return alertmanager_body(messages, repeated_until(now, repeat), links)

        found.append(Way("alertmanager", config.alertmanager, _ALERTS_PATH, alertmanager, repeat))
    if config.webhook is not None:
        found.append(
            Way(
                "webhook",
                config.webhook,
                "",
                lambda messages, _: webhook_body(messages, links),
                None,
            )
        )
    return found


class Notifier:
    """Keeps one receiver told of the open alerts."""

    def __init__(
        self,
        way: Way,
        site: str,
        open_alerts: Mapping[Key, Open],
        telemetry: Telemetry,
        *,
        write: Callable[[Row], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._way = way
        self._site = site
        self._open = open_alerts
        self._telemetry = telemetry
        self._write = write
        self._clock = clock
        self._told: dict[Key, Told] = {}
        self._failed = 0
        self._again_at = float("-inf")
        self._saved = -1

    async def read_back(self, store: Store) -> None:
        """Take up what was told before; raises ``StoreUnavailableError``."""
        site = self._site
        found = await last_points(store, lambda p: is_told(p, site), int(self._clock()))
        self._told, bad = last_told(found, self._way.name)
        if bad:
            _LOG.warning("%d words to %s cannot be read back", bad, self._way.name)

    async def run(self) -> None:
        """Tell until cancelled."""
        try:
            async with posting(self._way.receiver, self._way.path) as post:
                while True:
                    await self.tell(post)
                    await asyncio.sleep(_TICK_SECONDS)
        except (OSError, ValueError) as error:
            # A file of its config went away since that was read: all else goes on.
            _LOG.error("alerts: %s cannot be told: %s", self._way.name, error)

    async def tell(self, post: Post) -> None:
        """Tell what is due, unless it was tried too recently."""
        now = self._clock()
        try:
            self._save(now)
            waiting = due(self._open, self._told, now, self._way.repeat_seconds)
            self._telemetry.notifications_waiting.labels(self._way.name).set(len(waiting))
            if not waiting or time.monotonic() < self._again_at:
                return
            for first in range(0, len(waiting), BATCH):
                await self._send(post, waiting[first : first + BATCH], now)
        except NotTakenError as error:
            self._note_failure(error)
        except Exception:  # noqa: BLE001 - a fault here must not end what is collected
            self._telemetry.bug("notify")
        else:
            self._note_success()

    async def _send(self, post: Post, messages: Sequence[Message], now: float) -> None:
        try:
            await post.send(self._way.body(messages, now))
        except NotTakenError as error:
            if not error.final:
                raise
            if len(messages) > 1:
                # One that is not acceptable must not hold up the others.
                for message in messages:
                    await self._send(post, [message], now)
                return
            # It is not tried again: it counts as told, until it ends or fires anew.
            self._telemetry.notifications_refused.labels(self._way.name).inc()
            _LOG.error("alerts: %s refuses one for good: %s", self._way.name, error)
        else:
            for message in messages:
                state = "firing" if message.ends_seconds is None else "resolved"
                self._telemetry.notifications.labels(self._way.name, state).inc()
        for message in messages:
            self._note_told(message, now)

    def _note_told(self, message: Message, now: float) -> None:
        before = self._told.get(message.key)
        over = message.ends_seconds is not None
        if over:
            self._told.pop(message.key, None)
        else:
            self._told[message.key] = Told(message, now)
        repeated = before is not None and before.message.starts_seconds == message.starts_seconds
        if over or not repeated:
            self._write(told_point(self._site, self._way.name, message, now))

    def _save(self, now: float) -> None:
        """Write down in each quarter what fires by what was told."""
        quarter = int(now) // wire.QUARTER_SECONDS
        if quarter != self._saved:
            self._saved = quarter
            for word in self._told.values():
                self._write(told_point(self._site, self._way.name, word.message, now))

    def _note_failure(self, error: NotTakenError) -> None:
        shortest, longest = _BACKOFF_SECONDS
        if self._failed == 0:
            _LOG.error("alerts: %s is not told: %s; trying again", self._way.name, error)
        wait = min(longest, shortest * 2 ** min(self._failed, 10))
        self._failed += 1
        self._again_at = time.monotonic() + wait
        self._telemetry.notification_failures.labels(self._way.name).inc()

    def _note_success(self) -> None:
        if self._failed:
            _LOG.info("alerts: %s is told again", self._way.name)
        self._failed = 0
