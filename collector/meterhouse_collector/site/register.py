"""The asset register compiled: what each node holds between two dates, for whom, at what price.

The register is a step function of time: between two dates a node's plan does not change, and an
interval follows the plan in force at its start.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterhouse_collector.rows import NOBODY
from meterhouse_collector.site.capital import Capital
from meterhouse_collector.site.dated import DatedTables
from meterhouse_collector.site.devices import ENGINE_PREFIX, Slot, hold
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset, Engine, Pool

TENANT_PREFIX: Final = "tenant:"


class GroupKey(NamedTuple):
    """The finest group of a rollup; ``none`` stands where a part does not apply."""

    site: str
    cluster: str = NOBODY
    pool: str = NOBODY
    tenant: str = NOBODY
    vendor: str = NOBODY
    accelerator_model: str = NOBODY
    served_model: str = NOBODY


class Placement(NamedTuple):
    """The group that a part of a holding belongs to, and the engine that holds it, or ``""``."""

    group: GroupKey
    engine: str
    weight: float


class Holding(NamedTuple):
    """Registered devices of a node with one model and holder; ``None`` money has no price."""

    accelerator_model: str
    holder: str
    devices: int
    placements: tuple[Placement, ...]
    capital_per_second: float | None
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the register says of one node from one instant until another."""

    begins: float
    ends: float
    slots: tuple[Slot, ...]
    holdings: dict[tuple[str, str], Holding]


@dataclass(slots=True)
class _Node:
    assets: tuple[Asset, ...]
    engines: tuple[str, ...]
    instants: list[float] = field(default_factory=list)
    plans: dict[int, Plan] = field(default_factory=dict)


