"""Which state each accelerator is in, interval by interval, for the map of the fleet.

A cell says what its device was for most of an interval, by the same rules as the ledger: what no
report covers is ``unknown``, and what an engine holds is never ``free``. The cells of a node stay
in the order of the register's devices, then of those that only telemetry shows.
"""

import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.device_states import state_numbers
from meterhouse_collector.live import Pace
from meterhouse_collector.rows import NOBODY
from meterhouse_collector.site.index import Plan, SiteIndex

# A letter for each state, in the order of ``wire.STATES``.
LETTERS: Final = "ahfxu"
CELLS_MAX: Final = 20_000
# The states of so much time are held for the page of a node, in at most so many intervals.
_HELD_SECONDS: Final = 600
INTERVALS_MAX: Final = 360
_UNKNOWN: Final = LETTERS[4]
_LETTER_OF: Final = dict(zip(wire.STATES, LETTERS, strict=True))
_ENCODER: Final = msgspec.json.Encoder()


class NodeCells(Struct, frozen=True):
    """One node of the map: where it belongs, and its devices by name in the order of its cells."""

    name: str
    pool: str
    cluster: str
    tenant: str
    devices: Sequence[str]
    accelerator_models: Sequence[str]


class Layout(Struct, frozen=True, kw_only=True):
    """Every cell of the map, node by node; ``revision`` changes with any of it."""

    revision: str
    nodes: Sequence[NodeCells]
    left_out: int = 0


class Cells(Struct, frozen=True, kw_only=True):
    """The states of one interval, one letter for each cell in the order of the layout."""

    revision: str
    start_seconds: int
    states: str


class Activity(NamedTuple):
    """Active device-seconds times their activity, of those active seconds where it is known."""

    seconds: float
    covered_seconds: float


class _Node:
    """What one node told: its devices, and its cells by interval."""

    __slots__ = ("accelerators", "cells", "hash", "inventory", "start")

    def __init__(self, length: int) -> None:
        self.hash = ""
        self.inventory = wire.Inventory()
        self.accelerators: wire.Accelerators | None = None
        self.start = 0
        self.cells: deque[tuple[int, str]] = deque(maxlen=length)


