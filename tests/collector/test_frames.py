"""Packets read from a stream that is cut anywhere: all are handed on, whole and in order."""

import asyncio
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.receive.frames import Frames, publish_at_0

PINGRESP = b"\xd0\x00"


class Inner(asyncio.Protocol):
    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.lost: list[Exception | None] = []

    def data_received(self, data: bytes) -> None:
        self.given.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Transport(asyncio.WriteTransport):
    closed = False

    def close(self) -> None:
        self.closed = True


class Read:
    def __init__(self) -> None:
        self.inner, self.transport = Inner(), Transport()
        self.messages: list[tuple[str, bytes]] = []
        self.frames = Frames(self.inner, self.transport, lambda *one: self.messages.append(one))


def publish(topic: str, payload: bytes, first: int = 0x30) -> bytes:
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + payload
    size, length = len(body), b""
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | 0x80 if size else digit])
        if not size:
            return bytes([first]) + length + body


MESSAGES = st.lists(
    st.tuples(
        st.text(alphabet="abc/-09é", min_size=1, max_size=20),
        st.binary(max_size=10) | st.sampled_from([b"x" * 126, b"y" * 20_000]),
        st.sampled_from([0x30, 0x31, 0x38, 0x32, 0x35, 0xD0]),
    ),
    max_size=8,
)


@given(MESSAGES, st.lists(st.integers(1, 30_000), max_size=12))
def test_a_stream_cut_anywhere_gives_the_same_messages(
    messages: list[tuple[str, bytes, int]], cuts: list[int]
) -> None:
    read = Read()
    direct, others, stream = [], [], b""
    for topic, payload, first in messages:
        packet = PINGRESP if first == 0xD0 else publish(topic, payload, first)
        stream += packet
        # At QoS 0, whether retained or sent again.
        if first in {0x30, 0x31, 0x38}:
            direct.append((topic, payload))
        else:
            others.append(packet)
    for cut in cuts:
        read.frames.data_received(stream[:cut])
        stream = stream[cut:]
    for place in range(0, len(stream), 7_001):
        read.frames.data_received(stream[place : place + 7_001])
    assert read.messages == direct
    assert read.inner.given == others
    assert not read.transport.closed


@given(
    topic=st.text(alphabet="abc/-09é", min_size=1, max_size=400),
    size=st.sampled_from([0, 1, 100, 120, 127, 128, 16_000, 16_383, 16_384, 2_097_152]),
)
def test_a_message_is_written_as_it_is_read(topic: str, size: int) -> None:
    payload = b"p" * size
    assert publish_at_0(topic, payload) == publish(topic, payload)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"\x30\xff\xff\xff\xff\x01", id="length of five bytes"),
        pytest.param(b"\x30\x04\x00\x03ab", id="topic longer than its packet"),
        pytest.param(b"\x30\x01\x00", id="no room for a topic"),
        pytest.param(b"\x30\x00", id="empty"),
    ],
)
def test_what_is_no_mqtt_closes_the_connection(bad: bytes) -> None:
    read = Read()
    read.frames.data_received(publish("a", b"before"))
    read.frames.data_received(bad)
    assert read.transport.closed
    assert read.messages == [("a", b"before")]


def test_the_library_is_told_of_the_end() -> None:
    read = Read()
    trouble = ConnectionResetError()
    read.frames.connection_lost(trouble)
    assert read.inner.lost == [trouble]