class Register:
    """The plans of all nodes; each is compiled when it is first asked for."""

    def __init__(self, model: SiteModel, dated: DatedTables) -> None:
        self._site: Final = model.name
        self._instant: Final = model.instant
        self._dated: Final = dated
        self._capital: Final = Capital(model, dated)
        self._vendors: Final = {h.accelerator_model: h.vendor for h in model.hardware}
        self._nodes: Final = self._by_node(model)
        self.changes: Final = tuple(
            sorted({t for node in self._nodes.values() for t in node.instants})
        )
        self._planned: tuple[int, dict[str, Plan]] = (-1, {})
        # Thousands of nodes have the same placements: each is kept once. Those that no engine holds
        # have whole plans in common, by their assets and the time.
        self._placed: Final[dict[tuple[Placement, ...], tuple[Placement, ...]]] = {}
        self._plans: Final[dict[tuple[tuple[int, ...], float, float], Plan]] = {}

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that was ever registered."""
        return tuple(self._nodes)

    def key(self, start_seconds: float) -> tuple[int, int]:
        """Return what stays equal for as long as all plans at an instant do."""
        return 0, bisect_right(self.changes, start_seconds)

    def plan(self, name: str, start_seconds: float) -> Plan | None:
        """Return what is registered on a node at an instant, or None where nothing is."""
        node = self._nodes.get(name)
        if node is None:
            return None
        position = bisect_right(node.instants, start_seconds)
        plan = node.plans.get(position)
        if plan is None:
            plan = node.plans[position] = self._compile(name, node, position)
        return plan if plan.slots else None

    def plans(self, start_seconds: float) -> Mapping[str, Plan]:
        """Return what is registered at an instant on each node that has anything then."""
        position = bisect_right(self.changes, start_seconds)
        known, plans = self._planned
        if known != position:
            found = ((name, self.plan(name, start_seconds)) for name in self._nodes)
            plans = {name: plan for name, plan in found if plan is not None}
            self._planned = (position, plans)
        return plans

    def _by_node(self, model: SiteModel) -> dict[str, _Node]:
        assets: dict[str, list[Asset]] = {}
        for asset in model.asset:
            for name in asset.on_nodes:
                assets.setdefault(name, []).append(asset)
        engines: dict[str, dict[str, None]] = {}
        for engine in model.engine:
            for text in engine.devices:
                engines.setdefault(text.partition("/")[0], {})[engine.name] = None
        # Many nodes have the same assets: their instants are found once.
        instants = {id(asset): tuple(self._asset_instants(asset)) for asset in model.asset}
        nodes: dict[str, _Node] = {}
        # So is all the rest of nodes without engines: their plans are kept once.
        alike: dict[tuple[int, ...], _Node] = {}
        for name, entries in assets.items():
            key = tuple(map(id, entries))
            if name not in engines and key in alike:
                nodes[name] = alike[key]
                continue
            node = nodes[name] = _Node(tuple(entries), tuple(engines.get(name, ())))
            known = {t for asset in entries for t in instants[id(asset)]}
            known.update(t for held in node.engines for t in self._dated.engine.changes(held))
            node.instants = sorted(known)
            if name not in engines:
                alike[key] = node
        return nodes

    def _asset_instants(self, asset: Asset) -> Iterator[float]:
        yield self._instant(asset.in_service)
        if asset.retired is not None:
            yield self._instant(asset.retired)
        ends = self._capital.ends(asset)
        if ends is not None:
            yield ends
        yield from self._dated.pool.changes(asset.pool)

    def _compile(self, name: str, node: _Node, position: int) -> Plan:
        begins = node.instants[position - 1] if position > 0 else float("-inf")
        ends = node.instants[position] if position < len(node.instants) else float("inf")
        held = self._held(name, node, begins)
        alike = (tuple(map(id, node.assets)), begins, ends)
        if not held and alike in self._plans:
            return self._plans[alike]
        found = [slot for asset in node.assets for slot in self._slots(asset, begins)]
        slots = tuple(hold(found, held))
        members: dict[tuple[str, str], list[Slot]] = {}
        for slot in slots:
            members.setdefault((slot.accelerator_model, slot.holder), []).append(slot)
        holdings = {key: self._holding(key, tuple(group), begins) for key, group in members.items()}
        plan = Plan(begins, ends, slots, holdings)
        if not held:
            self._plans[alike] = plan
        return plan

    def _held(self, name: str, node: _Node, at_seconds: float) -> dict[str, str]:
        held = {}
        for engine in self._engines(node.engines, at_seconds):
            for text in engine.devices:
                on, _, device = text.partition("/")
                if on == name:
                    held[device] = engine.name
        return held

    def _engines(self, names: tuple[str, ...], at_seconds: float) -> Iterator[Engine]:
        for name in names:
            engine = self._dated.engine.get(name, at_seconds)
            if engine is not None:
                yield engine

    def _slots(self, asset: Asset, at_seconds: float) -> Iterator[Slot]:
        if at_seconds < self._instant(asset.in_service):
            return
        if asset.retired is not None and at_seconds >= self._instant(asset.retired):
            return
        tenant = self._pool(asset.pool, at_seconds).tenant
        rate = self._capital.per_second(asset, at_seconds)
        named = isinstance(asset.devices, tuple)
        names = asset.devices if isinstance(asset.devices, tuple) else range(asset.devices)
        for device in names:
            yield Slot(
                device=str(device) if named else None,
                accelerator_model=asset.accelerator_model,
                pool=asset.pool,
                holder=NOBODY if tenant == NOBODY else TENANT_PREFIX + tenant,
                capital_per_second=rate,
                asset=asset,
            )

    def _pool(self, name: str, at_seconds: float) -> Pool:
        pool = self._dated.pool.get(name, at_seconds)
        if pool is None:
            raise LookupError(f"no pool {name!r} at {at_seconds:g}, which the checks exclude")
        return pool

    def _holding(self, key: tuple[str, str], slots: tuple[Slot, ...], at_seconds: float) -> Holding:
        rates = [slot.capital_per_second for slot in slots if slot.capital_per_second is not None]
        accelerator_model, holder = key
        found = tuple(self._placements(accelerator_model, holder, slots, at_seconds))
        return Holding(
            accelerator_model=accelerator_model,
            holder=holder,
            devices=len(slots),
            placements=self._placed.setdefault(found, found),
            capital_per_second=sum(rates) / len(slots) if len(rates) == len(slots) else None,
            slots=slots,
        )

    def _placements(
        self, accelerator_model: str, holder: str, slots: tuple[Slot, ...], at_seconds: float
    ) -> Iterator[Placement]:
        # A ledger row does not say the pool, so devices of one node, model and holder that are in
        # two pools share what was measured by their number.
        name = holder.removeprefix(ENGINE_PREFIX) if holder.startswith(ENGINE_PREFIX) else ""
        engine = self._dated.engine.get(name, at_seconds)
        weights = {NOBODY: 1.0} if engine is None else engine.weights
        vendor = self._vendors.get(accelerator_model, NOBODY)
        for pool_name, count in Counter(slot.pool for slot in slots).items():
            pool = self._pool(pool_name, at_seconds)
            for served_model, weight in weights.items():
                group = GroupKey(
                    self._site,
                    pool.cluster,
                    pool_name,
                    pool.tenant,
                    vendor,
                    accelerator_model,
                    served_model,
                )
                yield Placement(group, name, count / len(slots) * weight)
