"""MQTT packets out of a stream of bytes: as much of the protocol as a proxy must know. Pure."""

from typing import Final

_PUBLISH: Final = 0x30
_TYPE: Final = 0xF0
_DUPLICATE: Final = 0x08
_QOS: Final = 0x06
_MORE: Final = 0x80
_LENGTH_BYTES: Final = 4


class Packets:
    """Gathers bytes until packets are whole."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the packets that are whole now, in order."""
        rest = self._rest + data
        packets = []
        while (size := _size(rest)) is not None and len(rest) >= size:
            packets.append(rest[:size])
            rest = rest[size:]
        self._rest = rest
        return packets


def _size(data: bytes) -> int | None:
    """Return the size of the packet that begins here, None while that is not known."""
    length = 0
    for position in range(_LENGTH_BYTES):
        if len(data) < position + 2:
            return None
        byte = data[position + 1]
        length |= (byte & ~_MORE) << (7 * position)
        if not byte & _MORE:
            return position + 2 + length
    raise ValueError("not MQTT: the length of a packet has no end")


def is_publish(packet: bytes) -> bool:
    """Tell whether a packet is a PUBLISH."""
    return packet[0] & _TYPE == _PUBLISH


def again(packet: bytes) -> bytes:
    """Return a PUBLISH as it is sent again; the mark for that is allowed from QoS 1 on."""
    if not packet[0] & _QOS:
        return packet
    return bytes([packet[0] | _DUPLICATE]) + packet[1:]
