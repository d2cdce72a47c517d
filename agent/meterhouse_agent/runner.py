"""Runs one source: opens it, reads it on its own ticks, bounds it, scores it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Literal

from meterhouse_agent.clock import Clock, is_step
from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.sources import (
    LeavingSource,
    Source,
    SourceAbsentError,
    SourceError,
    SourceUnresponsiveError,
)
from meterhouse_agent.telemetry import Telemetry
from meterhouse_agent.wire import SourceState

_LOG: Final = logging.getLogger(__name__)
_OPEN_DEADLINE_SECONDS: Final = 30.0
_CLOSE_DEADLINE_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = (1.0, 60.0)
_CATCH_UP_TICKS: Final = 300
_GAP_TICKS: Final = 2.5

Outcome = Literal["ok", "absent", "failed", "unresponsive"]


class SourceRunner:
    """One source of one node; loss and recovery are logged once.

    ``things`` are those it told of last: what has failed is still installed. Within an interval a
    source that can be left alone is only asked: at the end it is read with all it was asked for.
    """

    def __init__(
        self,
        source: Source,
        config: SourceConfig,
        *,
        interval_milliseconds: int,
        clock: Clock,
        telemetry: Telemetry,
        feed: Callable[[Readings, float], None],
        changed: Callable[[], None],
    ) -> None:
        self.source = source
        self.kind = config.kind
        self.things = Things()
        self._node = telemetry.node
        self._interval = interval_milliseconds
        self._leaving = source if isinstance(source, LeavingSource) else None
        self._left: list[int] = []
        self._clock = clock
        self._telemetry = telemetry
        self._feed = feed
        self._changed = changed
        self._period = round(config.sample_every * 1000)
        self._deadline = config.deadline
        self._state: Outcome | None = None
        self._detail = ""
        self._tick = 0

    @property
    def state(self) -> SourceState:
        """How the source fares, for the status message."""
        return SourceState(source=self.kind, state=self._state or "absent", detail=self._detail)

    def owes(self, end_milliseconds: int) -> bool:
        """Tell whether a reading at the end of an interval is still to come."""
        return (
            self._state == "ok"
            and end_milliseconds % self._period == 0
            and self._tick < end_milliseconds
        )

    def lags(self, now_milliseconds: int) -> bool:
        """Tell whether a reading that is due by now is still to come."""
        return self._state == "ok" and self._tick + self._period <= now_milliseconds

    async def run(self) -> None:
        """Open and read until cancelled; a failed opening is tried again, ever more slowly."""
        wait, longest = _RETRY_SECONDS
        while True:
            try:
                async with asyncio.timeout(_OPEN_DEADLINE_SECONDS):
                    await self.source.open()
                self.things = self.source.things()
                wait = _RETRY_SECONDS[0]
                await self._read_on()
            except TimeoutError:
                self._turn("failed", f"did not open within {_OPEN_DEADLINE_SECONDS:g} s")
            except SourceError as error:
                self._turn(outcome(error), str(error))
            except Exception as error:  # noqa: BLE001 - a fault of one source must not silence the others
                self._turn("failed", f"BUG: {error!r}")
            finally:
                await self._close()
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_DEADLINE_SECONDS):
                await self.source.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            _LOG.debug("%s: source %s: close: %r", self._node, self.kind, error)

    async def _read_on(self) -> None:
        period = self._period
        self._tick = max(self._tick, self._clock.now_milliseconds() // period * period)
        offset = self._clock.offset_milliseconds()
        while True:
            await self._clock.sleep_until(self._tick + period)
            before, offset = offset, self._clock.offset_milliseconds()
            stepped = is_step(before, offset)
            now = self._clock.now_milliseconds() // period * period
            first = self._tick + period
            if not self.source.replayable or (now - first) // period > _CATCH_UP_TICKS or stepped:
                # What a step forward passed over never was.
                first = now
            for tick in range(first, now + 1, period):
                if stepped or not self._leave(tick):
                    await self._round(tick, stepped=stepped)
                self._tick = tick

    def _leave(self, tick_milliseconds: int) -> bool:
        """Have a tick read without waiting, if a later one of its interval brings the reading."""
        into = tick_milliseconds % self._interval
        start = tick_milliseconds - into
        if (
            self._leaving is None
            or self._state != "ok"
            or into == 0
            or into + self._period > self._interval
            or any(tick < start for tick in self._left)
            or not self._leaving.leave(tick_milliseconds)
        ):
            return False
        self._left.append(tick_milliseconds)
        return True

    async def _round(self, tick_milliseconds: int, *, stepped: bool) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                readings = await self.source.read(tick_milliseconds)
            self._tick = tick_milliseconds
            self.things = self.source.things()
            # What was read before a step stands at times of the clock before it.
            self._feed(newest(readings) if stepped else readings, self._period * _GAP_TICKS)
            self._changed()
        except TimeoutError:
            self._turn("failed", f"no answer within {self._deadline:g} s")
        except SourceError as error:
            self._turn(outcome(error), str(error))
        except Exception as error:  # noqa: BLE001 - a fault of one source must not silence the others
            self._turn("failed", f"BUG: {error!r}")
        else:
            self._turn("ok", "")

    def _turn(self, state: Outcome, detail: str) -> None:
        self._telemetry.round(self.kind, state, 1 + len(self._left))
        self._left.clear()
        if state == self._state:
            return
        before, self._state, self._detail = self._state, state, detail[:500]
        who = f"{self._node}: source {self.kind}"
        if state != "ok":
            level = logging.INFO if state == "absent" else logging.WARNING
            _LOG.log(level, "%s %s: %s", who, state, detail)
        elif before is not None:
            _LOG.info("%s reads again", who)
        self._changed()


def newest(readings: Readings) -> Readings:
    """Return the readings with the last sample of each accelerator alone."""
    samples = {sample.device: sample for sample in readings.accelerators}
    return replace(readings, accelerators=tuple(samples.values()))


def outcome(error: SourceError) -> Outcome:
    """Return what an error says of its source."""
    if isinstance(error, SourceAbsentError):
        return "absent"
    return "unresponsive" if isinstance(error, SourceUnresponsiveError) else "failed"
