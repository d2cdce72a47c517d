"""The quarter rows of things: summed from the ledger in a store, and read back."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.quarters.marks import Mark
from meterhouse_collector.rollup.quarter import QUARTER, is_summed
from meterhouse_collector.rollup.quarter_engine import EngineQuarter
from meterhouse_collector.rollup.quarter_meter import MeterQuarter
from meterhouse_collector.rollup.quarter_node import DeviceShares, NodeQuarter
from meterhouse_collector.rollup.spans import stretch_of
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, PackedRow, SpanRow, pack
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.store import Store

READER: Final = "steward"
# So much of a quarter is in memory at once, of all things, unless that is little.
_SLICE_SECONDS: Final = 60
_FEW_ROWS: Final = 5_000
# A thousand readings take a few ms to decode, which the loop can spare.
_THREAD_ROWS: Final = 1_000
# A span is told by the report that closes when its last reading was taken, or by a later one.
_TOLD_BEFORE_SECONDS: Final = QUARTER
_FOR_EVER: Final = 2**33

Thing = tuple[wire.ThingKind, str]
Quarter = NodeQuarter | MeterQuarter | EngineQuarter
Breathe = Callable[[], Awaitable[None]]

_ROWS: Final[Mapping[wire.ThingKind, msgspec.json.Decoder[Any]]] = {
    "node": msgspec.json.Decoder(NodeRow),
    "meter": msgspec.json.Decoder(MeterRow),
    "engine": msgspec.json.Decoder(EngineRow),
}
_QUARTERS: Final[Mapping[wire.ThingKind, type[Any]]] = {
    "node": NodeQuarter,
    "meter": MeterQuarter,
    "engine": EngineQuarter,
}
_SPANS: Final = msgspec.json.Decoder(SpanRow)
_INVENTORY: Final = msgspec.json.Decoder(wire.Inventory)


class QuarterRows(NamedTuple):
    """One row per thing of one quarter."""

    nodes: dict[str, NodeRow]
    meters: dict[str, MeterRow]
    engines: dict[str, EngineRow]


class Ledger:
    """The ledger of one site in a store, summed by quarter; what cannot be read is only counted."""

    def __init__(self, store: Store, index: SiteIndex) -> None:
        self._store = store
        self._index = index
        self.unread_rows = 0
        self.unknown_spans = 0

    async def sum_whole(
        self, start: int, marks: Iterable[Mark], breathe: Breathe
    ) -> list[PackedRow]:
        """Sum a quarter of all things, slice by slice; ``marks`` are all those of the quarter.

        A span has a mark in each quarter it touches, so only things with one are asked for spans.
        """
        sums: dict[Thing, Quarter] = {}
        for kind in _ROWS:
            begins, seconds = start, _SLICE_SECONDS
            while begins < start + QUARTER:
                ends = min(begins + seconds, start + QUARTER)
                rows = await self._store.packed(
                    "ledger", kind, start_seconds=begins, end_seconds=ends
                )
                await self._fold(sums, kind, rows, start)
                await breathe()
                begins = ends
                # A small site is read in few requests.
                seconds = seconds * 4 if len(rows) < _FEW_ROWS else _SLICE_SECONDS
        result = []
        marked = {(mark.kind, mark.thing) for mark in marks}
        for thing in sorted(sums.keys() | marked):
            quarter = sums.pop(thing, None) or _QUARTERS[thing[0]](start)
            if thing in marked:
                row = await self._with_spans(thing, start, quarter)
                await breathe()
            else:
                row = _row(quarter, [], {})
            if row is not None:
                result.append(self._packed(thing, start, row))
        return result

    async def sum_thing(self, start: int, thing: Thing) -> list[PackedRow]:
        """Sum a quarter of one thing from its own rows; nothing where nothing is known."""
        kind, name = thing
        rows = await self._store.packed(
            "ledger", kind, start_seconds=start, end_seconds=start + QUARTER, thing=name
        )
        sums: dict[Thing, Quarter] = {}
        await self._fold(sums, kind, rows, start)
        quarter = sums.get(thing) or _QUARTERS[kind](start)
        row = await self._with_spans(thing, start, quarter)
        return [] if row is None else [self._packed(thing, start, row)]

    async def read_quarter(self, start: int) -> QuarterRows:
        """Read the quarter rows of all things."""
        found = QuarterRows({}, {}, {})
        by_kind: dict[wire.ThingKind, dict[str, Any]] = {
            "node": found.nodes,
            "meter": found.meters,
            "engine": found.engines,
        }
        for kind, into in by_kind.items():
            rows = await self._store.packed(
                "quarter", kind, start_seconds=start, end_seconds=start + 1
            )
            for row in self._mine(rows):
                decoded = self._decoded(_ROWS[kind], row)
                if decoded is not None and row.reader == READER:
                    into[row.thing] = decoded
        return found

    async def _fold(
        self, sums: dict[Thing, Quarter], kind: wire.ThingKind, rows: list[PackedRow], start: int
    ) -> None:
        """Add the rows of one slice; in a thread where they are many."""
        mine = self._mine(rows)
        if len(mine) < _THREAD_ROWS:
            self.unread_rows += _fold_now(sums, kind, mine, start)
        else:
            self.unread_rows += await asyncio.to_thread(_fold_now, sums, kind, mine, start)

    async def _with_spans(
        self, thing: Thing, start: int, quarter: Quarter
    ) -> NodeRow | MeterRow | EngineRow | None:
        kind, name = thing
        rows = await self._store.packed(
            "ledger",
            "span",
            start_seconds=start - _TOLD_BEFORE_SECONDS,
            end_seconds=_FOR_EVER,
            thing=f"{kind}/{name}",
        )
        spans: list[wire.Span] = []
        for row in self._mine(rows):
            decoded = self._decoded(_SPANS, row)
            if decoded is not None:
                spans += [span for span in decoded.spans if _touches(span, start)]
        self.unknown_spans += sum(not is_summed(span) for span in spans)
        devices: DeviceShares = {}
        if kind == "node" and any(span.device is not None for span in spans):
            devices = await self._devices(name, start, spans)
        return _row(quarter, spans, devices)

    async def _devices(self, node: str, start: int, spans: Sequence[wire.Span]) -> DeviceShares:
        """Say of each device its model and holder, by the inventory that the node had then.

        Without one, a register that has only one model and holder on the node says it of all.
        """
        plan = self._index.plan(node, start)
        slots = () if plan is None else plan.slots
        rows = await self._store.packed(
            "quarter", "inventory", start_seconds=0, end_seconds=_FOR_EVER, thing=node
        )
        mine = self._mine(rows)
        before = [row for row in mine if row.start_seconds < start + QUARTER]
        for row in (*before[-1:], *mine[:1]):
            inventory = self._decoded(_INVENTORY, row)
            if inventory is not None:
                return {
                    inventory.devices[column].device: (part.accelerator_model, part.holder)
                    for part in self._index.grouping(node, inventory, start).parts
                    for column in part.columns
                }
        shares = {(slot.accelerator_model, slot.holder) for slot in slots}
        if len(shares) == 1:
            [only] = shares
            return {span.device: only for span in spans if span.device is not None}
        return {s.device: (s.accelerator_model, s.holder) for s in slots if s.device is not None}

    def _mine(self, rows: Iterable[PackedRow]) -> list[PackedRow]:
        return [row for row in rows if row.site == self._index.site]

    def _decoded(self, decoder: msgspec.json.Decoder[Any], row: PackedRow) -> Any:  # noqa: ANN401 - of the decoder's type
        decoded = _decoded(decoder, row)
        self.unread_rows += decoded is None
        return decoded

    def _packed(self, thing: Thing, start: int, row: NodeRow | MeterRow | EngineRow) -> PackedRow:
        kind, name = thing
        return PackedRow("quarter", kind, self._index.site, name, READER, start, pack(row))


def _fold_now(
    sums: dict[Thing, Quarter], kind: wire.ThingKind, rows: Sequence[PackedRow], start: int
) -> int:
    """Add rows to the sums of their things; return how many cannot be read."""
    unread = 0
    by_interval: dict[tuple[str, int], dict[str, Any]] = {}
    for row in rows:
        decoded = _decoded(_ROWS[kind], row)
        if decoded is None:
            unread += 1
        else:
            by_interval.setdefault((row.thing, row.start_seconds), {})[row.reader] = decoded
    touched = set()
    for name, begins in sorted(by_interval):
        quarter: Any = sums.get((kind, name))
        if quarter is None:
            quarter = sums[kind, name] = _QUARTERS[kind](start)
        quarter.add(begins, by_interval[name, begins])
        touched.add(name)
    for name in touched:
        sums[kind, name].compress()
    return unread


def _row(
    quarter: Quarter, spans: Sequence[wire.Span], devices: DeviceShares
) -> NodeRow | MeterRow | EngineRow | None:
    return quarter.row(spans, devices) if isinstance(quarter, NodeQuarter) else quarter.row(spans)


def _touches(span: wire.Span, start: int) -> bool:
    begins, ends = stretch_of(span)
    return begins < (start + QUARTER) * 1000 and start * 1000 < ends


def _decoded(decoder: msgspec.json.Decoder[Any], row: PackedRow) -> Any:  # noqa: ANN401 - of the decoder's type
    try:
        return decoder.decode(row.row)
    except msgspec.MsgspecError:
        return None
