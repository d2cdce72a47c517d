"""Inference servers and meter gateways that mean harm, on real sockets."""

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final

Writes = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]
Answers = Callable[[bytes], bytes]

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
_LINE: Final = b'vllm:num_requests_running{model_name="m"} 1\n'
_REQUEST_BYTES: Final = 12
BOMB_BYTES: Final = 200_000_000


async def _endlessly(writer: asyncio.StreamWriter, head: bytes, part: bytes) -> None:
    writer.write(head)
    while True:
        writer.write(part)
        await writer.drain()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(_OK + b"\r\n")
    while True:
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.02)


def _once(answer: bytes) -> Writes:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return write


def _bomb(encoding: bytes) -> Writes:
    nothing = b"\0" * BOMB_BYTES
    packed = gzip.compress(nothing, 1) if encoding == b"gzip" else zlib.compress(nothing, 1)
    head = _OK + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(packed))
    return _once(head + packed)


def _redirect(where: str) -> Writes:
    return _once(b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % where.encode())


# What an inference server may answer; "{port}" is where nobody may be led to.
ENGINES: Final[dict[str, Callable[[int], Writes]]] = {
    "endless page": lambda _: lambda w: _endlessly(w, _OK + b"\r\n", _LINE * 1000),
    "endless line": lambda _: lambda w: _endlessly(w, _OK + b"\r\n", b"x" * 65536),
    "endless head": lambda _: lambda w: _endlessly(w, _OK, b"X: " + b"y" * 1000 + b"\r\n"),
    "endless header": lambda _: lambda w: _endlessly(w, _OK + b"X: ", b"y" * 65536),
    "endless chunks": lambda _: (
        lambda w: _endlessly(
            w, _OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 1000 + b"\r\nx\r\n"
        )
    ),
    "drop by drop": lambda _: _drip,
    "another host": lambda port: _redirect(f"http://127.0.0.1:{port}/metrics"),
    "a file": lambda _: _redirect("file:///etc/passwd"),
    "gzip bomb": lambda _: _bomb(b"gzip"),
    "deflate bomb": lambda _: _bomb(b"deflate"),
    "too long": lambda _: _once(_OK + b"Content-Length: 1000000000000000\r\n\r\n" + _LINE),
    "upgrade": lambda _: _once(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + _LINE),
    "continue": lambda _: lambda w: _endlessly(w, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}


def framed(request: bytes, pdu: bytes, length: int | None = None, protocol: int = 0) -> bytes:
    """Return an answer to a Modbus request, with another length or protocol where given."""
    said = len(pdu) + 1 if length is None else length
    middle = protocol.to_bytes(2, "big") + said.to_bytes(2, "big")
    return request[:2] + middle + request[6:7] + pdu


EIGHT: Final = b"\x03\x08" + b"\x11" * 8

# What a gateway may answer to a request for four words.
GATEWAYS: Final[dict[str, Answers]] = {
    "length too long": lambda asked: framed(asked, EIGHT, 65_535),
    "length a little too long": lambda asked: framed(asked, EIGHT, len(EIGHT) + 2),
    "length too short": lambda asked: framed(asked, EIGHT, 3),
    "length of nothing": lambda asked: framed(asked, EIGHT, 0),
    "length of one": lambda asked: framed(asked, EIGHT, 1),
    "count too long": lambda asked: framed(asked, b"\x03\xff" + b"\x11" * 8),
    "count too short": lambda asked: framed(asked, b"\x03\x02" + b"\x11" * 8),
    "count odd": lambda asked: framed(asked, b"\x03\x07" + b"\x11" * 7),
    "another protocol": lambda asked: framed(asked, EIGHT, protocol=1),
    "another transaction": lambda asked: framed(b"\xfe\xdc" + asked[2:], EIGHT),
    "another unit": lambda asked: framed(asked[:6] + b"\xfe" + asked[7:], EIGHT),
    "unknown function": lambda asked: framed(asked, b"\x7a" + b"\x11" * 8),
    "file record": lambda asked: framed(asked, b"\x14\xff" + b"\xff" * 255),
    "half a frame": lambda asked: framed(asked, EIGHT)[:9],
    "short head": lambda asked: asked[:5],
    "a megabyte": lambda asked: framed(asked, b"\x03" + b"\xff" * 1_000_000, 65_535),
    "frames of zeros": lambda _: b"\0" * 200_000,
    "exceptions": lambda asked: framed(asked, b"\x83\x0b") * 10_000,
}


@contextlib.asynccontextmanager
async def engine(name: str, forbidden_port: int = 1) -> AsyncIterator[int]:
    """Play an inference server that answers in one of these ways; yield its port."""
    writes = ENGINES[name](forbidden_port)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await writes(writer)

    async with _serving(answer) as port:
        yield port


@contextlib.asynccontextmanager
async def gateway(answers: Answers, *, fragment: bool = False) -> AsyncIterator[int]:
    """Play a gateway that answers each request so, whole or byte by byte; yield its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            said = answers(await reader.readexactly(_REQUEST_BYTES))
            for part in [said[at : at + 1] for at in range(len(said))] if fragment else [said]:
                writer.write(part)
                await writer.drain()
                if fragment:
                    await asyncio.sleep(0.001)

    async with _serving(answer) as port:
        yield port


@contextlib.asynccontextmanager
async def listener() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Listen where nobody may come; yield the port, and what came."""
    came: list[bytes] = []

    async def note(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        came.append(await reader.read(1000))

    async with _serving(note) as port:
        yield port, came


@contextlib.asynccontextmanager
async def _serving(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]],
) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def safe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(safe(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
