"""The node itself: CPU time, memory, the CPUs' energy and temperature, from /proc and /sys."""

import logging
import os
import time
from pathlib import Path
from typing import Final, cast

from pydantic import model_validator

from meterhouse_agent.samples import HostSample, Readings, Things
from meterhouse_agent.settings import SourceConfig
from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.procfs import cpu_seconds, memory_used_bytes
from meterhouse_agent.sources.sensors import Round, Sensors, read_text

_LOG: Final = logging.getLogger(__name__)
# What is left after it is for the loop to end the round in.
_SENSORS_SHARE: Final = 0.75
_STAT_BYTES: Final = 512


class Config(SourceConfig):
    """The host; the roots are for containers that see the host's files elsewhere."""

    procfs_root: Path = Path("/proc")
    sysfs_root: Path = Path("/sys")

    @model_validator(mode="after")
    def _roots(self) -> "Config":
        for root in (self.procfs_root, self.sysfs_root):
            if not root.is_absolute():
                raise ValueError(f"{root}: a root is an absolute path")
        if self.deadline <= 0.0:
            raise ValueError("deadline must be positive")
        return self


class HostSource:
    """The node on which the agent runs."""

    replayable = False

    def __init__(self, config: Config) -> None:
        self._config = config
        self._ticks_per_second = os.sysconf("SC_CLK_TCK")
        self._sensors: Sensors | None = None
        self._said: set[Path] = set()

    async def open(self) -> None:
        """Take the boot's name; raise ``SourceError`` where there is no procfs."""
        try:
            read_text(self._config.procfs_root / "stat", _STAT_BYTES)
        except OSError as error:
            raise self._error(error) from None
        self._sensors = Sensors(self._config.sysfs_root, self._boot_id())

    def things(self) -> Things:
        """Name nothing: the node is known already."""
        return Things()

    async def read(self, at_milliseconds: int) -> Readings:  # noqa: ARG002 - samples have their own time
        """Read everything once; what cannot be read is left out."""
        if self._sensors is None:
            raise SourceError("host: read before open")
        at = time.time_ns() // 1_000_000
        # On the loop: procfs waits for no hardware, and both reads took 33 microseconds, which is
        # less than handing them to a thread takes.
        failure: OSError | None = None
        cpu, memory = None, None
        try:
            stat = read_text(self._config.procfs_root / "stat", _STAT_BYTES)
            cpu = cpu_seconds(stat, self._ticks_per_second)
        except OSError as error:
            failure = error
        try:
            memory = memory_used_bytes(read_text(self._config.procfs_root / "meminfo"))
        except OSError as error:
            failure = error
        found = await self._sensors.read(self._config.deadline * _SENSORS_SHARE)
        self._say(found)
        if cpu is None and memory is None and not found.energy and not found.celsius:
            raise self._error(failure)
        return Readings(
            host=HostSample(
                at_milliseconds=at,
                cpu_energy_joules=dict(found.energy),
                cpu_busy_seconds=None if cpu is None else cpu.busy,
                cpu_total_seconds=None if cpu is None else cpu.total,
                memory_used_bytes=memory,
                temperature_celsius=max(found.celsius, default=None),
            )
        )

    async def close(self) -> None:
        """Hold nothing; a thread that hangs in a driver ends with the process."""
        self._sensors = None

    def _boot_id(self) -> str:
        try:
            return read_text(self._config.procfs_root / "sys/kernel/random/boot_id").strip()
        except OSError:
            return ""

    def _say(self, found: Round) -> None:
        """Give each hint once: a sensor that cannot be read today will not be tomorrow."""
        denied, hung = found.denied, found.hangs_on
        if denied is not None and denied not in self._said:
            self._said.add(denied)
            _LOG.warning(
                "host: %s is not readable (permission denied) and is left out; RAPL counters are "
                "for root since CVE-2020-8694: run the agent with CAP_DAC_READ_SEARCH, or let a "
                "udev rule make the file readable to its group",
                denied,
            )
        if hung is not None and hung not in self._said:
            self._said.add(hung)
            _LOG.warning("host: reading %s hangs; it is left out until it returns", hung)

    def _error(self, error: OSError | None) -> SourceError:
        reason = "nothing in it is of the kernel's format" if error is None else error.strerror
        return SourceError(
            f"host: read stat and meminfo below {self._config.procfs_root}: {reason}; check "
            "procfs_root"
        )


def create(config: SourceConfig, *, node: str) -> HostSource:  # noqa: ARG001 - there is one host
    """Return the source of the node itself, not yet open."""
    return HostSource(cast("Config", config))
