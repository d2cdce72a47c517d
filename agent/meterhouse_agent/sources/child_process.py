"""One child process and its pipes: ticks out, lines in."""

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self, cast

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
# Half of what the pipe holds: the child must not wait for room while it is to read.
_PIPE_SHARE: Final = 2
_STDIN, _STDOUT, _STDERR = range(3)

_DECODER: Final = msgspec.json.Decoder(Line)


@dataclass(slots=True)
class Round:
    """What the devices answered to one tick, by slot; ``heard`` is the child's own answer."""

    tick: int
    heard: bool = False
    busy: frozenset[int] = frozenset()
    readings: dict[int, Raw] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)

    def is_answered(self, expected: int) -> bool:
        """Tell whether every device that is not busy with an earlier tick has answered."""
        return 0 < expected <= len(self.readings.keys() | self.errors.keys() | self.busy)


class ChildProcess(asyncio.SubprocessProtocol):
    """A started child; what it has told of itself lies in the attributes.

    What it answers to a tick is used until the next tick or until it was waited for: what comes
    later is not, because only the energy in it would still be what the time beside it says.
    Answers that nobody waits for yet lie in the pipe: to wake up for them costs more than they do.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._gone = asyncio.Event()
        self._last_words = b""
        self._unfinished = b""
        self._rounds: list[Round] = [Round(0)]
        self._unread_ticks = 0
        self._pipe_bytes = 0
        self._round_bytes = _LINE_BYTES
        self._taken_bytes = 0
        self._ending: asyncio.Task[None] | None = None
        self.pid = 0
        self.started_at = time.monotonic()
        self.expected = 0
        self.identities: dict[int, Raw] = {}
        self.absent = ""
        self.failed = ""
        self.ended = ""

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str] | None) -> Self:
        """Start a process; raise ``OSError`` or ``TimeoutError``."""
        env = None if environment is None else {**os.environ, **environment}
        async with asyncio.timeout(_START_SECONDS):
            _, process = await asyncio.get_running_loop().subprocess_exec(cls, *command, env=env)
        return process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a process that was started."""
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()
        pipe = self._stdout.get_extra_info("pipe")
        self._pipe_bytes = fcntl.fcntl(pipe.fileno(), fcntl.F_GETPIPE_SZ) // _PIPE_SHARE

    @property
    def _stdout(self) -> asyncio.ReadTransport:
        return cast("asyncio.ReadTransport", self._transport.get_pipe_transport(_STDOUT))

    @property
    def _stdin(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(_STDIN))

    def send_tick(self, tick: int) -> None:
        """Ask for readings that are waited for; a child that takes nothing is spared."""
        self._stdout.resume_reading()
        self._write_tick(tick)

    def leave_tick(self, tick: int) -> bool:
        """Ask for readings and leave the answers in the pipe, if it has room; tell whether."""
        if (self._unread_ticks + 1) * self._round_bytes > self._pipe_bytes or self.is_over:
            return False
        self._stdout.pause_reading()
        self._write_tick(tick)
        return True

    def _write_tick(self, tick: int) -> None:
        self._unread_ticks += 1
        stdin = self._stdin
        if not stdin.is_closing() and stdin.get_write_buffer_size() < _MAX_UNREAD_BYTES:
            stdin.write(b"%d\n" % tick)

    @property
    def last_round(self) -> Round:
        """What was answered to the last tick that was heard, so far."""
        return self._rounds[-1] if self._rounds else Round(0)

    def take_rounds(self) -> list[Round]:
        """Hand out what was answered since the last time, the oldest tick first."""
        if self._unread_ticks:
            self._round_bytes = max(1, self._taken_bytes // self._unread_ticks)
        self._unread_ticks = self._taken_bytes = 0
        rounds, self._rounds = self._rounds, []
        return rounds

    async def wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until something is so, or the child is at its end, or the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (done() or self.is_over):
                    self._changed.clear()
                    await self._changed.wait()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be had of this child."""
        return bool(self.absent or self.failed or self.ended)

    def settled(self) -> bool:
        """Tell whether every device has told who it is, or why it cannot."""
        errors = {slot for each in self._rounds for slot in each.errors}
        return 0 < self.expected <= len(self.identities.keys() | errors)

    def has_answered(self, tick: int) -> bool:
        """Tell whether every device that is not busy with an earlier tick has answered one."""
        return self.last_round.tick == tick and self.last_round.is_answered(self.expected)

    def is_gone(self) -> bool:
        """Tell whether the process has ended."""
        return self._gone.is_set()

    async def stop(self) -> bool:
        """End the process, first by closing its stdin; tell whether it is gone."""
        self._stdin.close()
        # What it still says would otherwise fill the pipe, and it would wait for ever.
        self._stdout.resume_reading()
        gone = await self._gone_within(_CLOSE_SECONDS)
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not gone:
                with contextlib.suppress(ProcessLookupError):
                    self._transport.send_signal(number)
                gone = await self._gone_within(_SIGNAL_SECONDS)
        if self._ending is not None:
            self._ending.cancel()
        if gone:
            self._transport.close()
        return gone

    async def _gone_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        return self.is_gone()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take what the child has written."""
        if fd == _STDERR:
            self._last_words = (self._last_words + data)[-_LAST_WORDS_BYTES:]
            return
        if self.failed:
            return
        self._taken_bytes += len(data)
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        try:
            for line in lines:
                self._take(_DECODER.decode(line))
        except (ValueError, msgspec.MsgspecError) as error:
            self.failed = f"process {self.pid} sent a line that is none of ours: {error}"[:500]
        if len(self._unfinished) > _LINE_BYTES:
            self.failed = f"process {self.pid} sends a line without end"
        self._changed.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Take notice of the end of a pipe."""
        del exc
        if fd == _STDOUT:
            self._ending = asyncio.get_running_loop().create_task(
                self._note_end(), name=f"child-{self.pid}-end"
            )

    def process_exited(self) -> None:
        """Take notice of the end of the process; what it said last is read."""
        self._gone.set()
        self._stdout.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a process that has ended, though long after it was given up."""
        del exc
        self._transport.close()

    def _take(self, line: Line) -> None:
        match line.kind:
            case "found":
                self.expected = min(line.slot, _MAX_SLOTS)
            case "heard":
                self._rounds.append(Round(line.tick, heard=True, busy=frozenset(line.busy)))
            case "device":
                for each in self._rounds[-1:]:
                    each.errors.pop(line.slot, None)
                self.identities[line.slot] = line.body.copy()
            case "reading" | "error":
                self._take_answer(line)
            case "absent":
                self.absent = line.text
            case "failed":
                self.failed = line.text

    def _take_answer(self, line: Line) -> None:
        last = self._rounds[-1] if self._rounds else None
        if last is None:
            # It was waited for in vain.
            return
        if line.kind == "reading" and line.tick == last.tick:
            last.readings[line.slot] = line.body.copy()
        elif line.kind == "error" and (line.tick == last.tick or line.slot not in self.identities):
            last.errors[line.slot] = line.text

    async def _note_end(self) -> None:
        self.ended = await self._how_it_ended()
        self._changed.set()

    async def _how_it_ended(self) -> str:
        if not await self._gone_within(_SIGNAL_SECONDS):
            return f"(process {self.pid}) closed its pipe but has not ended"
        code = self._transport.get_returncode() or 0
        how = f"ended with status {code}"
        if code < 0:
            how = f"was ended by signal {-code} ({signal.strsignal(-code)})"
        words = self._last_words.decode(errors="replace").strip().rpartition("\n")[2]
        return f"(process {self.pid}) {how}" + (f": {words[:300]}" if words else "")
