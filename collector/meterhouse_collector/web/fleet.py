"""Which state each accelerator is in, interval by interval, for the map of the fleet.

A cell says what its device was for most of an interval, by the same rules as the ledger: what no
report covers is ``unknown``, what an engine holds is never ``free``, and what somebody says is down
is ``unhealthy`` where it is all of a node. The cells of a node stay
in the order of the register's devices, then of those that only telemetry shows.
"""

import zlib
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.device_states import state_numbers
from meterhouse_collector.rollup.downtime import MAY_COMPUTE
from meterhouse_collector.rows import NOBODY
from meterhouse_collector.site.downtime import SaidDown
from meterhouse_collector.site.index import Plan, SiteIndex

# A letter for each state, in the order of ``wire.STATES``.
LETTERS: Final = "ahfxu"
CELLS_MAX: Final = 20_000
# Reports of so many intervals are held: the newest may not be rolled up yet.
_HELD_INTERVALS: Final = 4
# Activity is held for longer than any window of the page.
_ACTIVITY_SECONDS: Final = 7200
_UNKNOWN: Final = LETTERS[4]
# What becomes of the letters of a node that is said to be down.
_GONE: Final = str.maketrans("ahfu", "xxxx")
_DRAINED: Final = str.maketrans("hfu", "xxx")
_ENCODER: Final = msgspec.json.Encoder()
# What is asked of an interval that is not a node's newest: its states and its activity.
_ASKED_LATER: Final = {"state_milliseconds", "sm_activity_ratio", "tensor_activity_ratio"}
_NEWEST_ALONE: Final = tuple(
    name for name in wire.ON_THE_WIRE if name not in _ASKED_LATER and name != "state_joules"
)
_NOTHING: Final[list[float | None]] = []


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


class _Told:
    """What was told of one interval; its letters are made when they are first asked for."""

    __slots__ = ("accelerators", "length", "letters", "start")

    def __init__(
        self, start: int, length: int, accelerators: wire.Accelerators, letters: str | None = None
    ) -> None:
        self.start = start
        self.length = length
        self.accelerators = accelerators
        self.letters = letters


class _Node:
    """What one node told: its devices, and its last intervals."""

    __slots__ = ("hash", "inventory", "told")

    def __init__(self) -> None:
        self.hash = ""
        self.inventory = wire.Inventory()
        self.told: deque[_Told] = deque(maxlen=_HELD_INTERVALS)

    def add(self, told: _Told) -> None:
        """Take a newer interval; of the one before less is kept, for most of it is columns."""
        if self.told:
            before = self.told[-1].accelerators
            before.state_joules = {}
            for name in _NEWEST_ALONE:
                setattr(before, name, _NOTHING)
        self.told.append(told)


