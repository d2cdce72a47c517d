"""The receiver on a Unix socket, and clients that misbehave."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meterhouse_agent import wire
from meterhouse_collector.receive.unix import UnixReceiver
from tests.collector.collecting import topic
from tests.collector.hearing import DEADLINE_SECONDS, Heard, until


@asynccontextmanager
async def unix(folder: Path) -> AsyncIterator[tuple[UnixReceiver, Heard, Path]]:
    heard, path = Heard(), folder / "c.sock"
    receiver = UnixReceiver(path)
    async with heard.by(receiver):
        await until(path.exists)
        yield receiver, heard, path
    assert not path.exists()


Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connected(path: Path, *nodes: str) -> Client:
    reader, writer = await asyncio.open_unix_connection(path)
    for node in nodes:
        writer.write(wire.frame(topic("report", node), node.encode()))
    return reader, writer


async def test_each_client_gets_the_receipts_of_its_own_nodes(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        one = await connected(path, "node-1", "node-2")
        two = await connected(path, "node-3")
        await until(lambda: len(heard.messages) == 3)
        for node in ("node-3", "node-2", "node-1"):
            assert receiver.send(topic("receipt", node), node.encode())
        assert not receiver.send(topic("receipt", "node-4"), b"")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(one[0]))[1] == b"node-2"
            assert (await wire.read_frame(one[0]))[1] == b"node-1"
            assert (await wire.read_frame(two[0]))[1] == b"node-3"
        two[1].close()
        await until(lambda: not receiver.send(topic("receipt", "node-3"), b""))
        assert receiver.send(topic("receipt", "node-1"), b"")
        one[1].close()


@pytest.mark.parametrize(
    "junk",
    [
        b"\xff" * 64,
        b"\x00" * 8,
        b"GET / HTTP/1.1\r\n\r\n",
        wire.frame("not/a/topic", b"{}"),
        wire.frame("\udc80".encode(errors="replace").decode(), b"\x00"),
        b"\x00\x00\x00\x04",
        wire.frame(topic("report"), b"half of it")[:-4],
    ],
    ids=["lengths", "empty", "http", "topic", "text", "half a head", "half a body"],
)
async def test_junk_and_half_frames_harm_nobody_else(tmp_path: Path, junk: bytes) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        good = await connected(path, "node-1")
        bad = await connected(path)
        bad[1].write(junk)
        bad[1].write_eof()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await bad[0].read() == b""
        good[1].write(wire.frame(topic("report"), b"more"))
        await until(lambda: b"more" in heard.payloads)
        assert receiver.send(topic("receipt"), b"a receipt")
        for _, writer in (good, bad):
            writer.close()


async def test_a_client_that_does_not_read_its_receipts_costs_the_others_nothing(
    tmp_path: Path,
) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        deaf = await connected(path, "node-1")
        good = await connected(path, "node-2")
        await until(lambda: len(heard.messages) == 2)
        receipt, sent = b"x" * 100_000, 0
        while receiver.send(topic("receipt", "node-1"), receipt):
            sent += 1
            assert sent < 200
        assert receiver.send(topic("receipt", "node-2"), b"a receipt")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(good[0]))[1] == b"a receipt"
        # The receiver ends in time though this one still does not read.
        assert not deaf[1].is_closing()
    deaf[1].close()
    good[1].close()


async def test_a_client_comes_again_and_gets_what_its_node_is_told(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        old = await connected(path, "node-1")
        await until(lambda: len(heard.messages) == 1)
        new = await connected(path, "node-1")
        await until(lambda: len(heard.messages) == 2)
        old[1].close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await old[0].read()
        receiver.send(topic("receipt"), b"again")
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await wire.read_frame(new[0]))[1] == b"again"
        new[1].close()


async def test_paused_it_reads_no_further(tmp_path: Path) -> None:
    async with unix(tmp_path) as (receiver, heard, path):
        receiver.pause()
        client = await connected(path, *["node-1"] * 100)
        await until(lambda: bool(heard.messages))
        await asyncio.sleep(0.1)
        assert len(heard.messages) == 1
        receiver.resume()
        await until(lambda: len(heard.messages) == 100)
        client[1].close()
