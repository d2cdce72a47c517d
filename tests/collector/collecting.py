"""A small site, messages from it, and a store that can be told how to fare."""

import asyncio
import time
from collections.abc import Callable, Sequence

from msgspec.structs import astuple
from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.intake import Grid, Intake
from meterhouse_collector.ledger import Entry
from meterhouse_collector.receipts import Receipts
from meterhouse_collector.rows import PackedRow, Point, Policy, Readings, Row, singles
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store import Rejection, StoreUnavailableError
from meterhouse_collector.telemetry import Telemetry

LENGTH = 5
SITE = """
name = "site-a"
currency = "EUR"
time_zone = "UTC"
[[pool]]
name = "chat"
cluster = "c1"
[[asset]]
nodes = ["node-1", "node-2"]
pool = "chat"
accelerator_model = "h100"
devices = 2
in_service = 2020-01-01
[[meter]]
name = "utility"
role = "boundary"
readers = ["node-1"]
[[engine]]
name = "chat"
served_model = "llama"
devices = ["node-1/gpu-0"]
"""
INVENTORY = wire.Inventory(
    devices=[
        wire.Device(device=f"gpu-{n}", vendor="nvidia", accelerator_model="h100") for n in range(2)
    ]
)


def index(*more: str) -> SiteIndex:
    return SiteIndex(parse_site(SITE + "\n".join(more), "site.toml"))


def now_on_grid() -> int:
    return int(time.time()) // LENGTH * LENGTH - LENGTH


def report(
    node: str = "node-1",
    start: int | None = None,
    *,
    watts: float = 500.0,
    inventory: wire.Inventory = INVENTORY,
    **fields: object,
) -> wire.Report:
    """Build a report of two devices at work, with whatever fields replaced."""
    made = wire.Report(
        schema=wire.SCHEMA,
        site="site-a",
        node=node,
        start_seconds=now_on_grid() if start is None else start,
        length_seconds=LENGTH,
        inventory_hash=wire.inventory_hash(inventory),
        accelerators=wire.Accelerators(
            state_milliseconds={"active": [5000, 5000]},
            state_joules={"active": [watts * LENGTH, watts * LENGTH]},
            power_watts=[watts, watts],
        ),
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def status(
    node: str = "node-1", *, inventory: wire.Inventory = INVENTORY, **fields: object
) -> wire.Status:
    made = wire.Status(
        schema=wire.SCHEMA,
        site="site-a",
        node=node,
        state="online",
        version="0",
        at_seconds=now_on_grid(),
        inventory_hash=wire.inventory_hash(inventory),
        inventory=inventory,
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def topic(kind: str, node: str = "node-1", site: str = "site-a") -> str:
    return wire.topic(site, node, wire.MessageKind(kind))


def say(receipts: Receipts, now: float = 0.0, *, room: int = 1000) -> dict[str, wire.Receipt]:
    """Return the receipts that are due, by node."""
    said: dict[str, wire.Receipt] = {}

    def send(_: str, payload: bytes) -> bool:
        receipt = wire.decode_receipt(payload)
        assert receipt.node not in said
        said[receipt.node] = receipt
        return True

    receipts.say(now, room=room, send=send)
    return said


class Bench:
    """An intake whose entries, rows, receipts and counts can be looked at."""

    def __init__(self, *, detail_every: int = 60, clock: Callable[[], float] = time.time) -> None:
        self.entries: list[Entry] = []
        self.rows: list[Row] = []
        self.receipts = Receipts(length_seconds=LENGTH, every_seconds=30.0)
        self.telemetry = Telemetry(CollectorRegistry())
        self.full = False
        self.intake = Intake(
            index(),
            Grid(LENGTH, detail_every),
            receipts=self.receipts,
            telemetry=self.telemetry,
            accept=self._accept,
            write=self.rows.append,
            clock=clock,
        )

    def _accept(self, entry: Entry) -> bool:
        if not self.full:
            self.entries.append(entry)
        return not self.full

    def hear(self, *messages: wire.Report | wire.Status) -> None:
        """Take messages on their own topics."""
        for message in messages:
            kind = "report" if isinstance(message, wire.Report) else "status"
            where = topic(kind, message.node, message.site)
            self.intake.message(where, wire.encode(message))

    def count(self, name: str, **labels: str) -> float:
        """Return a counter's value, 0 where it was never counted."""
        full = f"meterhouse_collector_{name}_total"
        return self.telemetry.registry.get_sample_value(full, labels) or 0.0

    def refused(self, reason: str, *, final: bool = True) -> float:
        return self.count("refused", reason=reason, final=str(final).lower())

    @property
    def bugs(self) -> float:
        return self.count("bugs", where="intake")


class MemoryStore:
    """Keeps rows by key in memory; it can be down, slow, or refuse rows."""

    def __init__(self) -> None:
        self.packed_rows: dict[tuple[str, ...], PackedRow] = {}
        self.point_rows: dict[tuple[object, ...], Point] = {}
        self.down = self.trouble = ""
        self.slow_seconds = 0.0
        self.refuse: Callable[[Row], str | None] = lambda _: None
        self.writes = 0
        self.gate: asyncio.Event | None = None

    async def open(self) -> None:
        self._check()

    async def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailableError(self.down, trouble=self.trouble)

    async def write(self, rows: Sequence[Row]) -> list[Rejection]:
        self.writes += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.slow_seconds)
        self._check()
        rejections = []
        for position, row in enumerate(rows):
            reason = self.refuse(row)
            if reason is not None:
                rejections.append(Rejection(position, reason, too_old=reason == "too old"))
                continue
            for one in singles(row):
                if isinstance(one, PackedRow):
                    self.packed_rows[*map(str, astuple(one)[:6])] = one
                else:
                    point = one.point() if isinstance(one, Readings) else one
                    key = (point.policy, point.measurement, point.tags, point.start_seconds)
                    self.point_rows[key] = point
        return rejections

    async def packed(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        thing: str | None = None,
    ) -> list[PackedRow]:
        self._check()
        return [
            row
            for row in self.packed_rows.values()
            if (row.policy, row.measurement) == (policy, measurement)
            and start_seconds <= row.start_seconds < end_seconds
            and thing in {None, row.thing}
        ]

    async def points(
        self,
        policy: Policy,
        measurement: str,
        *,
        start_seconds: int,
        end_seconds: int,
        node: str | None = None,
    ) -> list[Point]:
        self._check()
        return [
            row
            for row in self.point_rows.values()
            if (row.policy, row.measurement) == (policy, measurement)
            and start_seconds <= row.start_seconds < end_seconds
            and node in {None, dict(row.tags).get("node")}
        ]

    async def oldest(self, policy: Policy, measurement: str) -> int | None:
        self._check()
        rows: list[PackedRow | Point] = [*self.packed_rows.values(), *self.point_rows.values()]
        wanted = (policy, measurement)
        starts = [row.start_seconds for row in rows if (row.policy, row.measurement) == wanted]
        return min(starts, default=None)
