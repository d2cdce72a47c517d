"""What conditions are given in tests: sums set by hand, thresholds by their TOML."""

from collections.abc import Iterable, Mapping

from meterhouse_collector.alerts.held import Held
from meterhouse_collector.alerts.known import DemandKnown, LiveKnown, LoadKnown, Things
from meterhouse_collector.alerts.state import Observation, beyond, cleared
from meterhouse_collector.kpi.compute import Window
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.pricing import Sums, zero_sums
from meterhouse_collector.site.index import GroupKey, SiteIndex
from meterhouse_collector.site.targets import Scope, Threshold
from tests.collector.collecting import index

SITE = GroupKey("site-a")
CHAT = GroupKey("site-a", "c1", "chat")
BATCH = GroupKey("site-a", "c1", "batch")
WINDOW_SECONDS = 300.0


def threshold(kind: str, *, scope: Scope | None = None, **fields: object) -> Threshold:
    table = {"name": "watch", "kind": kind, "scope": scope or Scope(), **fields}
    return Threshold.model_validate(table)


def sums(**fields: float) -> Sums:
    unknown = fields.keys() - zero_sums().keys()
    assert not unknown
    return {**zero_sums(), **fields}


def devices(seconds: float = WINDOW_SECONDS, **counts: int) -> Sums:
    """Return the sums of so many devices in each state, all the time."""
    made = {f"{state}_seconds": count * seconds for state, count in counts.items()}
    return sums(**made, installed_seconds=sum(counts.values()) * seconds)


def known(
    groups: Mapping[GroupKey, Sums],
    *,
    of: SiteIndex | None = None,
    held: Mapping[GroupKey, Held] | None = None,
    demand: Iterable[DemandKnown] = (),
    loads: Iterable[LoadKnown] = (),
    battery_unmetered: bool = False,
    things: Things | None = None,
) -> LiveKnown:
    site = of or index()
    return LiveKnown(
        at_seconds=1e9,
        model=site.model,
        window=Window(
            seconds=WINDOW_SECONDS,
            basis=energy_basis(site)._replace(battery_unmetered=battery_unmetered),
            currency="EUR",
        ),
        groups=groups,
        latest=groups,
        latest_seconds=WINDOW_SECONDS,
        held=held or {},
        demand=tuple(demand),
        loads=tuple(loads),
        things=things or Things(),
    )


def one(observations: list[Observation]) -> Observation:
    [observation] = observations
    return observation


def verdict(observation: Observation) -> str:
    """Return what an alert does with an observation."""
    if observation.value is None:
        assert observation.reason
    is_beyond, is_cleared = beyond(observation), cleared(observation)
    return {True: "fires", False: "clears" if is_cleared else "keeps", None: "unknown"}[is_beyond]
