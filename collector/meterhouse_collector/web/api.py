"""Builds the answer of /api/live from what is known live, at most once per change."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from meterhouse_collector import __version__
from meterhouse_collector.intake import Agent
from meterhouse_collector.kpi.compute import Window, kpis, lacks
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.live import Live, Snapshot
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.rows import NOBODY
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.web.document import (
    Document,
    Group,
    Groups,
    Kpi,
    Power,
    Span,
    Tokens,
    kpi_of,
)
from meterhouse_collector.web.figures import money_of, power_of, states_of, tokens_of
from meterhouse_collector.web.health import agents_of
from meterhouse_collector.web.history import Past

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
        clock: Callable[[], float] = time.time,
    ) -> None:
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
        return Document(
            site=self._index.site,
            version=__version__,
            at_seconds=now,
            interval_seconds=live.pace.length_seconds,
            grace_seconds=live.pace.grace_seconds,
            window=None if snapshot is None else Span(snapshot.start_seconds, snapshot.end_seconds),
            kpis=_kpis(snapshot, window),
            states=None if sums is None else states_of(sums),
            installed=None if sums is None else sums["installed_seconds"],
            power=Power(reason=NOTHING_YET) if sums is None else power_of(sums),
            tokens=Tokens(reason=NOTHING_YET) if sums is None else tokens_of(sums),
            money=None if sums is None else money_of(sums, window.currency),
            pools=_pools(groups, window),
            served_models=_models(groups, window),
            agents=agents_of(self._agents, self._index, live.pace, now),
            history=self._past.history(live.intervals(), live.window()),
        )


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


def _models(groups: Mapping[GroupKey, Sums], window: Window) -> Groups:
    members: dict[str, list[Sums]] = defaultdict(list)
    for key, sums in groups.items():
        if key.served_model != NOBODY:
            members[key.served_model].append(sums)
    return _largest(
        _group(add_sums(parts), _OF_MODELS, window, name=name) for name, parts in members.items()
    )


def _group(
    sums: Sums,
    names: Iterable[str],
    window: Window,
    *,
    name: str,
    cluster: str = "",
    tenant: str = "",
) -> Group:
    values = kpis(sums, window=window)
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
