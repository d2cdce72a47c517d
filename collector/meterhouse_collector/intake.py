"""Messages in, ledger entries out: what is taken, what is refused, and why."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.ledger import Entry, ForeignError, Writing, entry_of, inventory_row
from meterhouse_collector.receipts import Address, Receipts
from meterhouse_collector.rows import POLICY_DAYS, Row
from meterhouse_collector.site_index import SiteIndex
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_FUTURE_SECONDS: Final = 60
_DAY_SECONDS: Final = 86_400
_INVENTORIES_PER_NODE: Final = 8
_NODES_MAX: Final = 200_000


class Grid(NamedTuple):
    """The site's grid, and what depends on an interval's age."""

    length_seconds: int
    detail_every_seconds: int
    late_after_seconds: int


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    def __init__(self, reason: str, *, final: bool, text: str = "") -> None:
        super().__init__(text or reason)
        self.reason = reason
        self.final = final


class _Start(msgspec.Struct):
    start_seconds: int


_START: Final = msgspec.json.Decoder(_Start)


class Agent:
    """What is known of one agent: its inventories by hash, its last word, and its last report."""

    __slots__ = ("inventories", "report_seconds", "status", "status_seconds", "waiting")

    def __init__(self) -> None:
        self.inventories: OrderedDict[str, wire.Inventory] = OrderedDict()
        self.status: wire.Status | None = None
        self.status_seconds = 0.0
        self.report_seconds = 0.0
        self.waiting = 0


class Intake:
    """Takes messages one by one; what it accepts goes to ``accept``, what it refuses is said."""

    def __init__(
        self,
        index: SiteIndex,
        grid: Grid,
        *,
        receipts: Receipts,
        telemetry: Telemetry,
        accept: Callable[[Entry], bool],
        write: Callable[[Row], None],
    ) -> None:
        self._index = index
        self._grid = grid
        self._receipts = receipts
        self._telemetry = telemetry
        self._accept = accept
        self._write = write
        self._told: set[tuple[str, str]] = set()
        self.agents: dict[str, Agent] = {}

    def message(self, topic: str, payload: bytes) -> None:
        """Take one message; never raises for what a stranger may send."""
        try:
            address = wire.parse_topic(topic)
        except wire.WireError as error:
            self._count("topic", final=True, who=topic[:80], text=str(error))
            return
        if address.kind is wire.MessageKind.REPORT:
            self._report(address, payload)
        elif address.kind is wire.MessageKind.STATUS:
            self._status(address, payload)

    def _report(self, address: wire.Address, payload: bytes) -> None:
        whom = Address(address.site, address.node)
        try:
            report = self._decoded(address, payload)
            inventory = self._inventory_of(report, whom)
            now = time.time()
            writing = Writing(
                late_before_seconds=int(now) - self._grid.late_after_seconds,
                detail=report.start_seconds % self._grid.detail_every_seconds == 0,
            )
            entry = self._entry(report, inventory, writing)
        except _Refused as refusal:
            self._refuse(whom, payload, refusal)
            return
        self._receipts.waiting(whom, report.waiting)
        agent = self.agents.get(report.node)
        if agent is not None:
            agent.report_seconds, agent.waiting = now, report.waiting
        if not self._accept(entry):
            self._telemetry.dropped.labels("intake_full").inc()
            return
        self._telemetry.reports.inc()
        self._telemetry.lateness.observe(
            max(0.0, now - report.start_seconds - report.length_seconds)
        )

    def _decoded(self, address: wire.Address, payload: bytes) -> wire.Report:
        if address.site != self._index.site:
            raise _Refused("foreign", final=True, text=f"site {address.site} is not collected here")
        if len(payload) > wire.MAX_PAYLOAD_BYTES:
            raise _Refused("oversized", final=True, text=f"{len(payload)} bytes")
        try:
            report = wire.decode_report(payload)
        except wire.NewerSchemaError as error:
            raise _Refused("schema", final=False, text=str(error)) from None
        except wire.WireError as error:
            raise _Refused("malformed", final=True, text=str(error)) from None
        if (report.site, report.node) != (address.site, address.node):
            text = f"says it is {report.site}/{report.node}"
            raise _Refused("foreign", final=True, text=text)
        self._check_time(report)
        return report

    def _check_time(self, report: wire.Report) -> None:
        length = self._grid.length_seconds
        if report.length_seconds != length or report.start_seconds % length:
            text = (
                f"interval of {report.length_seconds} s at {report.start_seconds}: "
                f"this site's grid is {length} s"
            )
            raise _Refused("off_grid", final=True, text=text)
        now = time.time()
        if report.start_seconds > now + _FUTURE_SECONDS:
            ahead = report.start_seconds - now
            raise _Refused("future", final=False, text=f"{ahead:.0f} s ahead of this clock")
        if report.start_seconds < now - POLICY_DAYS["ledger"] * _DAY_SECONDS:
            raise _Refused("too_old", final=True)

    def _inventory_of(self, report: wire.Report, whom: Address) -> wire.Inventory:
        agent = self.agents.get(report.node)
        found = None if agent is None else agent.inventories.get(report.inventory_hash)
        if found is not None:
            return found
        if report.accelerators is None:
            return wire.Inventory()
        self._receipts.want_inventory(whom, report.inventory_hash)
        raise _Refused("unknown_inventory", final=False)

    def _entry(self, report: wire.Report, inventory: wire.Inventory, writing: Writing) -> Entry:
        try:
            return entry_of(report, inventory, self._index, writing)
        except ForeignError as error:
            raise _Refused("foreign", final=True, text=str(error)) from None
        except ValueError as error:
            raise _Refused("malformed", final=True, text=str(error)) from None

    def _refuse(self, whom: Address, payload: bytes, refusal: _Refused) -> None:
        self._count(refusal.reason, final=refusal.final, who=whom.node, text=str(refusal))
        if whom.site != self._index.site:
            return
        try:
            start = _START.decode(payload).start_seconds
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return
        self._receipts.refused(whom, start, refusal.reason, final=refusal.final)

    def _status(self, address: wire.Address, payload: bytes) -> None:
        try:
            status = wire.decode_status(payload)
        except wire.WireError as error:
            self._count("status_malformed", final=True, who=address.node, text=str(error))
            return
        if (status.site, status.node) != (address.site, address.node):
            self._count("status_foreign", final=True, who=address.node)
            return
        if status.site != self._index.site:
            return
        agent = self.agents.get(status.node)
        if agent is None:
            if len(self.agents) >= _NODES_MAX:
                self._count("status_quota", final=False, who=address.node)
                return
            agent = self.agents[status.node] = Agent()
        agent.status, agent.status_seconds = status, time.time()
        if status.inventory is not None:
            self._learn(agent, status, status.inventory)

    def _learn(self, agent: Agent, status: wire.Status, inventory: wire.Inventory) -> None:
        name = wire.inventory_hash(inventory)
        if name != status.inventory_hash:
            self._count("status_malformed", final=True, who=status.node, text="inventory's hash")
            return
        if name in agent.inventories:
            return
        agent.inventories[name] = inventory
        while len(agent.inventories) > _INVENTORIES_PER_NODE:
            agent.inventories.popitem(last=False)
        self._write(inventory_row(status.site, status.node, status.at_seconds, inventory))

    def _count(self, reason: str, *, final: bool, who: str, text: str = "") -> None:
        self._telemetry.refused.labels(reason, str(final).lower()).inc()
        if (who, reason) not in self._told and len(self._told) < _NODES_MAX:
            # Once for each agent and reason: what is refused is counted, a log would drown in it.
            self._told.add((who, reason))
            _LOG.warning("%s: refused, %s: %s", who, reason, text or reason)