class Fleet:
    """Takes every report, and tells the state of every accelerator of the site."""

    def __init__(self, index: SiteIndex) -> None:
        # How much older than its interval a cell may be: 0 where reports are heard.
        self.patience_seconds = 0.0
        self._index = index
        self._nodes: dict[str, _Node] = {}
        self._activity: dict[int, Activity] = {}
        self._changes = 0
        self._built: tuple[tuple[int, tuple[int, int]], Layout] | None = None

    def take(self, report: wire.Report, inventory: wire.Inventory) -> None:
        """Note what a report says of its devices; a late one changes nothing any more.

        This runs for every report, so nothing is computed here.
        """
        if report.accelerators is None:
            return
        node = self._nodes.get(report.node)
        if node is None:
            node = self._nodes[report.node] = _Node()
        start = report.start_seconds
        if node.told and start <= node.told[-1].start:
            return
        if report.inventory_hash != node.hash:
            node.hash, node.inventory = report.inventory_hash, inventory
            node.told.clear()
            self._changes += 1
        node.add(_Told(start, report.length_seconds, report.accelerators))

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
            node = self._nodes[name] = _Node()
        if node.told and start_seconds <= node.told[-1].start:
            return
        if inventory != node.inventory:
            node.inventory = inventory
            self._changes += 1
        node.add(_Told(start_seconds, 0, accelerators, cells))

    def _letters(self, name: str, node: _Node, told: _Told) -> str:
        if told.letters is None:
            grouping = self._index.grouping(name, node.inventory, told.start)
            numbers = state_numbers(told.accelerators, grouping, told.length)
            told.letters = "".join(_UNKNOWN if n is None else LETTERS[int(n)] for n in numbers)
        return told.letters

    def _note_activity(self, start: int) -> None:
        """Sum how active the devices of an interval were."""
        seconds = covered = 0.0
        for node in self._nodes.values():
            told = next((each for each in reversed(node.told) if each.start == start), None)
            if told is not None:
                found = _activity_of(told.accelerators)
                seconds += found.seconds
                covered += found.covered_seconds
        self._activity[start] = Activity(seconds, covered)
        for old in [each for each in self._activity if each < start - _ACTIVITY_SECONDS]:
            del self._activity[old]

    def activity(self, start_seconds: int, end_seconds: int) -> Activity | None:
        """Return what was effective in [start, end), of the intervals whose cells were asked for.

        None where no device told of its activity in any of them.
        """
        found = [each for at, each in self._activity.items() if start_seconds <= at < end_seconds]
        covered = sum(each.covered_seconds for each in found)
        return Activity(sum(each.seconds for each in found), covered) if covered > 0 else None

    def layout(self, at_seconds: float) -> Layout:
        """Return all cells; the same object until what is installed or an inventory changes."""
        key = (self._changes, self._index.plans_key(at_seconds))
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
        self._note_activity(start_seconds)
        states = {
            node.name: self._states(node.name, start_seconds).ljust(len(node.devices), _UNKNOWN)
            for node in layout.nodes
        }
        for name, said in self._said(start_seconds).items():
            if name in states:
                become = _DRAINED if said.reason in MAY_COMPUTE else _GONE
                states[name] = states[name].translate(become)
        return Cells(
            revision=layout.revision, start_seconds=start_seconds, states="".join(states.values())
        )

    def _said(self, start_seconds: int) -> dict[str, SaidDown]:
        """Return the nodes of which somebody says that all of them was down in a second."""
        said = self._index.said_down(start_seconds, 1).items()
        return {name: each for name, parts in said for each in parts if each.devices is None}

    def said(self, name: str, at_seconds: float) -> str | None:
        """Return why all of a node is said to be down and by whom, None where nobody says so."""
        found = self._said(int(at_seconds)).get(name)
        return None if found is None else f"{found.reason}, said by {found.said_by}"

    def _states(self, name: str, start_seconds: int) -> str:
        node = self._nodes.get(name)
        if node is not None:
            for told in reversed(node.told):
                if told.start <= start_seconds:
                    fresh = told.start >= start_seconds - self.patience_seconds
                    return self._letters(name, node, told) if fresh else ""
        return ""

    def node(self, name: str, at_seconds: float) -> NodeCells | None:
        """Return one node of the layout."""
        return next((n for n in self.layout(at_seconds).nodes if n.name == name), None)

    def last(self, name: str) -> tuple[int, str, wire.Accelerators] | None:
        """Return the newest interval of a node: its start, its cells and its columns."""
        node = self._nodes.get(name)
        if node is None or not node.told:
            return None
        told = node.told[-1]
        return told.start, self._letters(name, node, told), told.accelerators


def _activity_of(accelerators: wire.Accelerators) -> Activity:
    known = accelerators.sm_activity_ratio or accelerators.tensor_activity_ratio
    times = accelerators.state_milliseconds.get("active", [])
    seconds = covered = 0.0
    for time, ratio in zip(times, known, strict=False):
        if ratio is not None:
            seconds += time * min(1.0, max(0.0, ratio)) / 1000
            covered += time / 1000
    return Activity(seconds, covered)
