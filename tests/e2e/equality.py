"""Whether ledger rows equal the truth of the simulation, row by row."""

from collections.abc import Iterable, Iterator, Sequence
from math import fsum
from typing import Final

from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.simulation.truth import EngineTruth, MeterTruth, NodeTruth, Truth, truth_of
from meterhouse_agent.wire import STATES, State
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Share
from tests.e2e.ledger import TOKENS, Key, Ledger

RELATIVE: Final = 1e-9
HELD_IDLE: Final = STATES.index("held_idle")
FREE: Final = STATES.index("free")
ThingRow = NodeRow | MeterRow | EngineRow
ThingTruth = NodeTruth | MeterTruth | EngineTruth


def close(value: float | None, truth: float) -> bool:
    """Tell whether a value equals the truth to 1e-9; what is not there equals nothing."""
    return value is not None and abs(value - truth) <= RELATIVE * max(1.0, abs(truth))


def is_complete(row: ThingRow) -> bool:
    """Tell whether the readings of a row cover its whole interval."""
    length = row.length_milliseconds
    if isinstance(row, NodeRow):
        return row.host_covered_milliseconds == length
    if isinstance(row, MeterRow):
        return row.covered_milliseconds == length
    return all(served.covered_milliseconds == length for served in row.served)


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
                if row is None or not is_complete(row):
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
            if not close(row.energy_joules, truth.energy_joules) or row.quality != "ok":
                yield f"{row.energy_joules} J, {row.quality}; in truth {truth.energy_joules} J"
        case EngineRow(), EngineTruth():
            yield from _engine(row, truth)
        case _:
            yield f"{type(row).__name__} is no {type(truth).__name__}"


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


def rollup_faults(ledger: Ledger, starts: Iterable[int], installed: float) -> Iterator[str]:
    """Yield the intervals whose live sums lack a second of what is installed."""
    for start in starts:
        points = ledger.rollups.get(start, [])
        states = fsum(float(p.fields[f"{state}_seconds"]) for p in points for state in STATES)
        total = fsum(float(point.fields["installed_seconds"]) for point in points)
        if not (close(states, installed) and close(total, installed)):
            yield f"{start}: {states} s in states, {total} s installed"
