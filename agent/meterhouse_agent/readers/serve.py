"""The child's side: answers ticks with readings of each device, until its stdin closes.

A vendor's C library can hang in the kernel for ever, where no thread can be cancelled. So the main
thread never calls it: it answers each tick with a heartbeat, and ends the process when it must.
One thread reads device after device; where one holds it up, another thread goes on with the rest.
"""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue
from types import FrameType
from typing import Final, Literal, NoReturn, Protocol

import msgspec
from msgspec import Raw, Struct

_GATHER_SECONDS: Final = 0.1
_HELD_UP_SECONDS: Final = 0.03
_FINISH_SECONDS: Final = 1.0
_CLOSE_SECONDS: Final = 1.0
_NAME_AGAIN_SECONDS: Final = 10.0
_STDIN: Final = 0


class AbsentError(Exception):
    """What the library reads is not on this machine: the text says what to do."""


class LibraryError(Exception):
    """The library as a whole is of no more use to this process: only a new one may help."""


class DeviceError(Exception):
    """One device gave no answer that can be used this time: the text says why."""


class Line(Struct, omit_defaults=True, kw_only=True):
    """One line from child to parent; ``slot`` numbers the child's devices from 0.

    ``heard`` answers each tick, with the slots still ``busy`` with an earlier one; ``found`` tells
    once how many devices there are (in ``slot``); ``device`` carries a device's identity,
    ``reading`` what it read for a tick, ``error`` why it read nothing; after ``absent`` or
    ``failed`` the parent ends the child.
    """

    kind: Literal["heard", "found", "device", "reading", "error", "absent", "failed"]
    slot: int = 0
    tick: int = 0
    text: str = ""
    busy: list[int] = []
    body: Raw = Raw()


class Device(Protocol):
    """One device of a library; its calls are made one after the other, never two at once."""

    def identify(self) -> Struct:
        """Return who it is; raise ``DeviceError`` or ``LibraryError``."""

    def read(self) -> Struct:
        """Read it once; raise ``DeviceError`` or ``LibraryError``."""


class Library(Protocol):
    """A vendor's library."""

    def open(self) -> Sequence[Device]:
        """Load it and find its devices; raise ``AbsentError`` or ``LibraryError``."""

    def close(self) -> None:
        """Let go of it."""


class _Outbox:
    """Lines on their way to the parent; those that answer one tick leave in one write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._lines: list[bytes] = []
        self._tick = -1
        self._expected = 0
        self.gathering = False

    def begin(self, tick: int, busy: list[int], expected: int) -> None:
        """Start to gather the answers of so many devices to one tick."""
        with self._lock:
            self._lines.append(self._encoder.encode(Line(kind="heard", tick=tick, busy=busy)))
            self._tick, self._expected, self.gathering = tick, expected, expected > 0
            if not self.gathering:
                self._write()

    def put(self, line: Line, body: Struct | None = None) -> None:
        """Send a line: with the last of its tick's, or at once when gathering is over."""
        if body is not None:
            line.body = Raw(self._encoder.encode(body))
        with self._lock:
            self._lines.append(self._encoder.encode(line))
            if self.gathering and line.tick == self._tick:
                self._expected -= 1
                self.gathering = self._expected > 0
            if not self.gathering:
                self._write()

    def flush(self) -> None:
        """Stop gathering: what is late goes out when it comes."""
        with self._lock:
            self.gathering = False
            self._write()

    def _write(self) -> None:
        if not self._lines:
            return
        data = b"\n".join(self._lines) + b"\n"
        self._lines.clear()
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError:
                # The parent is gone, and with it the reason to be.
                os._exit(0)


class _Worker:
    """What one device has to answer."""

    def __init__(self, slot: int, device: Device, outbox: _Outbox) -> None:
        self.slot = slot
        self._device = device
        self._outbox = outbox
        self._named = False
        self._nameless = ""
        self._name_again = 0.0
        self.busy = True

    def answer(self, tick: int) -> None:
        """Read the device for a tick; the tick 0 only asks it who it is."""
        line = Line(kind="reading", slot=self.slot, tick=tick)
        identity: Struct | None = None
        body: Struct | None = None
        try:
            if not self._named:
                identity = self._identify()
            if tick > 0:
                body = self._device.read()
        except LibraryError as error:
            line.kind, line.text = "failed", str(error)
        except Exception as error:  # noqa: BLE001 - a thread that ends would be a device that hangs
            name = "" if isinstance(error, DeviceError) else f"{type(error).__name__}: "
            line.kind, line.text = "error", f"{name}{error}"[:500]
        # Free again before the answer is out, or the next tick could come to a busy device.
        self.busy = False
        if identity is not None:
            self._outbox.put(Line(kind="device", slot=self.slot), identity)
        if tick > 0 or line.kind != "reading":
            self._outbox.put(line, body)

    def _identify(self) -> Struct:
        if time.monotonic() < self._name_again:
            raise DeviceError(self._nameless)
        self._name_again = time.monotonic() + _NAME_AGAIN_SECONDS
        try:
            identity = self._device.identify()
        except DeviceError as error:
            self._nameless = str(error)
            raise
        self._named = True
        return identity


