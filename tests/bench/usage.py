"""What processes cost: CPU time and memory, from the kernel's own books."""

import time
from pathlib import Path
from typing import NamedTuple

_KIBIBYTE = 1024


class Usage(NamedTuple):
    """CPU seconds used so far, user and system together, and the proportional set size now."""

    cpu_seconds: float
    pss_bytes: int


def tree(pid: int) -> list[int]:
    """Return a process and all that descend from it and live."""
    found = [pid]
    for current in found:
        for children in Path(f"/proc/{current}/task").glob("*/children"):
            found += [int(child) for child in _text(children).split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Return user and system time of a process, all threads, ended ones too.

    It is what ``/proc/PID/stat`` counts, in nanoseconds: there a tick is 10 ms.
    """
    # clock_getcpuclockid(3), which Python does not offer, by the kernel's encoding of it.
    return time.clock_gettime((~pid << 3) | 2)


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process: shared pages count by their share."""
    for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * _KIBIBYTE
    return 0


def of_tree(pid: int) -> Usage:
    """Return the usage of a process and its living descendants."""
    processes = tree(pid)
    return Usage(sum(map(cpu_seconds, processes)), sum(map(pss_bytes, processes)))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return ""
