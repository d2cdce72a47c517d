"""Messages in, ledger entries out: what is taken, what is refused, and why."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

from meterhouse_agent import wire
from meterhouse_collector.agents import Agent, Alike
from meterhouse_collector.bounds import ImplausibleError, check_report, check_tags
from meterhouse_collector.installed import installed_row
from meterhouse_collector.ledger import (
    Entry,
    ForeignError,
    Installed,
    entry_of,
    installed,
    inventory_row,
)
from meterhouse_collector.quota import Names, QuotaError, Rate, names_in, names_of
from meterhouse_collector.receipts import Address, Receipts
from meterhouse_collector.rows import POLICY_DAYS, Row, Series
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.telemetry import Telemetry

_LOG: Final = logging.getLogger(__name__)
_FUTURE_SECONDS: Final = 60
_DAY_SECONDS: Final = 86_400
_INVENTORIES_PER_NODE: Final = 8
_NODES_MAX: Final = 200_000
_TOPICS_KEPT: Final = 65_536
_STARTS_KEPT: Final = 1_024
_TELL_AGAIN_SECONDS: Final = 3600.0
# What cannot be decoded may still say which report it was; agents write the start near the front.
_START: Final = re.compile(rb'"start_seconds"\s*:\s*(\d{1,12})[\s,}]')
_HEAD_BYTES: Final = 4096
_STRANGERS: Final = "unknown topics"
_NO_DEVICES: Final = Installed(wire.Inventory(), Series((), ()))


class Grid(NamedTuple):
    """The site's grid, and how often the detail of each node's devices is written."""

    length_seconds: int
    detail_every_seconds: int

    def is_turn_of(self, node: str, start_seconds: int) -> bool:
        """Tell whether an interval is that of a node's detail: each has as many nodes as any.

        All at once would keep a database busy for seconds, once a minute.
        """
        turns = self.detail_every_seconds // self.length_seconds
        if turns == 1:
            return True
        return (start_seconds // self.length_seconds - crc32(node.encode())) % turns == 0


class _Refused(Exception):  # noqa: N818 - an answer, not a failure
    def __init__(self, reason: str, *, final: bool, text: str = "") -> None:
        super().__init__(text or reason)
        self.reason = reason
        self.final = final


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
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._grid = grid
        self._receipts = receipts
        self._telemetry = telemetry
        self._accept = accept
        self._write = write
        self._clock = clock
        self._told: dict[str, dict[str, float]] = {}
        self._refusing: set[str] = set()
        self._names = Names(index)
        self._rate = Rate()
        # By the topic of their reports; it has the name that all that is kept of a node refers to.
        self._reporters: dict[str, Address] = {}
        self._alike = Alike()
        self._starts: dict[int, int] = {}
        self.agents: dict[str, Agent] = {}
        receipts.set_aside = self._note_set_aside
        # What hears of each report that was accepted, with its inventory.
        self.seen: Callable[[wire.Report, wire.Inventory], None] = lambda _, __: None

    def message(self, topic: str, payload: bytes) -> None:
        """Take one message; never raises, for one bad message must not silence the others."""
        whom = self._reporters.get(topic)
        try:
            if whom is None:
                whom = self._other(topic, payload)
            if whom is not None:
                self._report(whom, payload)
        except wire.WireError as error:
            self._count("topic", final=True, who=_STRANGERS, text=str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends here
            self._telemetry.bug("intake")
            if whom is not None:
                # Not for good: another version may take it, and until then its agent keeps it.
                self._refuse(whom, payload, _Refused("bug", final=False, text=repr(error)))

    def _other(self, topic: str, payload: bytes) -> Address | None:
        """Return who reports on a topic that is new; take any other message than a report."""
        address = wire.parse_topic(topic)
        agent = self.agents.get(address.node)
        node = address.node if agent is None else agent.node
        if address.kind is wire.MessageKind.REPORT:
            if len(self._reporters) >= _TOPICS_KEPT:
                self._reporters.clear()
            site = self._index.site if address.site == self._index.site else address.site
            whom = self._reporters[topic] = Address(site, node)
            return whom
        if address.kind is wire.MessageKind.STATUS:
            self._status(Address(address.site, node), payload)
        else:
            self._count("topic", final=True, who=_STRANGERS, text=f"no business here: {topic}")
        return None

    def _report(self, whom: Address, payload: bytes) -> None:
        now = self._clock()
        try:
            report = self._decoded(whom, payload, now)
            agent = self.agents.get(whom.node)
            has = self._inventory_of(report, whom, agent)
            entry = self._entry(report, has, detail=self._detail_is_due(report, now))
        except _Refused as refusal:
            self._refuse(whom, payload, refusal)
            return
        self._receipts.waiting(whom, report.waiting, report.waiting_since_seconds)
        seen = self._index.seen
        words = seen.news(report.node, report.start_seconds, has.inventory) if seen else ()
        if words:
            # With the report, so that its receipt says of both that they are kept.
            entry.rows.append(installed_row(report.site, report.node, int(now), words))
        if not self._accept(entry):
            self._telemetry.dropped.labels("intake_full").inc()
            return
        if words:
            self._index.learn(report.node, words)
        self.seen(report, has.inventory)
        if agent is not None:
            agent.report_seconds, agent.waiting = now, report.waiting
            if report.inventory_hash != agent.inventory_hash:
                self._note_inventory(agent, report)
        self._telemetry.taken.note(max(0.0, now - report.start_seconds - report.length_seconds))
        if self._refusing and whom.node in self._refusing:
            self._refusing.discard(whom.node)
            _LOG.info("%s: reports are taken again", whom.node)

    def _detail_is_due(self, report: wire.Report, now: float) -> bool:
        if not self._grid.is_turn_of(report.node, report.start_seconds):
            return False
        return report.start_seconds > now - POLICY_DAYS["detail"] * _DAY_SECONDS

    def _decoded(self, address: Address, payload: bytes, now: float) -> wire.Report:
        if address.site != self._index.site:
            raise _Refused("foreign", final=True, text=f"site {address.site} is not collected here")
        if not self._rate.allows(address.node, len(payload)):
            raise _Refused("rate", final=False, text="more reports than are looked at")
        if len(payload) > wire.MAX_PAYLOAD_BYTES:
            raise _Refused("oversized", final=True, text=f"{len(payload)} bytes")
        try:
            report = wire.decode_report(payload)
        except wire.NewerSchemaError as error:
            raise _Refused("schema", final=False, text=str(error)) from None
        except wire.WireError as error:
            raise _Refused("malformed", final=True, text=str(error)) from None
        if (report.site, report.node) != (address.site, address.node):
            text = f"says it is {report.site!r}/{report.node!r}"
            raise _Refused("foreign", final=True, text=text)
        # What is made of a report is held for minutes: it refers to one name and one start.
        report.site, report.node = address
        report.start_seconds = self._start(report.start_seconds)
        self._check_time(report, now)
        self._check_content(report)
        return report

    def _start(self, seconds: int) -> int:
        found = self._starts.get(seconds)
        if found is None:
            if len(self._starts) >= _STARTS_KEPT:
                self._starts.clear()
            found = self._starts[seconds] = seconds
        return found

    def _check_content(self, report: wire.Report) -> None:
        try:
            check_report(report)
            if report.meters or report.engines or report.spans or report.sensors:
                check_tags(engine.served_model for engine in report.engines)
                self._names.take(report.node, names_in(report))
        except ImplausibleError as error:
            raise _Refused("implausible", final=True, text=str(error)) from None
        except QuotaError as error:
            raise _Refused("quota", final=False, text=str(error)) from None
        except ValueError as error:
            raise _Refused("malformed", final=True, text=str(error)) from None

    def _check_time(self, report: wire.Report, now: float) -> None:
        length = self._grid.length_seconds
        if report.length_seconds != length or report.start_seconds % length:
            text = (
                f"interval of {report.length_seconds} s at {report.start_seconds}: "
                f"this site's grid is {length} s"
            )
            raise _Refused("off_grid", final=True, text=text)
        if report.start_seconds > now + _FUTURE_SECONDS:
            ahead = report.start_seconds - now
            raise _Refused("future", final=False, text=f"{ahead:.0f} s ahead of this clock")
        if report.start_seconds < now - POLICY_DAYS["ledger"] * _DAY_SECONDS:
            raise _Refused("too_old", final=True)

    def _inventory_of(self, report: wire.Report, whom: Address, agent: Agent | None) -> Installed:
        found = None if agent is None else agent.inventories.get(report.inventory_hash)
        if found is not None:
            return found
        if report.accelerators is None:
            return _NO_DEVICES
        self._receipts.want_inventory(whom, report.inventory_hash)
        raise _Refused("unknown_inventory", final=False)

    def _entry(self, report: wire.Report, has: Installed, *, detail: bool) -> Entry:
        try:
            return entry_of(report, has, self._index, detail=detail)
        except ForeignError as error:
            raise _Refused("foreign", final=True, text=str(error)) from None
        except ValueError as error:
            raise _Refused("malformed", final=True, text=str(error)) from None

    def _refuse(self, whom: Address, payload: bytes, refusal: _Refused) -> None:
        if self._count(refusal.reason, final=refusal.final, who=whom.node, text=str(refusal)):
            self._refusing.add(whom.node)
        if whom.site != self._index.site:
            return
        start = _START.search(payload[:_HEAD_BYTES])
        if start is not None:
            self._receipts.refused(whom, int(start[1]), refusal.reason, final=refusal.final)

    def _note_set_aside(self, whom: Address, reason: str) -> None:
        agent = self.agents.get(whom.node)
        if agent is not None and whom.site == self._index.site:
            agent.set_aside[reason] = agent.set_aside.get(reason, 0) + 1

    def _note_inventory(self, agent: Agent, report: wire.Report) -> None:
        """Write what a node has from a report on, where that is news; a backlog brings old news."""
        name, start = report.inventory_hash, report.start_seconds
        has = agent.inventories.get(name)
        if has is None:
            return
        if start >= agent.since_seconds:
            # The one that is kept already, not the report's.
            agent.inventory_hash = next(each for each in agent.inventories if each == name)
            agent.since_seconds = start
        elif name in agent.noted:
            return
        agent.noted = (*agent.noted[1 - _INVENTORIES_PER_NODE :], name)
        self._write(inventory_row(report.site, report.node, start, has.inventory))

    def _status(self, address: Address, payload: bytes) -> None:
        if not self._rate.allows(address.node, len(payload)):
            self._count("status_rate", final=False, who=address.node)
            return
        try:
            status = wire.decode_status(payload)
        except wire.WireError as error:
            self._count("status_malformed", final=True, who=address.node, text=str(error))
            return
        if (status.site, status.node) != (address.site, address.node):
            self._count("status_foreign", final=True, who=address.node)
            return
        if status.site != self._index.site:
            text = f"site {status.site} is not collected here"
            self._count("status_foreign", final=True, who=address.node, text=text)
            return
        node = address.node
        agent = self.agents.get(node)
        if agent is None:
            if len(self.agents) >= _NODES_MAX:
                self._count("status_quota", final=False, who=address.node)
                return
            agent = self.agents[node] = Agent(node)
        agent.hear(status, self._clock())
        if status.inventory is not None:
            self._learn(agent, status, status.inventory)

    def _learn(self, agent: Agent, status: wire.Status, inventory: wire.Inventory) -> None:
        name = wire.inventory_hash(inventory)
        if name != status.inventory_hash:
            self._count("status_malformed", final=True, who=status.node, text="inventory's hash")
            return
        if name not in agent.inventories and self._may_learn(agent.node, inventory):
            found = installed(self._index.site, agent.node, self._alike.inventory(inventory))
            agent.inventories[name] = found
        if name in agent.inventories:
            # The last that was told of stands at the end.
            agent.inventories[name] = agent.inventories.pop(name)
        while len(agent.inventories) > _INVENTORIES_PER_NODE:
            del agent.inventories[next(iter(agent.inventories))]

    def _may_learn(self, node: str, inventory: wire.Inventory) -> bool:
        names = tuple(names_of(inventory))
        try:
            check_tags(name for _, name in names)
            self._names.take(node, names)
        except QuotaError as error:
            self._count("status_quota", final=False, who=node, text=str(error))
        except ValueError as error:
            self._count("status_malformed", final=True, who=node, text=str(error))
        else:
            return True
        return False

    def _count(self, reason: str, *, final: bool, who: str, text: str = "") -> bool:
        """Count a refusal, and log it once an hour for each agent and reason; tell whether."""
        self._telemetry.refused.labels(reason, str(final).lower()).inc()
        told = self._told.get(who)
        if told is None:
            if len(self._told) >= _NODES_MAX:
                return False
            told = self._told[who] = {}
        now = time.monotonic()
        if now - told.get(reason, float("-inf")) < _TELL_AGAIN_SECONDS:
            return False
        told[reason] = now
        _LOG.warning("%s: refused, %s: %s", who, reason, text or reason)
        return True