class _Crew:
    """The thread that reads the devices that are due, and its relief where one holds it up."""

    def __init__(self) -> None:
        self._due: SimpleQueue[tuple[_Worker, int]] = SimpleQueue()
        self._on_duty: threading.Thread | None = None
        self._left = 0

    @property
    def is_done(self) -> bool:
        """Whether every device has been begun with."""
        return self._due.empty()

    def ask(self, workers: Sequence[_Worker], tick: int) -> None:
        """Have devices read that are not busy."""
        for worker in workers:
            worker.busy = True
            self._due.put((worker, tick))
        self._left = -1
        if self._on_duty is None:
            self._relieve()

    def watch(self) -> None:
        """Send a relief if since the last look no further device was begun with."""
        left = self._due.qsize()
        if left and left == self._left:
            self._relieve()
        self._left = left

    def _relieve(self) -> None:
        thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._on_duty = thread
        thread.start()

    def _run(self) -> None:
        # One that was relieved ends with the device that held it up.
        while threading.current_thread() is self._on_duty:
            worker, tick = self._due.get()
            worker.answer(tick)


class _Server:
    def __init__(self, library: Library, outbox: _Outbox) -> None:
        self._library = library
        self._outbox = outbox
        self._workers: tuple[_Worker, ...] = ()
        self._crew = _Crew()
        self._flush_at = 0.0
        self._opened = False

    def open(self) -> None:
        """Load the library, in a thread of its own."""
        try:
            devices = self._library.open()
        except AbsentError as error:
            self._outbox.put(Line(kind="absent", text=str(error)[:2000]))
            return
        except Exception as error:  # noqa: BLE001 - a thread's last words must reach the parent
            self._outbox.put(Line(kind="failed", text=f"{type(error).__name__}: {error}"[:2000]))
            return
        self._outbox.put(Line(kind="found", slot=len(devices)))
        # Known before they run: the first tick can come as soon as they have told who they are.
        self._workers = tuple(
            _Worker(slot, device, self._outbox) for slot, device in enumerate(devices)
        )
        self._crew.ask(self._workers, 0)
        self._opened = True

    def run(self) -> None:
        """Answer ticks until stdin closes."""
        rest = b""
        while True:
            if not select.select([_STDIN], [], [], self._wait_seconds())[0]:
                self._crew.watch()
                if self._outbox.gathering and time.monotonic() >= self._flush_at:
                    self._outbox.flush()
                continue
            data = os.read(_STDIN, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._tick(int(line))

    def _tick(self, tick: int) -> None:
        free = [worker for worker in self._workers if not worker.busy]
        busy = {worker.slot for worker in self._workers} - {worker.slot for worker in free}
        self._flush_at = time.monotonic() + _GATHER_SECONDS
        self._outbox.begin(tick, sorted(busy), len(free))
        self._crew.ask(free, tick)

    def _wait_seconds(self) -> float | None:
        """Return how long nothing needs to be looked after, ``None`` until the next tick."""
        if not self._opened or not self._crew.is_done:
            return _HELD_UP_SECONDS
        return _GATHER_SECONDS if self._outbox.gathering else None

    def finish(self) -> None:
        """Wait a little for calls under way, then let go of the library."""
        give_up = time.monotonic() + _FINISH_SECONDS
        while any(worker.busy for worker in self._workers) and time.monotonic() < give_up:
            time.sleep(0.01)
        if self._opened and not any(worker.busy for worker in self._workers):
            closer = threading.Thread(target=self._library.close, name="close", daemon=True)
            closer.start()
            closer.join(_CLOSE_SECONDS)


def _take_stdout() -> int:
    """Keep stdout for us alone: what a vendor's library prints there goes to stderr."""
    private = os.dup(1)
    os.dup2(2, 1)
    return private


def _terminate(signal_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signal_number)


def serve(library: Library) -> NoReturn:
    """Serve a library to the parent on stdin and stdout; never returns."""
    server = _Server(library, _Outbox(_take_stdout()))
    status = 0
    try:
        signal.signal(signal.SIGTERM, _terminate)
        # Ctrl-C reaches the whole group: the parent ends us when it has had its last reading.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Thread(target=server.open, name="open", daemon=True).start()
        server.run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except Exception:  # noqa: BLE001 - what is left to do is to say so and end
        sys.excepthook(*sys.exc_info())
        status = 1
    server.finish()
    sys.stderr.flush()
    # Not sys.exit: it would wait for threads that hang in the library.
    os._exit(status)
