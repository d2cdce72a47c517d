"""A node's rows and spans summed over a quarter. Pure; the rules are those of ``quarter``."""

from collections.abc import Mapping, Sequence
from operator import add
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.rollup.exact import Sum
from meterhouse_collector.rollup.promised import node_down
from meterhouse_collector.rollup.roll_up import pick_row
from meterhouse_collector.rollup.spans import Covered, Spread, spread, without
from meterhouse_collector.rollup.worst import worst_method
from meterhouse_collector.rows import (
    NOBODY,
    NodeRow,
    ReasonMilliseconds,
    Share,
    StateJoules,
    StateMilliseconds,
)
from meterhouse_collector.site.devices import UNREGISTERED

QUANTITIES: Final = frozenset({"energy_joules", "cpu_energy_joules"})
_UNHEALTHY: Final = wire.STATES.index("unhealthy")
_UNKNOWN: Final = wire.STATES.index("unknown")

DeviceShares = Mapping[str, tuple[str, str]]


class _Shares:
    """The sums of the devices with one model, holder and quality."""

    __slots__ = ("joules", "method", "milliseconds", "reasons")

    def __init__(self) -> None:
        self.milliseconds = [0] * len(wire.STATES)
        self.reasons: list[int] | None = None
        self.joules: dict[int, Sum] = {}
        self.method: wire.Method | None = None

    def add(self, share: Share) -> None:
        for place, milliseconds in enumerate(share.milliseconds):
            self.milliseconds[place] += milliseconds
        if share.unhealthy_milliseconds is not None:
            known = self.reasons or [0] * len(wire.UNHEALTHY_REASONS)
            self.reasons = list(map(add, known, share.unhealthy_milliseconds))
        carries = False
        for place, joules in enumerate(share.joules):
            if joules is not None:
                carries = True
                self.add_joules(place, joules)
        if carries:
            self.method = worst_method(self.method, share.energy_method)

    def add_joules(self, place: int, joules: float) -> None:
        self.joules.setdefault(place, Sum()).add(joules)


