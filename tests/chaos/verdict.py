"""What is lost, double or wrong after a run: the ledger against the truth of its fleet."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import fsum
from typing import Final

from meterhouse_agent.simulation.fleet import METERS, FleetSpec
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.simulation.truth import truth_of
from meterhouse_agent.wire import STATES
from meterhouse_collector.rollup.quarter import QUARTER
from tests.chaos.quarters import Kept
from tests.chaos.windows import Windows
from tests.e2e.equality import UNKNOWN, Comparison, Lifetime, close, lifetimes
from tests.e2e.ledger import Key, Ledger

_SHOWN: Final = 20


@dataclass(slots=True)
class Verdict:
    """What was found, in words; ``figures`` are what was compared, for the record."""

    faults: int = 0
    reports: int = 0
    lost: list[str] = field(default_factory=list)
    double: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing is lost, double or wrong."""
        return not (self.lost or self.double or self.wrong)

    def line(self, seed: int) -> str:
        """Return the last line of a run."""
        return (
            f"chaos seed={seed} faults={self.faults} reports={self.reports} "
            f"lost={len(self.lost)} double={len(self.double)} wrong={len(self.wrong)}"
        )

    def text(self) -> str:
        """Return the figures, and what was found, not all of it where that is much."""
        lines = [" ".join(f"{name}={value:g}" for name, value in self.figures.items())]
        for name in ("lost", "double", "wrong"):
            found: list[str] = getattr(self, name)
            lines += [f"{name}: {each}" for each in found[:_SHOWN]]
            if len(found) > _SHOWN:
                lines.append(f"{name}: {len(found) - _SHOWN} more")
        return "\n".join(lines)


def reader(fleet: FleetSpec, thing: str) -> str:
    """Return the node that reports a thing."""
    return fleet.facility_node if thing in METERS else thing.removeprefix("engine-")


def judge_rows(
    verdict: Verdict,
    fleet: FleetSpec,
    ledger: Ledger,
    windows: Windows,
    end_seconds: int,
    first_reported: Mapping[str, int],
) -> None:
    """Compare every row up to a time with the truth; what lacks must lie in a window."""
    keys = (*ledger.nodes, *ledger.meters, *ledger.engines)
    verdict.reports = len({(reader(fleet, key.thing), key.start_seconds) for key in keys})
    verdict.double += [f"{key.thing} at {key.start_seconds} is there twice" for key in ledger.twice]
    first: dict[str, int] = {}
    for key in keys:
        first[key.thing] = min(key.start_seconds, first.get(key.thing, key.start_seconds))
    things = {*METERS, *first}
    verdict.lost += [
        f"{thing} has no row before {first_reported[reader(fleet, thing)]}"
        for thing in sorted(things)
        if first.get(thing, end_seconds) >= first_reported[reader(fleet, thing)]
    ]
    comparison = Comparison(FleetModel(fleet), 1)
    missing = comparison.rows(ledger, min(first.values()), end_seconds)
    lacking = [key for key in missing if key.start_seconds > first.get(key.thing, 0)]
    excused = {
        key for key in lacking if windows.excuse(reader(fleet, key.thing), key.start_seconds)
    }
    verdict.lost += [
        f"{key.thing} at {key.start_seconds} has no whole row, and no fault explains it"
        for key in sorted(set(lacking) - excused)
    ]
    verdict.wrong += comparison.wrong
    verdict.wrong += list(_states(fleet, ledger))
    verdict.figures |= {
        "rows_equal": comparison.complete,
        "rows_lacking_in_windows": len(excused),
        "spans": len(ledger.spans),
        "windows": len(windows.gaps),
    }


def _states(fleet: FleetSpec, ledger: Ledger) -> Iterator[str]:
    """Yield the rows whose five states do not sum to what is installed, also the partial."""
    installed = fleet.devices_per_node * 1000
    for key, row in ledger.nodes.items():
        found = sum(sum(share.milliseconds) for share in row.shares)
        if found != installed:
            yield f"{key.thing} at {key.start_seconds}: states of {found} ms, not {installed}"


def judge_sums(
    verdict: Verdict, fleet: FleetSpec, ledger: Ledger, doubtful: Iterable[str], end_seconds: int
) -> None:
    """Compare what all rows and spans of each thing sum to with last reading less first.

    What a node told from memory before it was killed it may tell again as a span: there the
    quarters say whether it counts twice.
    """
    doubted = set(doubtful)
    for life in lifetimes(ledger, FleetModel(fleet), end_seconds):
        for quantity, truth in life.truth.items():
            found = life.found.get(quantity, 0)
            text = f"{life.thing} {quantity}: {float(found)} in the ledger, in truth {float(truth)}"
            if found < truth:
                verdict.lost.append(text)
            elif found > truth and reader(fleet, life.thing) not in doubted:
                verdict.double.append(text)


