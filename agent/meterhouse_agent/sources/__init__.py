"""What a source is, and the table of those there are.

A source only reads: it makes no deltas, keeps no history and does not log each failed round. The
loop around it times it, bounds it with a deadline, scores it, and logs its loss and recovery once.
A source module has a ``Config`` (its section of the config file) and a function ``create``.
"""

import importlib
from collections.abc import Mapping
from typing import Final, Protocol, cast, runtime_checkable

from meterhouse_agent.samples import Readings, Things
from meterhouse_agent.settings import SourceConfig

SOURCES: Final[Mapping[str, str]] = {
    "host": "meterhouse_agent.sources.host",
    "modbus": "meterhouse_agent.sources.modbus",
    "nvml": "meterhouse_agent.sources.nvml",
    "prometheus_engine": "meterhouse_agent.sources.prometheus_engine",
    "simulated": "meterhouse_agent.sources.simulated",
}


class SourceError(Exception):
    """A round that failed: the text says what was tried, on what, and what to do next."""


class SourceAbsentError(SourceError):
    """What the source reads is not on this node: no failure, looked for again from time to time."""


class SourceUnresponsiveError(SourceError):
    """What the source reads hangs: it is left alone, not tried in a tight loop."""


class Source(Protocol):
    """Reads things at one instant.

    ``replayable`` says that any past tick can be read exactly, so missed ones are caught up.
    """

    replayable: bool

    async def open(self) -> None:
        """Connect or load; raise ``SourceAbsentError`` or ``SourceError``."""

    def things(self) -> Things:
        """Tell what there is to measure; it only grows while the source is open."""

    async def read(self, at_milliseconds: int) -> Readings:
        """Read everything once, for the tick at this time.

        Samples carry the time of their own reading; only a source that knows its values at any
        time gives the tick's. What fails is left out, and the rest still returned; raise
        ``SourceError`` when nothing could be read.
        """

    async def close(self) -> None:
        """Let go of everything; also after a failed ``open``."""


@runtime_checkable
class LeavingSource(Source, Protocol):
    """A source that can be asked without being waited for."""

    def leave(self, at_milliseconds: int) -> bool:
        """Have everything read for the tick, for the next ``read`` to bring it as well.

        Tell whether that could be done; if not, the tick is to be read.
        """


class SourceModule(Protocol):
    """What the table leads to."""

    Config: type[SourceConfig]

    def create(self, config: SourceConfig, *, node: str) -> Source:
        """Return the source of one config section on one node, not yet open."""


def load(kind: str) -> SourceModule:
    """Import the module of one kind of source; only the kinds in use cost memory."""
    return cast("SourceModule", importlib.import_module(SOURCES[kind]))
