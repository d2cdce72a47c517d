"""Builds the answer of /api/live from what is known live, at most once per change."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

import msgspec

from meterhouse_collector import __version__
from meterhouse_collector.agents import Agent
from meterhouse_collector.alerts.book import Book
from meterhouse_collector.kpi.compute import Window, kpis, lacks
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.live import Live, Snapshot
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rows import NOBODY
from meterhouse_collector.settlement.figures import declared_models, said_to_be_declared
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.store import Store
from meterhouse_collector.web.alert_list import alerts_of
from meterhouse_collector.web.document import (
    Document,
    Group,
    Groups,
    History,
    Kpi,
    Power,
    Span,
    Tokens,
    kpi_of,
)
from meterhouse_collector.web.figures import money_of, power_of, states_of, tokens_of
from meterhouse_collector.web.fleet import Cells, Fleet
from meterhouse_collector.web.flows import Level, Path, levels_of, path_of
from meterhouse_collector.web.health import agents_of
from meterhouse_collector.web.history import Past, last_of
from meterhouse_collector.web.long_windows import LongWindows
from meterhouse_collector.web.node import node_detail
from meterhouse_collector.web.nodes import Nodes, node_views
from meterhouse_collector.web.stored import StoredPast

NOTHING_YET: Final = "no interval is over yet"
GROUPS_MAX: Final = 100
_OF_POOLS: Final = ("idle_capacity_ratio", "cost_per_million_output_tokens")
_OF_MODELS: Final = ("cost_per_million_output_tokens", "cost_per_million_tokens")
_ENCODER: Final = msgspec.json.Encoder()


class Answers:
    """Answers what is known now; the same bytes for everybody until something changes."""

    def __init__(
        self,
        live: Live,
        agents: Mapping[str, Agent],
        index: SiteIndex,
        *,
        book: Book | None = None,
        store: Store | None = None,
        long_windows: LongWindows | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.fleet: Final = Fleet(index)
        self._long_windows = long_windows
        self._book = book
        self._store = store
        self._stored = None if store is None else StoredPast(store, live, index.site, clock=clock)
        self._live = live
        self._agents = agents
        self._index = index
        self._clock = clock
        self._past = Past()
        self._built: tuple[int, bytes] | None = None

    @property
    def site(self) -> str:
        """The name of the site."""
        return self._index.site

    def snapshot(self) -> Snapshot | None:
        """Return the KPIs over the last window."""
        return self._live.snapshot()

    def newest(self) -> int | None:
        """Return the start of the last interval that is over, or None before there is one."""
        return self._live.newest()

    def encoded(self) -> bytes:
        """Return the answer as JSON."""
        revision = self._live.revision
        if self._built is None or self._built[0] != revision:
            self._built = revision, _ENCODER.encode(self.document())
        return self._built[1]

    def document(self) -> Document:
        """Return the answer."""
        live, now = self._live, self._clock()
        window, snapshot = live.window(), live.snapshot()
        sums = None if snapshot is None else snapshot.sums
        groups = {} if snapshot is None else snapshot.groups
        if snapshot is not None:
            window = window._replace(seconds=float(snapshot.end_seconds - snapshot.start_seconds))
        # Before the levels: with the cells comes how active their devices were.
        cells = self._cells(now)
        return Document(
            site=self._index.site,
            version=__version__,
            at_seconds=now,
            interval_seconds=live.pace.length_seconds,
            grace_seconds=live.pace.grace_seconds,
            window_seconds=live.pace.window_seconds,
            window=None if snapshot is None else Span(snapshot.start_seconds, snapshot.end_seconds),
            kpis=_kpis(snapshot, window),
            states=None if sums is None else states_of(sums),
            installed=None if sums is None else sums["installed_seconds"],
            power=Power(reason=NOTHING_YET) if sums is None else power_of(sums),
            tokens=Tokens(reason=NOTHING_YET) if sums is None else tokens_of(sums),
            money=None if sums is None else money_of(sums, window.currency),
            pools=_pools(groups, window),
            served_models=_models(groups, window, self._declared(snapshot)),
            agents=agents_of(self._agents, self._index, live.pace, now),
            alerts=alerts_of(self._book),
            levels=() if sums is None else self._levels(sums, snapshot),
            path=Path(reason=NOTHING_YET) if sums is None else path_of(sums, groups),
            cells=cells,
            latest=last_of(self._window_history()),
        )

    def _declared(self, snapshot: Snapshot | None) -> tuple[str, ...]:
        if snapshot is None:
            return ()
        return declared_models(self._index, (snapshot.start_seconds, snapshot.end_seconds))

    def _levels(self, sums: Sums, snapshot: Snapshot | None) -> tuple[Level, ...]:
        activity = None
        if snapshot is not None:
            activity = self.fleet.activity(snapshot.start_seconds, snapshot.end_seconds)
        contracted = "contract that buys capacity" in self._live.window().basis.has
        return levels_of(sums, contracted=contracted, activity=activity)

    def _cells(self, now: float) -> Cells | None:
        newest = self._live.newest()
        return None if newest is None else self.fleet.cells(newest, now)

    def _window_history(self) -> History:
        return self._past.history(self._live.intervals(), self._live.window())

    async def history(self, span: str) -> bytes:
        """Return the history of the live ``window``, or of one of ``SPANS``, as JSON.

        Raises ``KeyError`` for any other word, ``StoreUnavailableError`` where it cannot be read.
        """
        if span == "window":
            return _ENCODER.encode(self._window_history())
        if self._stored is None:
            raise KeyError(span)
        return _ENCODER.encode(await self._stored.history(span))

    async def windows(self) -> bytes:
        """Return the KPIs of the windows that are read from the store, as JSON.

        Raises ``StoreUnavailableError`` where they cannot be read.
        """
        return b"{}" if self._long_windows is None else await self._long_windows.encoded()

    def formulas(self) -> bytes:
        """Return what each KPI of this site means as JSON, by its name."""
        window = self._live.window()
        shown = [kpi for kpi in LIVE_KPIS if lacks(kpi.name, window) is None]
        return _ENCODER.encode({kpi.name: kpi.formula for kpi in shown})

    def layout(self) -> bytes:
        """Return every cell of the map as JSON."""
        return _ENCODER.encode(self.fleet.layout(self._clock()))

    def nodes(self) -> bytes:
        """Return the nodes of the last interval as JSON."""
        newest = self._live.newest()
        rows = None if newest is None else self._live.rows(newest)
        if newest is None or rows is None:
            return _ENCODER.encode(Nodes(currency=self._index.model.currency))
        length = self._live.pace.length_seconds
        (groups,) = self._live.rolled(newest, newest + length) or [{}]
        return _ENCODER.encode(
            Nodes(
                currency=self._index.model.currency,
                start_seconds=newest,
                length_seconds=length,
                list=node_views(rows, groups, self._index),
            )
        )

    async def node(self, name: str) -> bytes | None:
        """Return one node as JSON, or None where the map has none of that name.

        Raises ``StoreUnavailableError`` where its past cannot be read.
        """
        now = self._clock()
        found = await node_detail(self.fleet, self._store, self._index.site, name, now)
        return None if found is None else _ENCODER.encode(found)


def _kpis(snapshot: Snapshot | None, window: Window) -> dict[str, Kpi]:
    if snapshot is None:
        return {
            kpi.name: Kpi(unit=kpi.unit, label=kpi.name, reason=NOTHING_YET)
            for kpi in LIVE_KPIS
            if lacks(kpi.name, window) is None
        }
    return {name: kpi_of(value) for name, value in snapshot.kpis.items()}


def _pools(groups: Mapping[GroupKey, Sums], window: Window) -> Groups:
    members: dict[tuple[str, str, str], list[Sums]] = defaultdict(list)
    for key, sums in groups.items():
        if sums["installed_seconds"] > 0:
            members[key.pool, key.cluster, key.tenant].append(sums)
    return _largest(
        _group(add_sums(parts), _OF_POOLS, window, name=pool, cluster=cluster, tenant=tenant)
        for (pool, cluster, tenant), parts in members.items()
    )


def _models(
    groups: Mapping[GroupKey, Sums], window: Window, declared: Collection[str] = ()
) -> Groups:
    members: dict[str, list[Sums]] = defaultdict(list)
    for key, sums in groups.items():
        if key.served_model != NOBODY:
            members[key.served_model].append(sums)
    return _largest(
        _group(add_sums(parts), _OF_MODELS, window, name=name, is_declared=name in declared)
        for name, parts in members.items()
    )


def _group(
    sums: Sums,
    names: Iterable[str],
    window: Window,
    *,
    name: str,
    cluster: str = "",
    tenant: str = "",
    is_declared: bool = False,
) -> Group:
    values = kpis(sums, window=window)
    if is_declared:
        values = {each.name: each for each in said_to_be_declared(values.values())}
    return Group(
        name=name,
        cluster=cluster,
        tenant=tenant,
        states=states_of(sums),
        installed=sums["installed_seconds"],
        output_tokens=sums["output_tokens"],
        kpis={each: kpi_of(values[each]) for each in names},
    )


def _largest(groups: Iterable[Group]) -> Groups:
    found = sorted(groups, key=lambda group: (-group.installed, group.name))
    return Groups(list=found[:GROUPS_MAX], left_out=max(0, len(found) - GROUPS_MAX))
