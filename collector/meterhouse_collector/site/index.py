"""The site model compiled into look-ups that are cheap enough for every report and interval.

The register is a step function of time: between two dates a node's plan does not change, and an
interval follows the plan in force at its start.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.money.capital import straight_line_per_second
from meterhouse_collector.money.energy import JOULES_PER_KWH
from meterhouse_collector.rows import NOBODY
from meterhouse_collector.site.devices import (
    ENGINE_PREFIX,
    UNREGISTERED,
    Grouping,
    Slot,
    hold,
    match,
)
from meterhouse_collector.site.hardware import Hardware
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset, Engine, Pool
from meterhouse_collector.site.power import Meter

TENANT_PREFIX: Final = "tenant:"
MAX_GROUPINGS: Final = 65_536


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


@dataclass(frozen=True, slots=True)
class Plan:
    """What the register says of one node from one instant until another."""

    begins: float
    ends: float
    slots: tuple[Slot, ...]
    holdings: dict[tuple[str, str], Holding]


@dataclass(slots=True)
class _Register:
    assets: tuple[Asset, ...]
    instants: list[float]
    plans: dict[int, Plan] = field(default_factory=dict)


class SiteIndex:
    """The look-ups of one site model; build a new one when the model changes."""

    def __init__(self, model: SiteModel) -> None:
        self.model: Final = model
        self.site: Final = model.name
        self.engines: Final[dict[str, Engine]] = {engine.name: engine for engine in model.engine}
        self.meters: Final[dict[str, Meter]] = {meter.name: meter for meter in model.meter}
        self.boundary_meters: Final = tuple(m for m in model.meter if m.role == "boundary")
        self.it_meters: Final = tuple(m for m in model.meter if m.role == "it")
        self._hardware: Final[dict[str, Hardware]] = {
            h.accelerator_model: h for h in model.hardware
        }
        self._pools: Final[dict[str, Pool]] = {pool.name: pool for pool in model.pool}
        self._engine_devices: Final = self._engines_by_node()
        self._registers: Final = self._registers_by_node()
        self._changes: Final = sorted({t for r in self._registers.values() for t in r.instants})
        self._planned: tuple[int, dict[str, Plan]] = (-1, {})
        self._readers: Final = self._engine_readers()
        self._tariffs: Final = self._tariff_steps()
        self._groupings: Final[dict[str, tuple[wire.Inventory, Plan | None, Grouping]]] = {}

    @property
    def site_group(self) -> GroupKey:
        """The group of what belongs to the site as a whole."""
        return GroupKey(self.site)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that was ever registered."""
        return tuple(self._registers)

    def plan(self, node: str, start_seconds: float) -> Plan | None:
        """Return what is registered on a node at an instant, or None where nothing is."""
        register = self._registers.get(node)
        if register is None:
            return None
        position = bisect_right(register.instants, start_seconds)
        plan = register.plans.get(position)
        if plan is None:
            plan = register.plans[position] = self._compile(node, register, position)
        return plan if plan.slots else None

    def plans(self, start_seconds: float) -> Mapping[str, Plan]:
        """Return what is registered at an instant on each node that has anything then."""
        position = bisect_right(self._changes, start_seconds)
        known, plans = self._planned
        if known != position:
            found = ((node, self.plan(node, start_seconds)) for node in self._registers)
            plans = {node: plan for node, plan in found if plan is not None}
            self._planned = (position, plans)
        return plans

    def grouping(self, node: str, inventory: wire.Inventory, start_seconds: float) -> Grouping:
        """Return how a report with this inventory is split; cheap for the inventory last seen."""
        plan = self.plan(node, start_seconds)
        known = self._groupings.get(node)
        if known is not None and known[0] is inventory and known[1] is plan:
            return known[2]
        grouping = match(plan.slots if plan is not None else (), inventory)
        if len(self._groupings) >= MAX_GROUPINGS:
            self._groupings.clear()
        self._groupings[node] = (inventory, plan, grouping)
        return grouping

    def unregistered_group(self, accelerator_model: str) -> GroupKey:
        """Return the group of devices that telemetry shows and the register lacks."""
        return GroupKey(self.site, pool=UNREGISTERED, accelerator_model=accelerator_model)

    def may_read(self, kind: wire.ThingKind, thing: str, reader: str) -> bool:
        """Tell whether an agent may speak for a thing.

        A node is read by the agent of its own name only. A meter is read by its ``readers``, an
        engine by its ``readers`` or the agents of its nodes; where the model names neither, by any.
        """
        if kind == "node":
            return thing == reader
        if kind == "meter":
            meter = self.meters.get(thing)
            return meter is None or not meter.readers or reader in meter.readers
        readers = self._readers.get(thing)
        return readers is None or reader in readers

    def price_per_joule(self, start_seconds: float) -> float | None:
        """Return the tariff in force at an instant, or None where there is none."""
        for begins, ends, price in self._tariffs:
            if begins <= start_seconds < ends:
                return price
        return None

    def _tariff_steps(self) -> tuple[tuple[float, float, float], ...]:
        flat = (tariff for tariff in self.model.tariff if tariff.per_kwh is not None)
        tariffs = sorted(flat, key=lambda tariff: tariff.valid_from)
        begins = [self.model.instant(tariff.valid_from) for tariff in tariffs]
        steps = []
        for position, tariff in enumerate(tariffs):
            ends = begins[position + 1] if position + 1 < len(begins) else float("inf")
            if tariff.valid_to is not None:
                ends = self.model.instant(tariff.valid_to)
            steps.append((begins[position], ends, float(tariff.per_kwh or 0) / JOULES_PER_KWH))
        return tuple(steps)

    def _engines_by_node(self) -> dict[str, dict[str, str]]:
        devices: dict[str, dict[str, str]] = {}
        for engine in self.model.engine:
            for text in engine.devices:
                node, _, device = text.partition("/")
                devices.setdefault(node, {})[device] = engine.name
        return devices

    def _engine_readers(self) -> dict[str, frozenset[str]]:
        return {
            engine.name: frozenset(
                engine.readers or (text.partition("/")[0] for text in engine.devices)
            )
            for engine in self.model.engine
        }

    def _registers_by_node(self) -> dict[str, _Register]:
        assets: dict[str, list[Asset]] = {}
        for asset in self.model.asset:
            for node in asset.on_nodes:
                assets.setdefault(node, []).append(asset)
        return {
            node: _Register(tuple(entries), sorted({t for a in entries for t in self._instants(a)}))
            for node, entries in assets.items()
        }

    def _instants(self, asset: Asset) -> Iterator[float]:
        begins = self.model.instant(asset.in_service)
        yield begins
        if asset.retired is not None:
            yield self.model.instant(asset.retired)
        hardware = self._hardware.get(asset.accelerator_model)
        if hardware is not None:
            yield begins + hardware.life

    def _compile(self, node: str, register: _Register, position: int) -> Plan:
        instants = register.instants
        begins = instants[position - 1] if position > 0 else float("-inf")
        ends = instants[position] if position < len(instants) else float("inf")
        slots = [slot for asset in register.assets for slot in self._slots(asset, begins)]
        held = self._engine_devices.get(node, {})
        slots = hold(slots, held)
        members: dict[tuple[str, str], list[Slot]] = {}
        for slot in slots:
            members.setdefault((slot.accelerator_model, slot.holder), []).append(slot)
        holdings = {key: self._holding(*key, tuple(group)) for key, group in members.items()}
        return Plan(begins, ends, tuple(slots), holdings)

    def _slots(self, asset: Asset, at_seconds: float) -> Iterator[Slot]:
        begins = self.model.instant(asset.in_service)
        if at_seconds < begins:
            return
        if asset.retired is not None and at_seconds >= self.model.instant(asset.retired):
            return
        tenant = self._pools[asset.pool].tenant
        hardware = self._hardware.get(asset.accelerator_model)
        rate = None
        if hardware is not None:
            price, salvage = float(hardware.price_per_device), float(hardware.salvage_per_device)
            in_life = at_seconds < begins + hardware.life
            rate = straight_line_per_second(price, salvage, hardware.life) if in_life else 0.0
        named = isinstance(asset.devices, tuple)
        names = asset.devices if isinstance(asset.devices, tuple) else range(asset.devices)
        for device in names:
            yield Slot(
                device=str(device) if named else None,
                accelerator_model=asset.accelerator_model,
                pool=asset.pool,
                holder=NOBODY if tenant == NOBODY else TENANT_PREFIX + tenant,
                capital_per_second=rate,
            )

    def _holding(self, accelerator_model: str, holder: str, slots: tuple[Slot, ...]) -> Holding:
        rates = [slot.capital_per_second for slot in slots if slot.capital_per_second is not None]
        return Holding(
            accelerator_model=accelerator_model,
            holder=holder,
            devices=len(slots),
            placements=self._placements(accelerator_model, holder, slots),
            capital_per_second=sum(rates) / len(slots) if len(rates) == len(slots) else None,
        )

    def _placements(
        self, accelerator_model: str, holder: str, slots: tuple[Slot, ...]
    ) -> tuple[Placement, ...]:
        # A ledger row does not say the pool, so devices of one node, model and holder that are in
        # two pools share what was measured by their number.
        engine = holder.removeprefix(ENGINE_PREFIX) if holder.startswith(ENGINE_PREFIX) else ""
        weights = self.engines[engine].weights if engine else {NOBODY: 1.0}
        hardware = self._hardware.get(accelerator_model)
        vendor = NOBODY if hardware is None else hardware.vendor
        placements = []
        for name, count in Counter(slot.pool for slot in slots).items():
            pool = self._pools[name]
            for served_model, weight in weights.items():
                group = GroupKey(
                    self.site,
                    pool.cluster,
                    name,
                    pool.tenant,
                    vendor,
                    accelerator_model,
                    served_model,
                )
                placements.append(Placement(group, engine, count / len(slots) * weight))
        return tuple(placements)