class Fleet:
    """Takes every report, and tells the state of every accelerator of the site."""

    def __init__(self, index: SiteIndex, pace: Pace) -> None:
        # How much older than its interval a cell may be: 0 where reports are heard.
        self.patience_seconds = 0.0
        self._index = index
        self._pace = pace
        kept = round(max(_HELD_SECONDS, pace.window_seconds) / pace.length_seconds)
        self._intervals = max(2, min(INTERVALS_MAX, kept))
        self._nodes: dict[str, _Node] = {}
        self._activity: dict[int, list[float]] = {}
        self._changes = 0
        self._built: tuple[tuple[int, int], Layout] | None = None

    def take(self, report: wire.Report, inventory: wire.Inventory) -> None:
        """Note what a report says of its devices; a late one changes nothing any more."""
        if report.accelerators is None:
            return
        node = self._nodes.get(report.node)
        if node is None:
            node = self._nodes[report.node] = _Node(self._intervals)
        if node.cells and report.start_seconds <= node.cells[-1][0]:
            return
        if report.inventory_hash != node.hash:
            node.hash, node.inventory = report.inventory_hash, inventory
            self._changes += 1
        grouping = self._index.grouping(report.node, inventory, report.start_seconds)
        numbers = state_numbers(report.accelerators, grouping, report.length_seconds)
        cells = "".join(_UNKNOWN if n is None else LETTERS[int(n)] for n in numbers)
        node.cells.append((report.start_seconds, cells))
        node.accelerators, node.start = report.accelerators, report.start_seconds
        self._note_activity(report.accelerators, report.start_seconds)

    def take_cells(
        self,
        name: str,
        start_seconds: int,
        cells: str,
        inventory: wire.Inventory,
        accelerators: wire.Accelerators,
    ) -> None:
        """Note the cells of a node as somebody else found them, with its last readings."""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = _Node(self._intervals)
        if node.cells and start_seconds <= node.cells[-1][0]:
            return
        if inventory != node.inventory:
            node.inventory = inventory
            self._changes += 1
        node.cells.append((start_seconds, cells))
        node.accelerators, node.start = accelerators, start_seconds

    def _note_activity(self, accelerators: wire.Accelerators, start: int) -> None:
        known = accelerators.sm_activity_ratio or accelerators.tensor_activity_ratio
        times = accelerators.state_milliseconds.get("active", [])
        if not known or len(known) != len(times):
            return
        sums = self._activity.get(start)
        if sums is None:
            sums = self._activity[start] = [0.0, 0.0]
            oldest = start - 2 * self._intervals * self._pace.length_seconds
            for old in [each for each in self._activity if each < oldest]:
                del self._activity[old]
        for time, ratio in zip(times, known, strict=True):
            if ratio is not None:
                sums[0] += time * min(1.0, max(0.0, ratio)) / 1000
                sums[1] += time / 1000

    def activity(self, start_seconds: int, end_seconds: int) -> Activity | None:
        """Return what was effective in [start, end), or None where no device tells."""
        found = [s for at, s in self._activity.items() if start_seconds <= at < end_seconds]
        if not found:
            return None
        return Activity(sum(s[0] for s in found), sum(s[1] for s in found))

    def layout(self, at_seconds: float) -> Layout:
        """Return all cells; the same object until the register or an inventory changes."""
        changed = sum(1 for each in self._index.register_changes if each <= at_seconds)
        key = (self._changes, changed)
        if self._built is None or self._built[0] != key:
            self._built = key, self._layout(at_seconds)
        return self._built[1]

    def _layout(self, at_seconds: float) -> Layout:
        plans = self._index.plans(at_seconds)
        names = sorted({*plans, *self._nodes})
        nodes = [self._cells(name, plans.get(name), at_seconds) for name in names]
        nodes = sorted((n for n in nodes if n.devices), key=lambda n: (n.cluster, n.pool, n.name))
        shown: list[NodeCells] = []
        room = CELLS_MAX
        for node in nodes:
            room -= len(node.devices)
            if room < 0:
                break
            shown.append(node)
        left_out = sum(len(node.devices) for node in nodes[len(shown) :])
        encoded = _ENCODER.encode(shown)
        revision = f"{zlib.crc32(encoded):08x}"
        return Layout(revision=revision, nodes=shown, left_out=left_out)

    def _cells(self, name: str, plan: Plan | None, at_seconds: float) -> NodeCells:
        told = self._nodes.get(name)
        devices = [] if told is None else told.inventory.devices
        names = [device.device for device in devices]
        models = [device.accelerator_model for device in devices]
        slots = () if plan is None else plan.slots
        named = set(names)
        for slot in slots:
            if slot.device is not None and slot.device not in named:
                names.append(slot.device)
                models.append(slot.accelerator_model)
        for number in range(len(names), len(slots)):
            names.append(f"{number} of {len(slots)}")
            models.append(slots[number].accelerator_model)
        pool_name = slots[0].pool if slots else NOBODY
        pool = self._index.dated.pool.get(pool_name, at_seconds) if slots else None
        return NodeCells(
            name,
            pool_name,
            NOBODY if pool is None else pool.cluster,
            NOBODY if pool is None else pool.tenant,
            names,
            models,
        )

    def cells(self, start_seconds: int, at_seconds: float) -> Cells:
        """Return the states of an interval; a node without a report for it is ``unknown``."""
        layout = self.layout(at_seconds)
        states = "".join(
            self._states(node.name, start_seconds).ljust(len(node.devices), _UNKNOWN)
            for node in layout.nodes
        )
        return Cells(revision=layout.revision, start_seconds=start_seconds, states=states)

    def _states(self, name: str, start_seconds: int) -> str:
        node = self._nodes.get(name)
        if node is not None:
            # The newest stands at the end, and it is nearly always one of the last.
            for start, cells in reversed(node.cells):
                if start <= start_seconds:
                    return cells if start >= start_seconds - self.patience_seconds else ""
        return ""

    def node(self, name: str, at_seconds: float) -> NodeCells | None:
        """Return one node of the layout."""
        return next((n for n in self.layout(at_seconds).nodes if n.name == name), None)

    def timeline(self, name: str) -> Sequence[tuple[int, str]]:
        """Return the last intervals of a node with its cells, the oldest first."""
        node = self._nodes.get(name)
        return [] if node is None else list(node.cells)

    def last(self, name: str) -> tuple[int, wire.Accelerators] | None:
        """Return the newest report's interval and columns of a node."""
        node = self._nodes.get(name)
        if node is None or node.accelerators is None:
            return None
        return node.start, node.accelerators


def counts(states: str) -> Mapping[wire.State, int]:
    """Return how many cells are in each state."""
    return {state: states.count(letter) for state, letter in _LETTER_OF.items()}
