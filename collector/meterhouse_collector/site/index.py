"""The site model compiled into look-ups that are cheap enough for every report and interval."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import inf
from typing import Final
from zoneinfo import ZoneInfo

from meterhouse_agent import wire
from meterhouse_collector.money.bill_lines import NoAmount
from meterhouse_collector.money.currency import convert_currency
from meterhouse_collector.money.energy import JOULES_PER_KWH
from meterhouse_collector.money.unit_prices import live_price_per_kwh
from meterhouse_collector.site.capital import Capital
from meterhouse_collector.site.components import QUARTER_SECONDS
from meterhouse_collector.site.dated import DatedTables
from meterhouse_collector.site.devices import UNREGISTERED, Grouping, match
from meterhouse_collector.site.downtime import SaidOf, said_down
from meterhouse_collector.site.hardware import Hardware
from meterhouse_collector.site.meters import MeterTree
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset, Engine
from meterhouse_collector.site.power import Meter
from meterhouse_collector.site.register import GroupKey, Holding, Placement, Plan, Register
from meterhouse_collector.site.seen import Seen, Word
from meterhouse_collector.site.sensors import Sensor

__all__ = ["GroupKey", "Holding", "Placement", "Plan", "SiteIndex"]

MAX_GROUPINGS: Final = 65_536
NOTHING_IMPORTED: Final[Mapping[str, Decimal]] = {}


class SiteIndex:
    """The look-ups of one site model; build a new one when the model changes."""

    def __init__(self, model: SiteModel) -> None:
        self.model: Final = model
        self.site: Final = model.name
        self.dated: Final = DatedTables(model)
        self.engines: Final[dict[str, Engine]] = {engine.name: engine for engine in model.engine}
        self.meters: Final[dict[str, Meter]] = {meter.name: meter for meter in model.meter}
        self.sensors: Final[dict[str, Sensor]] = {sensor.name: sensor for sensor in model.sensor}
        # What nodes show, for it is what is installed where nobody registered anything.
        self.seen: Final = None if model.asset else Seen(model, self.unregistered_group)
        self._register: Final = Register(model, self.dated)
        self._installed: Final = self.seen or self._register
        self._capital: Final = Capital(model, self.dated)
        self._zone: Final = ZoneInfo(model.time_zone)
        self._tree_changes: Final = tuple(
            sorted({*self.dated.meter.instants, *self.dated.generator.instants})
        )
        self._trees: Final = self._meter_trees()
        ever = self._trees
        self.boundary_meters: Final = _named(t.meter for tree in ever for t in tree.facility)
        self.it_meters: Final = _named(t.meter for tree in ever for t in tree.it)
        self._readers: Final = self._engine_readers()
        self._price: tuple[tuple[int, object], float | None] = ((-1, None), None)
        self._groupings: Final[dict[str, tuple[wire.Inventory, Plan | None, Grouping]]] = {}
        # Thousands of nodes are split alike: each way is kept once.
        self._split: Final[dict[Grouping, Grouping]] = {}

    @property
    def site_group(self) -> GroupKey:
        """The group of what belongs to the site as a whole."""
        return GroupKey(self.site)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that was ever registered; where none is, every one that was seen."""
        return self._installed.nodes

    @property
    def register_changes(self) -> tuple[float, ...]:
        """The instants at which the plan of any registered node changes, in order."""
        return self._register.changes

    def plans_key(self, start_seconds: float) -> tuple[int, int]:
        """Return what stays equal for as long as all plans at an instant do."""
        return self._installed.key(start_seconds)

    def plan(self, node: str, start_seconds: float) -> Plan | None:
        """Return what is installed on a node at an instant, or None where nothing is."""
        return self._installed.plan(node, start_seconds)

    def plans(self, start_seconds: float) -> Mapping[str, Plan]:
        """Return what is installed at an instant on each node that has anything then."""
        return self._installed.plans(start_seconds)

    def learn(self, node: str, words: Iterable[Word]) -> None:
        """Take in what a node showed; a register says what is installed without it."""
        if self.seen is not None:
            self.seen.learn(node, words)

    def said_down(self, start_seconds: int, length_seconds: int) -> SaidOf:
        """Return the nodes that somebody says were down in an interval, and what he says."""
        return said_down(self.model.downtime, start_seconds, length_seconds)

    def grouping(self, node: str, inventory: wire.Inventory, start_seconds: float) -> Grouping:
        """Return how a report with this inventory is split; cheap for the inventory last seen.

        Without a register it is by the inventory alone: what was once seen and is not told any more
        is no part of a row, or no later word could say that it was retired by then.
        """
        known = self._groupings.get(node)
        if known is not None and known[0] is inventory:
            _, plan, grouping = known
            if plan is not None and plan.begins <= start_seconds < plan.ends:
                return grouping
        plan = self._register.plan(node, start_seconds)
        if known is not None and known[0] is inventory and known[1] is plan:
            return known[2]
        grouping = match(plan.slots if plan is not None else (), inventory)
        if len(self._groupings) >= MAX_GROUPINGS:
            self._groupings.clear()
            self._split.clear()
        grouping = self._split.setdefault(grouping, grouping)
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

    def may_read_sensor(self, sensor: str, reader: str) -> bool:
        """Tell whether an agent may speak for a sensor: one of its ``readers``, or any."""
        known = self.sensors.get(sensor)
        return known is None or not known.readers or reader in known.readers

    def shared_meters(self, at_seconds: float) -> tuple[str, ...]:
        """Return the meters of the network and storage in service at an instant, each once."""
        day = self.model.instant
        return tuple(
            dict.fromkeys(
                meter
                for each in self.model.shared_equipment
                if each.meters and day(each.in_service) <= at_seconds
                if each.retired is None or at_seconds < day(each.retired)
                for meter in each.meters
            )
        )

    def metering(self, start_seconds: float) -> MeterTree:
        """Return the tree of meters in force at an instant, with the cuts that are summed."""
        return self._trees[bisect_right(self._tree_changes, start_seconds)]

    def meterings(self, from_seconds: float, to_seconds: float) -> tuple[MeterTree, ...]:
        """Return the trees of meters in force within a window, in their order."""
        first = bisect_right(self._tree_changes, from_seconds)
        return self._trees[first : bisect_left(self._tree_changes, to_seconds) + 1]

    def hardware_of(self, asset: Asset) -> Hardware | None:
        """Return the price that an asset was purchased at, or None where none was in force."""
        return self._capital.hardware(asset)

    def price_per_joule(
        self, start_seconds: float, month_kwh: Mapping[str, Decimal] = NOTHING_IMPORTED
    ) -> float | None:
        """Return what a joule of import costs at an instant, or None where that is not known.

        It is the sum of the tariffs in force, which may each be a part: energy, network, levies. A
        tariff with tiers needs its import of the month so far.
        """
        asked = int(start_seconds // QUARTER_SECONDS), month_kwh
        if self._price[0] != asked:
            found = self._joule_price(asked[0] * QUARTER_SECONDS, month_kwh)
            self._price = (asked, None if isinstance(found, NoAmount) else found)
        return self._price[1]

    def why_no_price(
        self, start_seconds: float, month_kwh: Mapping[str, Decimal] = NOTHING_IMPORTED
    ) -> str | None:
        """Say why it is not known what a joule costs, None where it is."""
        quarter = int(start_seconds // QUARTER_SECONDS) * QUARTER_SECONDS
        found = self._joule_price(quarter, month_kwh)
        return found.reason if isinstance(found, NoAmount) else None

    def _joule_price(
        self, quarter_seconds: int, month_kwh: Mapping[str, Decimal]
    ) -> float | NoAmount:
        at, zone = quarter_seconds, self._zone
        parts = [
            (live_price_per_kwh(t.components, at, zone, month_kwh.get(t.name)), t.currency)
            for t in self.dated.tariff.at(at).values()
        ]
        parts += [
            (colocation.per_kwh, colocation.currency)
            for colocation in self.dated.colocation.at(quarter_seconds).values()
            if colocation.per_kwh is not None
        ]
        day, total = self.model.day(quarter_seconds), Decimal(0)
        for amount, currency in parts:
            if isinstance(amount, NoAmount):
                return amount
            currencies = (currency or self.model.currency, self.model.currency)
            money = convert_currency(amount, currencies, day, self.model.exchange_rate)
            if money.amount is None:
                return NoAmount(money.reason or "no rate of exchange is known")
            total += money.amount
        if not parts:
            return NoAmount("no tariff and no colocation with a price per kWh is in force")
        return float(total) / JOULES_PER_KWH

    def _meter_trees(self) -> tuple[MeterTree, ...]:
        trees = []
        for at_seconds in (-inf, *self._tree_changes):
            generators = self.dated.generator.at(at_seconds).values()
            by_fuel = {m for g in generators if g.counted == "fuel" for m in g.meters}
            meters = self.dated.meter.at(at_seconds).values()
            trees.append(MeterTree(meters, frozenset(by_fuel)))
        return tuple(trees)

    def _engine_readers(self) -> dict[str, frozenset[str]]:
        return {
            name: frozenset(
                reader
                for engine in self.dated.engine[name]
                for reader in engine.readers or (d.partition("/")[0] for d in engine.devices)
            )
            for name in self.engines
        }


def _named(meters: Iterable[Meter]) -> tuple[Meter, ...]:
    return tuple({meter.name: meter for meter in meters}.values())
