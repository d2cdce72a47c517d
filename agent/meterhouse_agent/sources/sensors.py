"""Energy and temperature of the CPUs from sysfs, where a read may never return.

Drivers of hwmon ask the hardware while a file is read, and some wait for it without end, where no
thread can be stopped. So each round runs in a daemon thread of its own: one that hangs is left
behind with the device it hangs on, and the next round reads the others.
"""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meterhouse_agent.samples import Counter
from meterhouse_agent.sources.procfs import microjoules, temperature_celsius

LOOK_AGAIN_SECONDS: Final = 300.0
MAX_HUNG: Final = 4
# No CPU package draws more: what counts faster than this is a wrap that was missed.
PACKAGE_WATTS_MAX: Final = 1000.0
JOULES_PER_MICROJOULE: Final = 1e-6
# Only zones of the first level. intel-rapl-mmio shows package 0 a second time, and what stands
# below a package (core, uncore) is part of it.
_ZONE: Final = re.compile(r"intel-rapl:\d+")
_TEMPERATURE: Final = re.compile(r"temp\d+_input")
_CPU_SENSORS: Final = frozenset({"coretemp", "k10temp", "zenpower"})


def read_text(path: Path, size: int = 4096) -> str:
    """Return the beginning of a file; raise ``OSError``."""
    # Not open(): buffering and decoding by it cost more than the kernel takes for the content.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, size).decode("ascii", errors="replace")
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Zone:
    """One RAPL package: its domain's name, its file, and where its counter wraps."""

    domain: str
    energy: Path
    modulus_ticks: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to read."""

    zones: tuple[Zone, ...] = ()
    temperatures: tuple[Path, ...] = ()


@dataclass(slots=True)
class Round:
    """One round: filled by its thread, read by the loop, also while the thread hangs."""

    plan: Plan | None
    skip: frozenset[Path]
    energy: dict[str, Counter] = field(default_factory=dict)
    celsius: list[float] = field(default_factory=list)
    denied: Path | None = None
    reading: Path | None = None
    hangs_on: Path | None = None
    abandoned: bool = False


def find(sysfs: Path) -> Plan:
    """Look for RAPL packages and temperature sensors: those of the CPUs, or else all."""
    zones = []
    for folder in _folders(sysfs / "class" / "powercap"):
        if _ZONE.fullmatch(folder.name) is None:
            continue
        # psys holds the packages and more; only the packages are read.
        domain = _text(folder / "name")
        if domain is None or not domain.startswith("package"):
            continue
        largest = microjoules(_text(folder / "max_energy_range_uj") or "")
        modulus = None if largest is None or largest == 0 else largest + 1
        zones.append(Zone(domain, folder / "energy_uj", modulus))
    of_cpus: list[Path] = []
    others: list[Path] = []
    for folder in _folders(sysfs / "class" / "hwmon"):
        inputs = [path for path in _folders(folder) if _TEMPERATURE.fullmatch(path.name)]
        (of_cpus if _text(folder / "name") in _CPU_SENSORS else others).extend(inputs)
    return Plan(tuple(zones), tuple(of_cpus or others))


def _folders(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(folder.iterdir())


def _text(path: Path) -> str | None:
    try:
        return read_text(path).strip()
    except OSError:
        return None


class Sensors:
    """The sensors below one sysfs; ``epoch`` names the boot their counters count from."""

    def __init__(self, sysfs: Path, epoch: str) -> None:
        self._sysfs = sysfs
        self._epoch = epoch
        self._plan: Plan | None = None
        self._looked = 0.0
        self._hung: dict[Path, threading.Thread] = {}

    async def read(self, seconds: float) -> Round:
        """Read all that answers within this many seconds."""
        self._hung = {path: thread for path, thread in self._hung.items() if thread.is_alive()}
        if time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
            self._plan = None
        work = Round(self._plan, frozenset(self._hung))
        if self._plan == Plan() or self._sysfs in self._hung or len(self._hung) >= MAX_HUNG:
            return work
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def tell() -> None:
            # The loop may be gone when a thread that hung comes back.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(
            target=self._run, args=(work, tell), name="host-sensors", daemon=True
        )
        thread.start()
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            work.hangs_on = work.reading
        finally:
            if not done.is_set():
                work.abandoned = True
                self._hung[self._sysfs if work.reading is None else work.reading.parent] = thread
        if work.plan is not self._plan:
            self._plan, self._looked = work.plan, time.monotonic()
        return work

    def _run(self, work: Round, tell: Callable[[], None]) -> None:
        try:
            if work.plan is None:
                work.plan = find(self._sysfs)
            self._fill(work, work.plan)
        finally:
            tell()

    def _fill(self, work: Round, plan: Plan) -> None:
        for zone in plan.zones:
            value = self._value(work, zone.energy, microjoules)
            # A virtual machine may show a counter that nobody drives: it stands at zero.
            if value is not None and value != 0:
                work.energy[zone.domain] = Counter(
                    ticks=int(value),
                    unit=JOULES_PER_MICROJOULE,
                    epoch=self._epoch,
                    modulus_ticks=zone.modulus_ticks,
                    rate_max=PACKAGE_WATTS_MAX,
                )
        for path in plan.temperatures:
            celsius = self._value(work, path, temperature_celsius)
            if celsius is not None:
                work.celsius.append(celsius)

    @staticmethod
    def _value(work: Round, path: Path, parse: Callable[[str], float | None]) -> float | None:
        if work.abandoned or path.parent in work.skip:
            return None
        work.reading = path
        try:
            return parse(read_text(path))
        except PermissionError:
            work.denied = path
            return None
        except OSError:
            # No data, busy, an I/O error, gone: of this reading, not of the others.
            return None
