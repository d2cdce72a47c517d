"""One child process and its pipes: ticks out, lines in."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Self

import msgspec
from msgspec import Raw

from meterhouse_agent.readers.serve import Line

_LINE_BYTES: Final = 256 * 1024
_MAX_SLOTS: Final = 256
_MAX_UNREAD_BYTES: Final = 1024
_LAST_WORDS_BYTES: Final = 2000
_START_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 3.0
_SIGNAL_SECONDS: Final = 2.0

_DECODER: Final = msgspec.json.Decoder(Line)


class ChildProcess:
    """A started child; what it has told lies in the attributes, by slot.

    ``readings`` and ``errors`` are of the last tick only: what comes later than its tick is not
    used, because only the energy in it would still be what the time beside it says.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Event()
        self._tick = 0
        self._last_words = b""
        self.pid = process.pid
        self.started_at = time.monotonic()
        self.expected = 0
        self.heard = False
        self.busy: frozenset[int] = frozenset()
        self.identities: dict[int, Raw] = {}
        self.readings: dict[int, Raw] = {}
        self.errors: dict[int, str] = {}
        self.absent = ""
        self.failed = ""
        self.ended = ""
        # Both last as long as the process; stop() cancels them.
        self._tasks = (
            asyncio.create_task(self._read_lines(), name=f"child-{self.pid}-lines"),
            asyncio.create_task(self._read_last_words(), name=f"child-{self.pid}-stderr"),
        )

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str] | None) -> Self:
        """Start a process; raise ``OSError`` or ``TimeoutError``."""
        pipe = asyncio.subprocess.PIPE
        async with asyncio.timeout(_START_SECONDS):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=None if environment is None else {**os.environ, **environment},
                limit=_LINE_BYTES,
            )
        return cls(process)

    def send_tick(self, tick: int) -> None:
        """Ask for readings, without waiting; a child that takes nothing from its pipe is spared."""
        self._tick, self.heard = tick, False
        self.readings, self.errors, self.busy = {}, {}, frozenset()
        stdin = self._process.stdin
        if stdin is not None and stdin.transport.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            stdin.write(b"%d\n" % tick)

    async def wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, or the child is at its end, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (done() or self.absent or self.failed or self.ended):
                    self._changed.clear()
                    await self._changed.wait()

    def settled(self) -> bool:
        """Tell whether every device has told who it is, or why it cannot."""
        return 0 < self.expected <= len(self.identities.keys() | self.errors.keys())

    def answered(self) -> bool:
        """Tell whether every device that is not busy with an earlier tick has answered the last."""
        return 0 < self.expected <= len(self.readings.keys() | self.errors.keys() | self.busy)

    def is_gone(self) -> bool:
        """Tell whether the process has ended."""
        return self._process.returncode is not None

    async def stop(self) -> bool:
        """End the process, first by closing its stdin; tell whether it is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        gone = await self._gone_within(_CLOSE_SECONDS)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not gone:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(number)
                gone = await self._gone_within(_SIGNAL_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks, timeout=_SIGNAL_SECONDS)
        return gone

    async def _gone_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._process.wait()
        except TimeoutError:
            return self.is_gone()
        return True

    async def _read_lines(self) -> None:
        try:
            while self._process.stdout is not None and (
                line := await self._process.stdout.readline()
            ):
                self._take(_DECODER.decode(line))
                self._changed.set()
        except (ValueError, msgspec.MsgspecError) as error:
            self.failed = f"process {self.pid} sent a line that is none of ours: {error}"[:500]
        else:
            self.ended = await self._how_it_ended()
        self._changed.set()

    def _take(self, line: Line) -> None:
        match line.kind:
            case "found":
                self.expected = min(line.slot, _MAX_SLOTS)
            case "heard":
                if line.tick == self._tick:
                    self.heard, self.busy = True, frozenset(line.busy)
            case "device":
                self.errors.pop(line.slot, None)
                self.identities[line.slot] = line.body.copy()
            case "reading" if line.tick == self._tick:
                self.readings[line.slot] = line.body.copy()
            case "error" if line.tick == self._tick or line.slot not in self.identities:
                self.errors[line.slot] = line.text
            case "absent":
                self.absent = line.text
            case "failed":
                self.failed = line.text
            case _:
                # An answer to an earlier tick.
                return

    async def _how_it_ended(self) -> str:
        if not await self._gone_within(_SIGNAL_SECONDS):
            return f"(process {self.pid}) closed its pipe but has not ended"
        code = self._process.returncode or 0
        how = f"ended with status {code}"
        if code < 0:
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        words = self._last_words.decode(errors="replace").strip().rpartition("\n")[2]
        return f"(process {self.pid}) {how}" + (f": {words[:300]}" if words else "")

    async def _read_last_words(self) -> None:
        while self._process.stderr is not None and (data := await self._process.stderr.read(4096)):
            self._last_words = (self._last_words + data)[-_LAST_WORDS_BYTES:]
