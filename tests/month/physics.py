"""What a scenario's fleet did in a quarter hour, as a ledger can know it: from closed forms alone.

The rule where a fault hides something ("Equal to the truth" of the design): the seconds that
nobody measured are ``unknown``; the energy and the tokens of a gap are those of the counter, last
reading to first reading, spread evenly over the gap, and of unknown state; who comes back without
knowing where its counters stood has lost what was counted. Then a node is taken to have drawn, for
as long as it was silent, the power of the last of four quarters before of which any is known, else
its own of the rest of the quarter; and that is of unknown state too.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from meterhouse_agent.simulation.device import DeviceModel
from meterhouse_agent.simulation.engine import EngineCounts
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.wire import STATES
from tests.month.scenario import (
    DEVICES,
    ENGINE_DEVICES,
    QUARTER,
    SHARED_NODE,
    SHARED_PARTS,
    Scenario,
    served_by,
)

Stretch = tuple[int, int]
Reading = Callable[[int], int]
# What an engine holds of a node, and the rest of it.
ENGINE, REST = "engine", "rest"
FILLED_QUARTERS: Final = 4
# After a fault of a device or meter the first reading is that of the next second.
_NEXT_READING: Final = 1
_THOUSAND: Final = Decimal(1000)
TOKENS: Final = ("input_tokens", "cached_input_tokens", "output_tokens", "requests_succeeded")


class NodeQuarter(NamedTuple):
    """A node: milliseconds and drawn joules by part and state."""

    milliseconds: dict[tuple[str, str], int]
    drawn: dict[tuple[str, str], Decimal]


class EngineQuarter(NamedTuple):
    """An engine: what it counted of each served model, and which part of the quarter it covers."""

    counted: dict[str, dict[str, int]]
    covered: Decimal


class Quarter(NamedTuple):
    """The whole site; meters in joules, water in litres."""

    start: int
    nodes: dict[str, NodeQuarter]
    engines: dict[str, EngineQuarter]
    utility: Decimal
    it: Decimal
    water: Decimal


class Physics:
    """The quarters of a scenario, in order."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._faults = scenario.faults()
        self._model = FleetModel(scenario.spec(faulty=True))
        self._watts: dict[str, list[Decimal | None]] = defaultdict(list)

    def quarters(self) -> Iterator[Quarter]:
        """Yield each quarter of the window."""
        for start in range(self._scenario.begins, self._scenario.ends, QUARTER):
            within = (start, start + QUARTER)
            there = [n for n in self._scenario.names if self._scenario.registered(n, start)]
            nodes = {node: self._node(node, within) for node in there}
            served = {n: self._engine(n, within) for n in there if self._scenario.has_engine(n)}
            yield Quarter(
                start,
                nodes,
                {node: found for node, found in served.items() if found.covered > 0},
                utility=self._spread(self._utility, within, [self._gap(self._faults.meter_silent)]),
                it=self._register("it-pdu", within),
                water=self._register("water", within) / _THOUSAND,
            )

    def _node(self, node: str, within: Stretch) -> NodeQuarter:
        hidden = self._hidden(node)
        seen = list(_outside(within, hidden))
        milliseconds: dict[tuple[str, str], int] = defaultdict(int)
        joules: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        unseen = QUARTER - sum(e - b for b, e in seen)
        for place, clock in enumerate(self._model.clocks(node)):
            part = self._part(node, place)
            milliseconds[part, "unknown"] += unseen * 1000
            lost = self._lost(node, clock.device.device)
            for begins, ends in seen:
                times, _ = clock.amounts(begins * 1000, ends * 1000)
                for state in STATES:
                    milliseconds[part, state] += times[state]
            for begins, ends in _outside(within, [*hidden, *lost]):
                _, energies = clock.amounts(begins * 1000, ends * 1000)
                for state in STATES:
                    joules[part, state] += Decimal(energies[state]) / _THOUSAND
            for gap in [*self._told(node), *lost]:
                counter = _Counter(_energy_of(clock.device))
                joules[part, "unknown"] += counter.part_of(gap, within) / 1_000_000
        known, assumed = self._node_energy(node, within)
        return NodeQuarter(milliseconds, _weighted(milliseconds, joules, known, assumed))

    def _node_energy(self, node: str, within: Stretch) -> tuple[Decimal, Decimal]:
        """Return what the whole node drew, and what is assumed while it was silent."""
        model = self._model.node(node)
        hidden, told = self._hidden(node), self._told(node)
        counter = _Counter(lambda at: model.energy_microjoules(at * 1000))
        seen = [counter.difference(piece) for piece in _outside(within, hidden)]
        parts = [counter.part_of(gap, within) for gap in told]
        silent = sum(_overlap(gap, within) for gap in hidden if gap not in told)
        energy = sum((*map(Decimal, seen), *parts), Decimal(0)) / 1_000_000
        before = self._watts[node]
        recent = [watts for watts in before[-FILLED_QUARTERS:] if watts is not None]
        own = energy / (QUARTER - silent) if silent < QUARTER else None
        before.append(own)
        watts = recent[-1] if recent else own
        return energy, Decimal(0) if watts is None else watts * silent

    def _engine(self, node: str, within: Stretch) -> EngineQuarter:
        engine = self._model.node(node).engine
        assert engine is not None
        served = lru_cache(maxsize=8)(lambda at: engine.served(at * 1000))
        hidden, told = self._hidden(node), self._told(node)
        counted: dict[str, dict[str, int]] = {}
        for place, model in enumerate(served_by(node)):
            counted[model] = {}
            for name in TOKENS:
                for field in _FIELDS[name]:
                    counter = _Counter(_count_of(served, node, place, field))
                    pieces = [counter.difference(piece) for piece in _outside(within, hidden)]
                    pieces += [counter.whole_part_of(gap, within) for gap in told]
                    counted[model][name] = counted[model].get(name, 0) + sum(pieces)
        lost = sum(_overlap(gap, within) for gap in hidden if gap not in told)
        return EngineQuarter(counted, Decimal(QUARTER - lost) / QUARTER)

    def _part(self, node: str, place: int) -> str:
        return ENGINE if self._scenario.has_engine(node) and place < ENGINE_DEVICES else REST

    def _hidden(self, node: str) -> list[Stretch]:
        """Return when no agent ran on a node."""
        both = (self._faults.silent, self._faults.restarted)
        return [found[node] for found in both if node in found]

    def _told(self, node: str) -> list[Stretch]:
        """Return the gaps whose amounts the agent told afterwards."""
        found = self._faults.restarted
        return [found[node]] if node in found else []

    def _lost(self, node: str, device: str) -> list[Stretch]:
        name, its_device, begins, ends = self._faults.lost
        return [self._gap((begins, ends))] if (node, device) == (name, its_device) else []

    @staticmethod
    def _gap(window: Stretch) -> Stretch:
        return window[0], window[1] + _NEXT_READING

    def _utility(self, at: int) -> int:
        return self._model.facility.registers_ticks(at * 1000)["utility"]

    def _register(self, meter: str, within: Stretch) -> Decimal:
        first, last = (self._model.facility.registers_ticks(at * 1000)[meter] for at in within)
        return Decimal(last - first)

    @staticmethod
    def _spread(read: Reading, within: Stretch, gaps: list[Stretch]) -> Decimal:
        counter = _Counter(read)
        seen = [counter.difference(piece) for piece in _outside(within, gaps)]
        return sum((*map(Decimal, seen), *(counter.part_of(g, within) for g in gaps)), Decimal(0))


