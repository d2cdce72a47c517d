"""MQTT 3.1.1 without detours: messages at QoS 0 go between the socket and those whom they are for.

For each of them an MQTT library makes objects, asks clocks and wakes a task, which cost more than
what the collector does with the message. All other packets still go to the library.
"""

import asyncio
from collections.abc import Callable
from typing import Final

_PUBLISH_AT_0: Final = 0x30
# Of the first byte: the kind and the QoS, not whether it is retained or sent again.
_KIND_AND_QOS: Final = 0xF6
_MORE: Final = 0x80
_BASE: Final = 0x80
_LENGTH_BYTES_MAX: Final = 4


class FrameError(ValueError):
    """Bytes that are no MQTT packets."""


class Frames(asyncio.Protocol):
    """Takes a connection over from the protocol that has logged in, and hands it what is not ours.

    ``deliver`` is given the topic and the payload of each message at QoS 0.
    """

    def __init__(
        self,
        inner: asyncio.Protocol,
        transport: asyncio.WriteTransport,
        deliver: Callable[[str, bytes], object],
    ) -> None:
        self._inner = inner
        self._transport = transport
        self._deliver = deliver
        # What came of a packet that is not whole yet, and from which length on it may be.
        self._parts: list[bytes] = []
        self._have = self._need = 0

    def data_received(self, data: bytes) -> None:
        """Take what came; a stream that cannot be read is closed."""
        if self._parts:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
        try:
            done = self._packets(data)
        except FrameError:
            self._transport.close()
            done = len(data)
        self._parts = [data[done:]] if done < len(data) else []
        self._have = len(data) - done

    def _packets(self, data: bytes) -> int:
        """Hand on every whole packet; return where the first that is not whole begins."""
        at, end, deliver = 0, len(data), self._deliver
        while end - at > 1:
            size, body = data[at + 1], at + 2
            if size & _MORE:
                # Most lengths have two bytes.
                if body < end and data[body] < _MORE:
                    size, body = size & ~_MORE | data[body] << 7, body + 1
                else:
                    size, body = _length(data, at)
                    if size < 0:
                        break
            stop = body + size
            if stop > end:
                self._need = stop - at
                return at
            if data[at] & _KIND_AND_QOS == _PUBLISH_AT_0:
                begin = body + 2
                cut = begin + (data[body] << 8 | data[body + 1]) if size > 1 else stop + 1
                if cut > stop:
                    raise FrameError("a topic is longer than its packet")
                deliver(data[begin:cut].decode(errors="replace"), data[cut:stop])
            else:
                self._inner.data_received(data[at:stop])
            at = stop
        self._need = 0
        return at

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the library."""
        self._inner.connection_lost(exc)

    def eof_received(self) -> bool | None:
        """Tell the library."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """Tell the library."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Tell the library."""
        self._inner.resume_writing()


def publish_at_0(topic: str, payload: bytes) -> bytes:
    """Return a message at QoS 0 as it goes over the wire."""
    name = topic.encode()
    size = 2 + len(name) + len(payload)
    digits = []
    while size >= _BASE:
        digits.append(size % _BASE | _MORE)
        size //= _BASE
    head = bytes((_PUBLISH_AT_0, *digits, size, *divmod(len(name), 256)))
    return b"%b%b%b" % (head, name, payload)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of a packet's body and where it begins; -1 where more must come first."""
    size = 0
    for place in range(_LENGTH_BYTES_MAX):
        position = at + 1 + place
        if position >= len(data):
            return -1, position
        size |= (data[position] & ~_MORE) << (7 * place)
        if not data[position] & _MORE:
            return size, position + 1
    raise FrameError("the length of a packet has more than four bytes")
