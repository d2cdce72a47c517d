"""The demo's table in the terminal: one line per interval, in place on a terminal."""

import shutil
import sys
from collections import deque
from datetime import datetime
from typing import Final, TextIO

from meterhouse_collector.kpi.value import KpiValue
from meterhouse_collector.live import Snapshot
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.web.figures import power_of, tokens_of

_ROWS: Final = 10
_NONE: Final = "—"
# Together with what stands between them: 80 columns.
_WIDTHS: Final = (8, 5, 22, 12, 6, 8, 7)
_TITLES: Final = ("time", "iPUE", "idle capacity", "EUR/M output", "IT kW", "tokens/s", "covered")
_UP: Final = "\x1b[{}A\x1b[J"


class Table:
    """Prints rows; on a terminal the last few are redrawn in place."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._in_place = self._out.isatty()
        self._rows: deque[str] = deque(maxlen=_ROWS)
        self._drawn = 0

    def say(self, text: str) -> None:
        """Print a line above the table."""
        print(text, file=self._out, flush=True)

    def note(self, text: str) -> None:
        """Print a line between the rows; on a terminal they begin anew below it."""
        if not self._in_place:
            self.say(text)
            return
        self._redraw([])
        self._rows.clear()
        self.say(text[: shutil.get_terminal_size().columns])

    def row(self, snapshot: Snapshot, last: Sums) -> None:
        """Add the KPIs of a window, with power and tokens of its last interval."""
        text, reason = row(snapshot, last), _reason(snapshot)
        if self._in_place:
            self._rows.append(text)
            self._redraw([heading(), *self._rows, reason])
            return
        if self._drawn == 0:
            self._drawn = 1
            self.say(heading())
        self.say(f"{text}  {reason}".rstrip())

    def _redraw(self, lines: list[str]) -> None:
        # A line that the terminal breaks would count as two.
        width = shutil.get_terminal_size().columns
        up = _UP.format(self._drawn) if self._drawn else ""
        self._out.write(up + "".join(f"{line[:width]}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)


def heading() -> str:
    """Return the titles of the columns."""
    return _line(_TITLES)


def row(snapshot: Snapshot, last: Sums) -> str:
    """Return one row of the table."""
    kpis = snapshot.kpis
    pue, idle = kpis["pue"], kpis["idle_capacity_ratio"]
    cost = kpis["cost_per_million_output_tokens"]
    power, tokens = power_of(last), tokens_of(last)
    cells = (
        datetime.fromtimestamp(snapshot.end_seconds).astimezone().strftime("%H:%M:%S"),
        _number(pue.value, ".3f"),
        _idle(idle),
        _number(cost.value, ".3f"),
        _number(None if power.it_watts is None else power.it_watts / 1000, ".2f"),
        _number(tokens.output_per_second, ".0f"),
        f"{min(pue.coverage, idle.coverage, cost.coverage):.1%}",
    )
    return _line(cells)


def _reason(snapshot: Snapshot) -> str:
    missing = [kpi for kpi in snapshot.kpis.values() if kpi.value is None]
    return f"{missing[0].name}: {missing[0].reason}" if missing else ""


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(text.rjust(width) for text, width in zip(cells, _WIDTHS, strict=True))


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _idle(kpi: KpiValue) -> str:
    text = _number(kpi.value, ".1%")
    if kpi.low is None or kpi.high is None:
        return text
    return f"{text} ({kpi.low:.1%} to {kpi.high:.1%})"
