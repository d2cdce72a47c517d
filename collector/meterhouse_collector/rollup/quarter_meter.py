"""A meter's rows and spans summed over a quarter. Pure; the rules are those of ``quarter``."""

from collections.abc import Mapping, Sequence
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup.exact import Mean, Sum
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.site_energy import MEASURED
from meterhouse_collector.rollup.spans import Covered, Spread, spread
from meterhouse_collector.rollup.worst import worst_method, worst_quality
from meterhouse_collector.rows import MeterRow

QUANTITIES: Final = frozenset({"energy_joules", "volume_litres"})


class _Carried:
    """What some of a meter's rows count, with the worst method and quality among them."""

    __slots__ = ("energy", "method", "quality", "volume")

    def __init__(self) -> None:
        self.energy, self.volume = Sum(), Sum()
        self.method: wire.Method | None = None
        self.quality: wire.Quality | None = None

    def add(self, row: MeterRow) -> None:
        self.energy.add(row.energy_joules)
        self.volume.add(row.volume_litres)
        self.method = worst_method(self.method, row.energy_method)
        self.quality = worst_quality(self.quality, row.quality)

    def add_span(self, part: Spread) -> None:
        sums = self.energy if part.span.quantity == "energy_joules" else self.volume
        sums.add(part.amount)
        self.method = worst_method(self.method, part.span.method)
        self.quality = worst_quality(self.quality, "ok")

    @property
    def empty(self) -> bool:
        return self.energy.value is None and self.volume.value is None


class MeterQuarter:
    """A meter's rows of one quarter as they come, interval by interval in ascending order."""

    __slots__ = ("_begins", "_carried", "_covered", "_length", "_loose", "_max", "_power", "_rows")

    def __init__(self, start_seconds: int, length_seconds: int = wire.QUARTER_SECONDS) -> None:
        self._begins = start_seconds * 1000
        self._length = length_seconds * 1000
        self._carried, self._loose = _Carried(), _Carried()
        self._covered = Covered()
        self._power = Mean()
        self._max: float | None = None
        self._rows = False

    def add(self, start_seconds: int, rows: Mapping[str, MeterRow]) -> None:
        """Take the rows of one interval by reader."""
        row = pick_row(rows)
        self._rows = True
        counts = row.energy_joules is not None or row.volume_litres is not None
        if counts and row.quality in MEASURED:
            self._carried.add(row)
            covered = row.covered_milliseconds
            self._covered.add(start_seconds * 1000, row.length_milliseconds, covered)
        else:
            self._loose.add(row)
        self._power.add(row.power_watts, row.covered_milliseconds)
        if row.power_watts_max is not None:
            peak = row.power_watts_max
            self._max = peak if self._max is None else max(self._max, peak)

    def compress(self) -> None:
        """Hold the same sums in less memory."""
        for carried in (self._carried, self._loose):
            carried.energy.compress()
            carried.volume.compress()
        self._power.compress()

    def row(self, spans: Sequence[wire.Span]) -> MeterRow | None:
        """Return the quarter's row, the last thing that is asked; None where there is nothing."""
        within = (self._begins, self._begins + self._length)
        mine = [span for span in spans if span.quantity in QUANTITIES]
        covered = self._covered.milliseconds
        for part in spread(mine, lambda _: self._covered, within):
            self._carried.add_span(part)
            covered += self._covered.gained(part.pieces)
        if self._carried.empty and not self._rows:
            return None
        carried = self._loose if self._carried.empty else self._carried
        return MeterRow(
            length_milliseconds=self._length,
            covered_milliseconds=min(covered, self._length),
            energy_joules=carried.energy.value,
            volume_litres=carried.volume.value,
            energy_method=carried.method or "counter",
            quality=carried.quality or "missing",
            power_watts=self._power.value,
            power_watts_max=self._max,
        )
