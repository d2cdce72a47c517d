"""Whether ledger rows equal the truth of the simulation, row by row."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import fsum
from typing import Final, NamedTuple, TypeVar

from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.simulation.truth import EngineTruth, MeterTruth, NodeTruth, Truth, truth_of
from meterhouse_agent.wire import STATES, State
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Share
from tests.e2e.ledger import METERED, TOKENS, Key, Ledger

RELATIVE: Final = 1e-9
HELD_IDLE: Final = STATES.index("held_idle")
FREE: Final = STATES.index("free")
UNKNOWN: Final = STATES.index("unknown")
ThingRow = NodeRow | MeterRow | EngineRow
ThingTruth = NodeTruth | MeterTruth | EngineTruth
TruthOf = TypeVar("TruthOf", NodeTruth, MeterTruth, EngineTruth)


def close(value: float | None, truth: float) -> bool:
    """Tell whether a value equals the truth to 1e-9; what is not there equals nothing."""
    return value is not None and abs(value - truth) <= RELATIVE * max(1.0, abs(truth))


def covered_milliseconds(row: ThingRow) -> int:
    """Return for how much of its interval a row's thing was read."""
    if isinstance(row, NodeRow):
        return row.host_covered_milliseconds
    if isinstance(row, MeterRow):
        return row.covered_milliseconds
    return min((served.covered_milliseconds for served in row.served), default=0)


class Comparison:
    """Compares a ledger with the truth of its fleet, and counts what it compared."""

    def __init__(self, model: FleetModel, length_seconds: int) -> None:
        self._model = model
        self._length = length_seconds
        self.complete = 0
        self.partial = 0
        self.wrong: list[str] = []

    def truths(self, start_seconds: int, end_seconds: int) -> Iterator[Truth]:
        """Yield what the fleet did, interval by interval."""
        for start in range(start_seconds, end_seconds, self._length):
            yield truth_of(self._model, start, start + self._length, self._length)

    def rows(self, ledger: Ledger, start_seconds: int, end_seconds: int) -> set[Key]:
        """Compare every complete row of a window; return the keys that have none."""
        missing = set()
        for truth in self.truths(start_seconds, end_seconds):
            things: tuple[ThingTruth, ...] = (*truth.nodes, *truth.meters, *truth.engines)
            for each in things:
                key = Key(_thing(each), truth.start_seconds)
                row = self._row(ledger, each, key)
                if row is None or covered_milliseconds(row) < row.length_milliseconds:
                    self.partial += row is not None
                    missing.add(key)
                    continue
                self.complete += 1
                self.wrong += [f"{key}: {fault}" for fault in differences(row, each)]
        return missing

    @staticmethod
    def _row(ledger: Ledger, truth: ThingTruth, key: Key) -> ThingRow | None:
        if isinstance(truth, NodeTruth):
            return ledger.nodes.get(key)
        if isinstance(truth, MeterTruth):
            return ledger.meters.get(key)
        return ledger.engines.get(key)


def _thing(truth: ThingTruth) -> str:
    if isinstance(truth, NodeTruth):
        return truth.node
    return truth.meter if isinstance(truth, MeterTruth) else truth.engine


def differences(row: ThingRow, truth: ThingTruth) -> Iterator[str]:
    """Yield in what a complete row differs from the truth."""
    match row, truth:
        case NodeRow(), NodeTruth():
            yield from _node(row, truth)
        case MeterRow(), MeterTruth():
            yield from _meter(row, truth)
        case EngineRow(), EngineTruth():
            yield from _engine(row, truth)
        case _:
            yield f"{type(row).__name__} is no {type(truth).__name__}"


def _meter(row: MeterRow, truth: MeterTruth) -> Iterator[str]:
    """Compare what is counted, and that the other of energy and volume is not there."""
    millilitres = truth.volume_millilitres
    litres = None if millilitres is None else millilitres / 1000
    pairs = ((row.energy_joules, truth.energy_joules), (row.volume_litres, litres))
    same = all(value is None if true is None else close(value, true) for value, true in pairs)
    if not same or row.quality != "ok":
        yield f"{row.energy_joules} J, {row.volume_litres} l, {row.quality}; in truth {truth}"


def _node(row: NodeRow, truth: NodeTruth) -> Iterator[str]:
    if not close(row.energy_joules, truth.energy_millijoules / 1000):
        yield f"node {row.energy_joules} J; in truth {truth.energy_millijoules} mJ"
    shares = {(share.accelerator_model, share.holder): share for share in row.shares}
    holders = {(h.accelerator_model, h.holder): h for h in truth.holders}
    expected = {
        (model, f"engine:{holder}" if holder != "none" else holder) for model, holder in holders
    }
    if shares.keys() != expected:
        yield f"shares {sorted(shares)}; in truth {sorted(expected)}"
        return
    if sum(sum(share.milliseconds) for share in row.shares) != truth.installed_milliseconds:
        yield f"states sum not to {truth.installed_milliseconds} ms"
    for (model, holder), held in holders.items():
        engine = holder != "none"
        share = shares[model, f"engine:{holder}" if engine else holder]
        times = _folded(held.milliseconds.as_dict(), engine=engine)
        energies = _folded(held.millijoules.as_dict(), engine=engine)
        yield from _share(share, times, energies)