class NodeQuarter:
    """A node's rows of one quarter as they come, interval by interval in ascending order.

    Devices whose energy was missing in an interval stay apart from the same devices where it was
    not, so that the time without a meter is no longer than it was.
    """

    __slots__ = (
        "_begins", "_covered", "_cpu", "_down", "_energy", "_length", "_method", "_present",
        "_shares", "_unclear",
    )  # fmt: skip

    def __init__(self, start_seconds: int, length_seconds: int = wire.QUARTER_SECONDS) -> None:
        self._begins = start_seconds * 1000
        self._length = length_seconds * 1000
        self._shares: dict[tuple[str, str, wire.Quality], _Shares] = {}
        self._energy, self._cpu = Sum(), Sum()
        self._method: wire.Method | None = None
        self._down = self._unclear = 0
        self._present = Covered()
        self._covered = {"host": Covered(), "energy": Covered(), "cpu": Covered()}
        self._covered["devices"] = Covered()

    def add(self, start_seconds: int, rows: Mapping[str, NodeRow]) -> None:
        """Take the rows of one interval by reader."""
        row = pick_row(rows)
        begins, length = start_seconds * 1000, row.length_milliseconds
        host = row.host_covered_milliseconds
        self._present.add(begins, length, length)
        down, unclear = node_down(row, length)
        self._down += int(down)
        self._unclear += int(unclear)
        unmetered = 0
        for share in row.shares:
            key = (share.accelerator_model, share.holder, share.energy_quality)
            self._shares.setdefault(key, _Shares()).add(share)
            unmetered += share.milliseconds[_UNKNOWN]
            if share.energy_quality == "missing":
                # One that is lost is known to be so, but shows no energy either.
                unmetered += share.milliseconds[_UNHEALTHY]
        if row.shares and unmetered < length:
            # No device can have been without a reading all the while.
            self._covered["devices"].add(begins, length, length)
        self._covered["host"].add(begins, length, host)
        if row.energy_joules is not None:
            self._energy.add(row.energy_joules)
            self._method = worst_method(self._method, row.energy_method)
            self._covered["energy"].add(begins, length, host)
        if row.cpu_energy_joules is not None:
            self._cpu.add(row.cpu_energy_joules)
            self._covered["cpu"].add(begins, length, host)

    def compress(self) -> None:
        """Hold the same sums in less memory."""
        for sums in (self._energy, self._cpu):
            sums.compress()
        for shares in self._shares.values():
            for joules in shares.joules.values():
                joules.compress()

    def row(self, spans: Sequence[wire.Span], devices: DeviceShares) -> NodeRow | None:
        """Return the quarter's row, the last thing that is asked; None where there is nothing."""
        within = (self._begins, self._begins + self._length)
        mine = [span for span in spans if span.quantity in QUANTITIES]
        pieces = spread(mine, self._rows_over, within)
        known = self._covered["energy" if self._energy.value is not None else "host"]
        covered, spanned = known.milliseconds, 0
        for part in pieces:
            if part.span.quantity == "cpu_energy_joules":
                self._cpu.add(part.amount)
            elif part.span.device is None:
                if self._energy.value is None:
                    covered = 0
                self._energy.add(part.amount)
                self._method = worst_method(self._method, part.span.method)
                covered += self._covered["energy"].gained(part.pieces)
            else:
                spanned += part.milliseconds
                self._add_device(part, devices)
        if not (self._present.milliseconds or pieces):
            return None
        return NodeRow(
            length_milliseconds=self._length,
            shares=tuple(_share(key, sums) for key, sums in sorted(self._shares.items(), key=_key)),
            host_covered_milliseconds=min(covered, self._length),
            energy_joules=self._energy.value,
            energy_method=self._method or "counter",
            cpu_energy_joules=self._cpu.value,
            spanned_milliseconds=spanned,
            down_milliseconds=self._down,
            unclear_milliseconds=self._unclear + max(0, self._length - self._present.milliseconds),
        )

    def _rows_over(self, span: wire.Span) -> Covered | None:
        if span.quantity == "cpu_energy_joules":
            return self._covered["cpu"]
        return self._covered["energy" if span.device is None else "devices"]

    def _add_device(self, part: Spread, devices: DeviceShares) -> None:
        """Add a device's energy of unknown state, with the time that no row accounts for."""
        model, holder = devices.get(part.span.device or "", (NOBODY, UNREGISTERED))
        present = list(self._present.inside((self._begins, self._begins + self._length)))
        absent = sum(e - b for piece in part.pieces for b, e in without(piece, present))
        key: tuple[str, str, wire.Quality] = (model, holder, "ok")
        if absent == 0 and key not in self._shares:
            # Energy without time has no place in the rollup.
            lacking: tuple[str, str, wire.Quality] = (model, holder, "missing")
            key = lacking if lacking in self._shares else key
        sums = self._shares.setdefault(key, _Shares())
        sums.milliseconds[_UNKNOWN] += absent
        sums.add_joules(_UNKNOWN, part.amount)
        sums.method = worst_method(sums.method, part.span.method)


def _key(entry: tuple[tuple[str, str, wire.Quality], _Shares]) -> tuple[str, str, wire.Quality]:
    return entry[0]


def _share(key: tuple[str, str, wire.Quality], sums: _Shares) -> Share:
    milliseconds: StateMilliseconds
    joules: StateJoules
    milliseconds = tuple(sums.milliseconds)  # type: ignore[assignment] # one for each state
    values = (sums.joules.get(place) for place in range(len(wire.STATES)))
    joules = tuple(None if one is None else one.value for one in values)  # type: ignore[assignment] # the same
    model, holder, quality = key
    reasons: ReasonMilliseconds | None
    reasons = None if sums.reasons is None else tuple(sums.reasons)  # type: ignore[assignment] # one for each reason
    return Share(model, holder, milliseconds, joules, sums.method or "counter", quality, reasons)
