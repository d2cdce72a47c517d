"""The parent's side of a child process, against readers that behave badly."""

import asyncio
import fcntl
import os
import signal
import struct
import sys
import termios
import time
from pathlib import Path

import pytest

from meterhouse_agent.sources import SourceError, SourceUnresponsiveError
from meterhouse_agent.sources.child import Child, Command
from tests.agent.links import until

PATIENCE_SECONDS = 60.0

STARTED = """
import os, sys
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()}\\n")
"""

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('{"kind":"found","slot":1}\\n{"kind":"device","body":{}}', flush=True)
time.sleep(600)
"""

SERVED = """
import time
from msgspec import Struct
from meterhouse_agent.readers.serve import DeviceError, serve

class Answer(Struct):
    value: int

class Device:
    def __init__(self, slot):
        self.slot = slot
    def identify(self):
        return Answer(self.slot)
    def read(self):
        print("a library that prints")
        if self.slot == 1:
            raise DeviceError("the second has an error")
        if self.slot == 2:
            raise ZeroDivisionError("the third has a bug")
        return Answer(self.slot + 100)

class Library:
    def open(self):
        return [Device(0), Device(1), Device(2)]
    def close(self):
        pass

serve(Library())
"""


# One device that counts how often it was read.
COUNTING = SERVED.replace("[Device(0), Device(1), Device(2)]", "[Device(10)]").replace(
    "return Answer(self.slot + 100)",
    "self.slot += 1; return Answer(self.slot)",
)


def child(folder: Path, program: str) -> Child:
    """Return a child that runs a program of ours, which first notes that it was started."""
    (folder / "reader_of_ours.py").write_text(STARTED + program, encoding="utf-8")
    command = Command(
        module="reader_of_ours",
        options=str(folder / "started").encode(),
        library="ours",
        restart_after_seconds=600.0,
        environment={"PYTHONPATH": str(folder)},
    )
    return Child(command, lambda slot: f"device {slot}")


def started(folder: Path) -> list[int]:
    noted = folder / "started"
    return [int(line) for line in noted.read_text("ascii").split()] if noted.exists() else []


async def test_a_child_that_dies_is_not_restarted_in_a_tight_loop(tmp_path: Path) -> None:
    dying = child(tmp_path, "sys.exit('no such thing')")
    texts = set()
    rounds = 0
    give_up = time.monotonic() + PATIENCE_SECONDS
    # Starts are 1, 2, 4 … s apart, however often it is asked.
    while len(started(tmp_path)) < 2:
        assert time.monotonic() < give_up
        with pytest.raises(SourceError) as caught:
            await dying.ask(30.0)
        texts.add(str(caught.value))
        rounds += 1
        await asyncio.sleep(0.01)
    await dying.close()
    assert rounds > 5
    assert any("ended with status 1: no such thing" in text for text in texts)
    assert any("next try in" in text for text in texts)


async def test_a_line_that_is_none_of_ours(tmp_path: Path) -> None:
    babbling = child(tmp_path, "print('hello', flush=True)\nsys.stdin.read()")
    with pytest.raises(SourceError, match="none of ours"):
        await babbling.open(30.0)
    await babbling.close()


async def test_a_child_that_cannot_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with pytest.raises(SourceError, match="cannot start"):
        await child(tmp_path, "").open(30.0)


async def test_a_child_that_does_not_want_to_end_is_killed(tmp_path: Path) -> None:
    stubborn = child(tmp_path, STUBBORN)
    await stubborn.open(30.0)
    with pytest.raises(SourceUnresponsiveError, match="does not answer"):
        await stubborn.ask(0.2)
    await stubborn.close()
    (pid,) = started(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_an_error_of_one_device_is_its_own(tmp_path: Path) -> None:
    mixed = child(tmp_path, SERVED)
    await mixed.open(30.0)
    assert {slot: bytes(raw) for slot, raw in mixed.identities().items()} == {
        0: b'{"value":0}',
        1: b'{"value":1}',
        2: b'{"value":2}',
    }
    for _ in range(3):
        (readings,) = await mixed.ask(30.0)
        assert {slot: bytes(raw) for slot, raw in readings.items()} == {0: b'{"value":100}'}
    await mixed.close()


def unread(of: Child) -> int:
    """Return how many bytes lie in the pipe of a child."""
    process = of._process
    assert process is not None
    pipe = process._stdout.get_extra_info("pipe")
    (count,) = struct.unpack("i", fcntl.ioctl(pipe.fileno(), termios.FIONREAD, b"\0" * 4))
    return int(count)


async def leave(of: Child) -> bool:
    """Have a tick answered into the pipe; tell whether that could be done."""
    before = unread(of)
    done = of.leave()
    if done:
        await until(lambda: unread(of) > before)
    return done


async def test_the_answers_to_ticks_that_were_left_come_with_the_next(tmp_path: Path) -> None:
    counting = child(tmp_path, COUNTING)
    await counting.open(30.0)
    assert not counting.leave()
    for left, expected in ((0, [11]), (3, [12, 13, 14, 15])):
        for _ in range(left):
            assert await leave(counting)
        rounds = await counting.ask(30.0)
        values = [{slot: bytes(raw) for slot, raw in each.items()} for each in rounds]
        assert values == [{0: b'{"value":%d}' % value} for value in expected]
    await counting.close()


async def test_what_a_child_has_read_before_it_dies_is_not_lost(tmp_path: Path) -> None:
    counting = child(tmp_path, COUNTING)
    await counting.open(30.0)
    await counting.ask(30.0)
    for _ in range(2):
        assert await leave(counting)
    (pid,) = started(tmp_path)
    os.kill(pid, signal.SIGKILL)
    rounds = await counting.ask(30.0)
    assert [bytes(each[0]) for each in rounds] == [b'{"value":12}', b'{"value":13}']
    assert not counting.leave()
    with pytest.raises(SourceError, match="was ended by signal 9"):
        await counting.ask(30.0)
    await counting.close()


async def test_no_more_is_left_than_the_pipe_holds(tmp_path: Path) -> None:
    talking = child(
        tmp_path, COUNTING.replace("value: int", "value: int\n    text: str = 'x' * 5000")
    )
    await talking.open(30.0)
    await talking.ask(30.0)
    for _ in range(2):
        left = 0
        while await leave(talking):
            left += 1
            assert left < 20
        assert left > 1
        assert len(await talking.ask(30.0)) == left + 1
    await talking.close()


async def test_nothing_is_left_while_a_device_is_missing(tmp_path: Path) -> None:
    mixed = child(tmp_path, SERVED)
    await mixed.open(30.0)
    await mixed.ask(30.0)
    assert not mixed.leave()
    await mixed.close()


async def test_only_errors_are_an_error_and_no_hang(tmp_path: Path) -> None:
    failing = child(tmp_path, SERVED.replace("[Device(0), Device(1), Device(2)]", "[Device(1)]"))
    await failing.open(30.0)
    with pytest.raises(SourceError, match="the second has an error") as caught:
        await failing.ask(30.0)
    assert not isinstance(caught.value, SourceUnresponsiveError)
    await failing.close()
