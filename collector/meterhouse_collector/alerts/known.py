"""What conditions are given: the sums of the last window, and what was followed since the start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from meterhouse_collector.alerts.held import Held
from meterhouse_collector.alerts.state import Labels, Observation, Side, labels
from meterhouse_collector.kpi.compute import Window
from meterhouse_collector.kpi.headroom import PathLimit
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.rollup.pricing import Sums
from meterhouse_collector.rollup.roll_up import add_sums
from meterhouse_collector.site.contracts import Commitment
from meterhouse_collector.site.index import GroupKey
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.sensors import Sensor
from meterhouse_collector.site.targets import Scope, Threshold


class DemandKnown(NamedTuple):
    """The running demand interval of a grid connection; without a mean there is a reason.

    ``projected_watts`` is its mean if the recent power stays.
    """

    connection: str
    contracted_watts: float
    projected_watts: float | None
    known_seconds: float
    elapsed_seconds: float
    reason: str | None = None


class LoadKnown(NamedTuple):
    """A limit, and the load that it is compared with, None where not known.

    ``marginal_ratio`` is what a further watt of IT adds there, None where nobody states it.
    """

    name: str
    limit_watts: float
    load_watts: float | None
    marginal_ratio: float | None


class Silence(NamedTuple):
    """For how long nothing good was heard of a thing; at least so long where it never was."""

    name: str
    seconds: float
    at_least: bool = False


class Lost(NamedTuple):
    """The devices of a node that were unhealthy, None where the node is silent."""

    node: str
    devices: float | None


class Readings(NamedTuple):
    """The worst that the devices of a node showed last, None where nothing recent is known."""

    node: str
    hottest_celsius: float | None = None
    throttled_ratio: float | None = None
    uncorrected_errors: float | None = None


class Fault(NamedTuple):
    """A fault code that calls for hands, and how often a device told it lately."""

    node: str
    device: str
    xid: int
    times: float


class Supply(NamedTuple):
    """A measured piece of the power path: its power now, and its most lately."""

    name: str
    watts: float | None
    most_watts: float | None


class Source(NamedTuple):
    """What gives power where the grid does not: a battery, a UPS or a generator.

    ``full_joules`` is what a full battery holds.
    """

    kind: str
    name: str
    watts: float | None
    full_joules: float | None = None


class SensorKnown(NamedTuple):
    """A sensor of the site model and what it says now, None where that is not known.

    ``alarmed_ratio`` is the share of time in which its contact meant alarm.
    """

    sensor: Sensor
    celsius: float | None = None
    alarmed_ratio: float | None = None


class Own(NamedTuple):
    """How the collector itself fares; ``waiting_seconds`` are what the spools of nodes hold.

    A node that nothing was heard of since the start is not in it.
    """

    store_up: bool = True
    quarters_behind: float = 0.0
    waiting_seconds: Mapping[str, float] = {}


NOTHING_WRONG: Final = Own()


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """What is known of single things; ``open`` are the subjects of the alerts that are open.

    Conditions leave out what is calm and not open: a large site has many things.
    """

    nodes: tuple[Silence, ...] = ()
    meters: tuple[Silence, ...] = ()
    lost: tuple[Lost, ...] = ()
    readings: tuple[Readings, ...] = ()
    faults: tuple[Fault, ...] = ()
    supplies: tuple[Supply, ...] = ()
    sources: tuple[Source, ...] = ()
    cooling: tuple[LoadKnown, ...] = ()
    sensors: tuple[SensorKnown, ...] = ()
    silent_sensors: tuple[Silence, ...] = ()
    pue: Silence | None = None
    own: Own = NOTHING_WRONG
    open: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKnown:
    """What is known after an interval; ``latest`` are the sums of the one that ``held`` is of."""

    at_seconds: float
    model: SiteModel
    window: Window
    groups: Mapping[GroupKey, Sums]
    latest: Mapping[GroupKey, Sums] = field(default_factory=dict)
    latest_seconds: float = 0.0
    held: Mapping[GroupKey, Held] = field(default_factory=dict)
    demand: tuple[DemandKnown, ...] = ()
    loads: tuple[LoadKnown, ...] = ()
    things: Things = Things()

    @property
    def limits(self) -> tuple[PathLimit, ...]:
        """All that bounds IT power: the power path, and cooling on its design day.

        How much IT fits at a limit is not known without its load, nor without what IT adds there.
        """
        return tuple(
            PathLimit(name, limit, None if marginal is None else load, marginal or 1.0)
            for name, limit, load, marginal in (*self.loads, *self.things.cooling)
        )

    @property
    def basis(self) -> EnergyBasis:
        """What the energy of the site is read from."""
        return self.window.basis


class Use(NamedTuple):
    """What was used of a commitment until an instant, in its unit, and what goes on being used.

    ``coverage`` is the part of the time so far that is known; ``per_second`` is the recent rate.
    """

    commitment: Commitment
    committed: Decimal | None
    used: Decimal
    per_second: Decimal | None
    coverage: float
    until_seconds: float
    ends_seconds: float
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarterKnown:
    """What is known once a quarter is summed."""

    at_seconds: float
    model: SiteModel
    uses: tuple[Use, ...] = ()


def scope_labels(site: str, scope: Scope, **subject: str | None) -> Labels:
    """Return the labels of a scope, and of what in it is meant."""
    return labels(site=site, cluster=scope.cluster, pool=scope.pool, tenant=scope.tenant, **subject)


def is_whole(scope: Scope) -> bool:
    """Tell whether a scope is all of its site."""
    return scope.cluster is None and scope.pool is None and scope.tenant is None


def within(scope: Scope, *, cluster: str, pool: str, tenant: str) -> bool:
    """Tell whether a part of the site is in a scope."""
    return (
        scope.cluster in {None, cluster}
        and scope.pool in {None, pool}
        and scope.tenant in {None, tenant}
    )


def scope_sums(groups: Mapping[GroupKey, Sums], scope: Scope) -> Sums:
    """Return the sums of the groups in a scope; the site's own are in no part of it."""
    return add_sums(
        sums
        for group, sums in groups.items()
        if within(scope, cluster=group.cluster, pool=group.pool, tenant=group.tenant)
    )


def observed(
    threshold: Threshold,
    about: Labels,
    value: float | None,
    unit: str,
    *,
    reason: str | None = None,
    low: float | None = None,
    high: float | None = None,
    **evidence: float,
) -> Observation:
    """Return a value held against a threshold."""
    side: Side = "above" if threshold.above is not None else "below"
    return Observation(
        labels=about,
        value=value,
        limit=threshold.above if side == "above" else threshold.below,
        side=side,
        clear=threshold.clear,
        unit=unit,
        reason=reason,
        evidence=evidence,
        low=low,
        high=high,
    )


def calm_level(threshold: Threshold) -> float | None:
    """Return up to which value nothing fires and what fired ends; None where no value is calm."""
    return threshold.above if threshold.clear is None else threshold.clear
