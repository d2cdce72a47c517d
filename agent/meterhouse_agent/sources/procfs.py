"""What the kernel's text files say: pure functions from text to SI units.

Each returns ``None`` for text that is not of its format: a reading that was not made.
"""

from typing import Final, NamedTuple

BYTES_PER_KIB: Final = 1024
# user, nice, system, idle, iowait, irq, softirq, steal; the guest times after them are in user
# and nice already.
_CPU_FIELDS: Final = 8
_IDLE: Final = 3
_IOWAIT: Final = 4
# Sensors that are not connected report extremes; no part that still works is outside of this.
_COLDEST_CELSIUS: Final = -50.0
_HOTTEST_CELSIUS: Final = 150.0
_MAX_MICROJOULES: Final = 2**64


class CpuSeconds(NamedTuple):
    """CPU time since boot over all CPUs, in seconds; total is busy, idle and waiting."""

    busy: float
    total: float


def cpu_seconds(stat: str, ticks_per_second: int) -> CpuSeconds | None:
    """Read busy and total CPU time from the first line of ``/proc/stat``."""
    words = stat.partition("\n")[0].split()
    ticks = [int(word) for word in words[1 : _CPU_FIELDS + 1] if word.isdecimal()]
    if words[:1] != ["cpu"] or len(ticks) != _CPU_FIELDS:
        return None
    total = sum(ticks)
    busy = total - ticks[_IDLE] - ticks[_IOWAIT]
    return CpuSeconds(busy / ticks_per_second, total / ticks_per_second)


def memory_used_bytes(meminfo: str) -> float | None:
    """Read total less available memory from ``/proc/meminfo``, in bytes."""
    kibibytes = {}
    for line in meminfo.splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdecimal() and words[2] == "kB":  # noqa: PLR2004 - name, number, unit
            kibibytes[words[0]] = int(words[1])
    total, available = kibibytes.get("MemTotal:"), kibibytes.get("MemAvailable:")
    if total is None or available is None or available > total:
        return None
    return float((total - available) * BYTES_PER_KIB)


def microjoules(text: str) -> int | None:
    """Read a powercap energy file, in microjoules."""
    word = text.strip()
    if not word.isdecimal():
        return None
    value = int(word)
    return value if value < _MAX_MICROJOULES else None


def temperature_celsius(text: str) -> float | None:
    """Read an hwmon temperature file, thousandths of a degree, in degrees Celsius."""
    word = text.strip()
    if not word.removeprefix("-").isdecimal():
        return None
    celsius = int(word) / 1000.0
    return celsius if _COLDEST_CELSIUS < celsius < _HOTTEST_CELSIUS else None
