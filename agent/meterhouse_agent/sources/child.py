"""Keeps a child process that reads a vendor's library, and restarts it with patience.

A library that hangs takes the child with it, never the agent: the child is left alone for a while,
then ended and replaced, ever more rarely; one that cannot even be killed is abandoned.
"""

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from msgspec import Raw

from meterhouse_agent.sources import SourceAbsentError, SourceError, SourceUnresponsiveError
from meterhouse_agent.sources.child_process import ChildProcess, Round

_LOG: Final = logging.getLogger(__name__)
_DIED_SECONDS: Final = 1.0
_ABSENT_SECONDS: Final = 10.0
_LONGEST_SECONDS: Final = 600.0
_MAX_ABANDONED: Final = 2
_OPENING_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start: a module of ``readers`` with its options, and how long a hang is borne."""

    module: str
    options: bytes
    library: str
    restart_after_seconds: float
    environment: Mapping[str, str] | None = None

    def arguments(self) -> tuple[str, ...]:
        """Return the command line."""
        # -P: the folder the agent was started in is no place to import from.
        return (sys.executable, "-P", "-m", self.module, self.options.decode())


class Child:
    """One child process at a time; ``name_of`` names a slot's device once it has told who it is."""

    def __init__(self, command: Command, name_of: Callable[[int], str]) -> None:
        self._command = command
        self._name_of = name_of
        self._process: ChildProcess | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._abandoned: list[ChildProcess] = []
        self._tick = 0
        self._missing: frozenset[int] = frozenset()
        self._silent = True
        self._patience = command.restart_after_seconds
        self._died_delay = _DIED_SECONDS
        self._answered_at = 0.0
        self._next_start = 0.0
        self._last_error = SourceError("not started yet")

    async def open(self, seconds: float) -> None:
        """Start the child if need be, and wait until its devices have told who they are."""
        process = await self._running()
        await process.wait(process.settled, seconds)
        self._raise_if_ended(process)
        if not process.identities:
            self._raise_silent(process, seconds, process.last_round)

    def identities(self) -> dict[int, Raw]:
        """Return who the devices of the present child are, by slot."""
        return {} if self._process is None else self._process.identities

    def leave(self) -> bool:
        """Send a tick whose readings the next ``ask`` brings; tell whether that could be done.

        It is not while a device is missing: what hangs is waited for at each tick.
        """
        process = self._process
        if process is None or self._silent or self._missing:
            return False
        if not process.leave_tick(self._tick + 1):
            return False
        self._tick += 1
        return True

    async def ask(self, seconds: float) -> list[dict[int, Raw]]:
        """Send a tick; return readings by slot: of the ticks left before, then what came in time.

        Raises ``SourceUnresponsiveError`` where no device answered, ``SourceError`` and
        ``SourceAbsentError`` where the child is gone.
        """
        process = await self._running()
        started = time.monotonic()
        if not process.identities:
            # Just started anew: a tick that came before the devices are found would ask nobody.
            await process.wait(process.settled, seconds * _OPENING_SHARE)
        self._tick += 1
        tick = self._tick
        process.send_tick(tick)
        left = started + seconds - time.monotonic()
        await process.wait(lambda: process.has_answered(tick), left)
        rounds = process.take_rounds()
        last = rounds.pop() if rounds and rounds[-1].tick == tick else Round(tick)
        earlier = [each for each in rounds if each.readings]
        self._silent = not last.readings
        if not earlier:
            self._raise_if_ended(process)
            if not last.readings:
                self._raise_silent(process, seconds, last)
        # What was read before is not lost with the last: the next tick, waited for, tells of that.
        read = [*earlier, last] if last.readings else earlier
        for each in read:
            self._note_answers(process, each)
        return [each.readings for each in read]

    async def close(self) -> None:
        """End the child: by closing its stdin, and with more force if it stays."""
        if self._process is not None:
            self._end(self._process)
        if self._ending:
            await asyncio.wait(self._ending, timeout=10.0)

    async def _running(self) -> ChildProcess:
        if self._process is not None:
            return self._process
        if self._ending:
            raise type(self._last_error)(f"{self._last_error}; its process is being ended")
        self._abandoned = [process for process in self._abandoned if not process.is_gone()]
        if len(self._abandoned) >= _MAX_ABANDONED:
            raise SourceUnresponsiveError(
                f"{self._command.library} hangs in {len(self._abandoned)} processes that cannot be "
                "killed: this node needs a reboot"
            )
        wait = self._next_start - time.monotonic()
        if wait > 0:
            raise type(self._last_error)(f"{self._last_error}; next try in {wait:.0f} s")
        try:
            self._process = await ChildProcess.start(
                self._command.arguments(), self._command.environment
            )
        except (OSError, TimeoutError) as error:
            self._postpone(SourceError(f"cannot start {self._command.module}: {error}"), died=True)
            raise self._last_error from error
        self._answered_at = time.monotonic()
        return self._process

    def _raise_if_ended(self, process: ChildProcess) -> None:
        """Raise what became of the child, and arrange for the next one."""
        error: SourceError
        if process.absent:
            error = SourceAbsentError(process.absent)
        elif process.failed:
            error = SourceError(process.failed)
        elif process.ended:
            error = SourceError(f"the reader of {self._command.library} {process.ended}")
        else:
            return
        self._postpone(error, died=not process.absent)
        self._end(process)
        raise error

    def _postpone(self, error: SourceError, *, died: bool) -> None:
        self._last_error = error
        self._next_start = time.monotonic() + (self._died_delay if died else _ABSENT_SECONDS)
        if died:
            self._died_delay = min(self._died_delay * 2, _LONGEST_SECONDS)

    def _raise_silent(self, process: ChildProcess, seconds: float, last: Round) -> NoReturn:
        """Raise that nothing could be read; end the child when that has lasted too long."""
        if last.errors and last.is_answered(process.expected) and not last.busy:
            # Answers they are: nothing hangs, so nothing is to be restarted.
            self._answered_at = time.monotonic()
            raise SourceError("; ".join(sorted(set(last.errors.values())))[:500])
        silent = time.monotonic() - self._answered_at
        library = self._command.library
        if process.expected == 0:
            what = f"{library} has not been opened yet"
        elif last.heard:
            what = f"no device of {library} answers"
        else:
            what = f"the reader of {library} does not answer"
        error = SourceUnresponsiveError(
            f"{what}: nothing within {seconds:g} s, for {silent:.0f} s now; look at dmesg"
        )
        if silent >= self._patience:
            _LOG.warning("%s; its reader is started anew", error)
            self._last_error = error
            self._patience = min(self._patience * 2, _LONGEST_SECONDS)
            self._end(process)
        raise error

    def _note_answers(self, process: ChildProcess, last: Round) -> None:
        now = time.monotonic()
        self._answered_at = now
        self._patience = self._command.restart_after_seconds
        if now - process.started_at > self._command.restart_after_seconds:
            self._died_delay = _DIED_SECONDS
        missing = frozenset(range(process.expected)) - last.readings.keys()
        for slot in sorted(missing - self._missing):
            _LOG.warning(
                "%s: %s; its time is unknown, the others are read on",
                self._name_of(slot),
                last.errors.get(slot, "no answer in time"),
            )
        for slot in sorted(self._missing - missing):
            _LOG.warning("%s answers again", self._name_of(slot))
        self._missing = missing

    def _end(self, process: ChildProcess) -> None:
        self._process = None
        self._missing, self._silent = frozenset(), True
        task = asyncio.create_task(self._stop(process), name=f"end-{self._command.module}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _stop(self, process: ChildProcess) -> None:
        gone = False
        with contextlib.suppress(OSError):
            gone = await process.stop()
        if not gone:
            _LOG.error("process %d cannot be killed and is abandoned", process.pid)
            self._abandoned.append(process)