_FIELDS: Final = {
    "input_tokens": (1,),
    "cached_input_tokens": (2,),
    "output_tokens": (0,),
    "requests_succeeded": (3, 4),
}


def _energy_of(device: DeviceModel) -> Reading:
    return lambda at: device.energy_microjoules(at * 1000)


def _count_of(served: Callable[[int], EngineCounts], node: str, place: int, field: int) -> Reading:
    """Return how to read one of an engine's counts, of one of its models."""

    def read(at: int) -> int:
        count = served(at)[field]
        assert isinstance(count, int)
        if node != SHARED_NODE:
            return count
        least = count // SHARED_PARTS
        return least if place == 0 else count - least

    return read


class _Counter(NamedTuple):
    """A counter that can be read at any second."""

    read: Reading

    def difference(self, piece: Stretch) -> int:
        return self.read(piece[1]) - self.read(piece[0])

    def part_of(self, gap: Stretch, within: Stretch) -> Decimal:
        """Return what of a gap's amount falls into a stretch, evenly by time."""
        shared = _overlap(gap, within)
        return Decimal(self.difference(gap) * shared) / (gap[1] - gap[0]) if shared else Decimal(0)

    def whole_part_of(self, gap: Stretch, within: Stretch) -> int:
        """Return the same of a whole number, rounded down at both ends."""
        begins, ends = max(gap[0], within[0]), min(gap[1], within[1])
        if begins >= ends:
            return 0
        whole, length = self.difference(gap), gap[1] - gap[0]
        return whole * (ends - gap[0]) // length - whole * (begins - gap[0]) // length


def _weighted(
    milliseconds: dict[tuple[str, str], int],
    joules: dict[tuple[str, str], Decimal],
    known: Decimal,
    assumed: Decimal,
) -> dict[tuple[str, str], Decimal]:
    """Spread what a node drew by the joules of its devices, what is assumed over unknown time.

    Where no joules of devices are known, all goes by time.
    """
    measured = sum(joules.values(), Decimal(0))
    if measured == 0:
        total = DEVICES * QUARTER * 1000
        return {key: (known + assumed) * part / total for key, part in milliseconds.items()}
    drawn = {key: known * part / measured for key, part in joules.items()}
    unknown = {key: part for key, part in milliseconds.items() if key[1] == "unknown" and part}
    for key, part in unknown.items():
        drawn[key] = drawn.get(key, Decimal(0)) + assumed * part / sum(unknown.values())
    return drawn


def _outside(within: Stretch, hidden: list[Stretch]) -> Iterator[Stretch]:
    """Yield what is left of a stretch without others."""
    begins = within[0]
    for first, last in sorted(hidden):
        if last <= begins or first >= within[1]:
            continue
        if first > begins:
            yield begins, first
        begins = max(begins, last)
    if begins < within[1]:
        yield begins, within[1]


def _overlap(one: Stretch, other: Stretch) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))