def _folded(amounts: dict[State, int], *, engine: bool) -> list[int]:
    """Return amounts by state as a ledger holds them: what an engine holds is never free."""
    found = [amounts[state] for state in STATES]
    if engine:
        found[HELD_IDLE], found[FREE] = found[HELD_IDLE] + found[FREE], 0
    return found


def _share(share: Share, times: Sequence[int], energies: Sequence[int]) -> Iterator[str]:
    if list(share.milliseconds) != list(times):
        yield f"{share.holder}: {share.milliseconds} ms; in truth {times}"
    for state, joules, millijoules in zip(STATES, share.joules, energies, strict=True):
        if joules is None and millijoules == 0 and times[STATES.index(state)] == 0:
            continue
        if not close(joules, millijoules / 1000):
            yield f"{share.holder}: {state} {joules} J; in truth {millijoules} mJ"
    if share.energy_quality != "ok" or share.energy_method != "counter":
        yield f"{share.holder}: energy {share.energy_quality} by {share.energy_method}"


def _engine(row: EngineRow, truth: EngineTruth) -> Iterator[str]:
    if [served.served_model for served in row.served] != [truth.served_model]:
        yield f"serves {[served.served_model for served in row.served]}"
        return
    served = row.served[0]
    for quantity in TOKENS:
        if getattr(served, quantity) != getattr(truth, quantity):
            yield f"{quantity} {getattr(served, quantity)}; in truth {getattr(truth, quantity)}"
    if served.requests != truth.requests:
        yield f"requests {served.requests}; in truth {truth.requests}"
    first_token = served.latency["ttft"]
    if tuple(first_token.counts) != truth.ttft_counts:
        yield f"latencies {first_token.counts}; in truth {truth.ttft_counts}"
    if not close(first_token.sum_seconds, truth.ttft_sum_milliseconds / 1000):
        yield f"latencies of {first_token.sum_seconds} s in sum"


def rollup_faults(ledger: Ledger, starts: Iterable[int], installed: int) -> Iterator[str]:
    """Yield the intervals whose live sums are not those of the rows; seconds of all devices."""
    for start in starts:
        sums = [point.fields for point in ledger.rollups.get(start, [])]
        live = [fsum(float(s[f"{state}_seconds"]) for s in sums) for state in STATES]
        rows = [row for key, row in ledger.nodes.items() if key.start_seconds == start]
        states = [sum(s.milliseconds[n] for row in rows for s in row.shares) for n in range(5)]
        states[UNKNOWN] += installed * 1000 - sum(states)
        if not all(close(a, b / 1000) for a, b in zip(live, states, strict=True)):
            yield f"{start}: states of {live} s; in the ledger {states} ms"
        if not close(fsum(float(s["installed_seconds"]) for s in sums), installed):
            yield f"{start}: not {installed} device-seconds are installed"


class Lifetime(NamedTuple):
    """What one thing's rows and spans sum to, and the truth from its first reading on."""

    thing: str
    found: Mapping[str, Fraction | int]
    truth: Mapping[str, Fraction | int]


def lifetimes(ledger: Ledger, model: FleetModel, end_seconds: int) -> Iterator[Lifetime]:
    """Yield what each thing amounts to up to a time, over all gaps."""
    for node in sorted({key.thing for key in ledger.nodes}):
        start = first_reading(ledger.nodes, node)
        whole = _of(truth_of(model, start, end_seconds, 1).nodes, "node", node)
        devices = sum(device.millijoules.total for device in whole.devices)
        yield Lifetime(
            node,
            {"node": ledger.node_joules(node), "devices": ledger.device_joules(node)},
            {"node": Fraction(whole.energy_millijoules, 1000), "devices": Fraction(devices, 1000)},
        )
    for meter in sorted({key.thing for key in ledger.meters}):
        start = first_reading(ledger.meters, meter)
        register = _of(truth_of(model, start, end_seconds, 1).meters, "meter", meter)
        joules, millilitres = register.energy_joules, register.volume_millilitres
        yield Lifetime(
            meter,
            {quantity: ledger.metered(meter, quantity) for quantity in METERED},
            {
                "energy_joules": 0 if joules is None else joules,
                "volume_litres": Fraction(0 if millilitres is None else millilitres, 1000),
            },
        )
    for engine in sorted({key.thing for key in ledger.engines}):
        start = first_reading(ledger.engines, engine)
        served = _of(truth_of(model, start, end_seconds, 1).engines, "engine", engine)
        tokens = {name: getattr(served, name) for name in TOKENS}
        requests = {f"requests:{reason}": count for reason, count in served.requests.items()}
        yield Lifetime(engine, ledger.engine_counts(engine), tokens | requests)


def first_reading(rows: Mapping[Key, ThingRow], thing: str) -> int:
    """Return when a thing was first read: as long before its first row's end as that covers."""
    start = min(key.start_seconds for key in rows if key.thing == thing)
    row = rows[Key(thing, start)]
    end = start * 1000 + row.length_milliseconds
    return (end - covered_milliseconds(row)) // 1000


def _of(truths: Iterable[TruthOf], field: str, name: str) -> TruthOf:
    return next(truth for truth in truths if getattr(truth, field) == name)