def judge_quarters(
    verdict: Verdict, fleet: FleetSpec, ledger: Ledger, kept: Kept, doubtful: Iterable[str]
) -> None:
    """Compare quarters with the truth, and their rollups with the rows they were made from."""
    doubted = set(doubtful)
    model = FleetModel(fleet)
    ends = _ends(ledger)
    for end in sorted(set(ends.values())):
        for life in lifetimes(_before(ledger, end), model, end):
            if ends.get(life.thing) != end:
                continue
            room = 0.0
            if reader(fleet, life.thing) in doubted:
                room = _swing(model, ledger, life)
            for quantity, truth in life.truth.items():
                found = kept.amount(life.thing, quantity)
                excess = found - float(truth)
                if close(found, float(truth)) or abs(excess) <= room:
                    continue
                text = f"{life.thing} {quantity}: {found} in quarters, in truth {float(truth)}"
                (verdict.double if excess > 0 else verdict.lost).append(text)
    verdict.wrong += kept.differences
    verdict.wrong += list(_rollups(fleet, ledger, kept))
    verdict.figures["quarters"] = len(kept.quarters)
    verdict.figures["quarter_rows_recomputed"] = kept.compared


def _ends(ledger: Ledger) -> dict[str, int]:
    ends: dict[str, int] = {}
    for key in (*ledger.nodes, *ledger.meters, *ledger.engines):
        ends[key.thing] = max(key.start_seconds + 1, ends.get(key.thing, 0))
    return ends


def _before(ledger: Ledger, end_seconds: int) -> Ledger:
    def those(key: Key) -> bool:
        return key.start_seconds < end_seconds

    return Ledger(
        nodes={key: row for key, row in ledger.nodes.items() if those(key)},
        meters={key: row for key, row in ledger.meters.items() if those(key)},
        engines={key: row for key, row in ledger.engines.items() if those(key)},
        spans=ledger.spans,
        rollups={},
        twice=[],
    )


def _swing(model: FleetModel, ledger: Ledger, life: Lifetime) -> float:
    """Return by how much the quarters of a thing may err where rows win over a span.

    The part of a span that no row covers is spread linearly: it errs by at most the overlap times
    the difference between the most and the least of a second.
    """
    rows = {k.start_seconds for k in (*ledger.nodes, *ledger.engines) if k.thing == life.thing}
    room = 0.0
    seen = set()
    for span in ledger.spans:
        stretch = (span.from_milliseconds, span.to_milliseconds)
        if span.thing != life.thing or span.reason != "restart" or stretch in seen:
            continue
        seen.add(stretch)
        inside = range(-(-stretch[0] // 1000), stretch[1] // 1000)
        overlap = sum(second in rows for second in inside)
        if overlap:
            amounts = list(_seconds(model, life.thing, stretch))
            room += overlap * (max(amounts) - min(amounts))
    return room


def _seconds(model: FleetModel, thing: str, stretch: tuple[int, int]) -> Iterator[float]:
    for start in range(stretch[0] // 1000, -(-stretch[1] // 1000)):
        truth = truth_of(model, start, start + 1, 1)
        for node in truth.nodes:
            if node.node == thing:
                yield node.energy_millijoules / 1000
        for engine in truth.engines:
            if engine.engine == thing:
                yield max(engine.input_tokens, engine.output_tokens)


def _rollups(fleet: FleetSpec, ledger: Ledger, kept: Kept) -> Iterator[str]:
    """Yield the quarters whose states are not those of the rows, all else of them unknown."""
    milliseconds: dict[int, list[int]] = defaultdict(lambda: [0] * len(STATES))
    for key, row in ledger.nodes.items():
        sums = milliseconds[key.start_seconds // QUARTER * QUARTER]
        for number in range(len(STATES)):
            sums[number] += sum(share.milliseconds[number] for share in row.shares)
    installed = QUARTER * fleet.nodes * fleet.devices_per_node
    for quarter, states in milliseconds.items():
        states[UNKNOWN] += installed * 1000 - sum(states)
        fields = kept.rollups.get(quarter, [])
        found = [fsum(float(f[f"{state}_seconds"]) for f in fields) for state in STATES]
        if not all(close(a, b / 1000) for a, b in zip(found, states, strict=True)):
            yield f"quarter {quarter}: states of {found} s; in the ledger {states} ms"
        if not close(fsum(float(f["installed_seconds"]) for f in fields), installed):
            yield f"quarter {quarter}: not {installed} device-seconds are installed"
