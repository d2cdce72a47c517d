"""What a profile says: functions by their own CPU time, per sample."""

import pstats
import re
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.figures import MICRO

_ROWS: Final = 20
_PACKAGES: Final = re.compile(r".*/(?:site-packages|python3\.\d+|collector|agent)/(.*)")


class Row(NamedTuple):
    """One function: its own time and that with all it calls, in microseconds per sample."""

    function: str
    calls_per_sample: float
    own_us: float
    whole_us: float


class Profiled(NamedTuple):
    """The functions that a consumer spent most in, with the profiler's own overhead."""

    consumer: str
    total_us: float
    rows: list[Row]


def read(consumer: str, path: Path, samples: int) -> Profiled:
    """Read what cProfile left."""
    stats = pstats.Stats(str(path))
    rows = []
    # The values are (primitive calls, calls, own seconds, whole seconds, callers).
    for (file, _, name), (_, calls, own, whole, _) in stats.stats.items():  # type: ignore[attr-defined] # there since 2.x
        found = _PACKAGES.match(file)
        where = found[1] if found else ""
        rows.append(
            Row(
                f"{where}:{name}" if where else name,
                calls / samples,
                own / samples * MICRO,
                whole / samples * MICRO,
            )
        )
    rows.sort(key=lambda row: row.own_us, reverse=True)
    return Profiled(consumer, sum(row.own_us for row in rows), rows[:_ROWS])
