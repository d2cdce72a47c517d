"""The targets of fuzzing: each takes bytes, and raises only where something is broken."""

from collections.abc import Callable
from typing import Final

from tests.fuzz.lines import lines
from tests.fuzz.messages import Intaking, frames, wire_bytes
from tests.fuzz.sources import Gateways, Pages

Target = Callable[[bytes], None]


def _plain(function: Target) -> Callable[[], Target]:
    return lambda: function


# Each is made once in its process.
TARGETS: Final[dict[str, Callable[[], Target]]] = {
    "wire": _plain(wire_bytes),
    "frames": _plain(frames),
    "intake": Intaking,
    "lines": _plain(lines),
    "page": Pages,
    "modbus": Gateways,
}
