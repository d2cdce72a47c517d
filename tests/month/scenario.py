"""One site and what happens on it: the numbers of which both the collector and the test know.

The collector gets them as a site file and as reports; the reckoning takes them from here.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from meterhouse_agent.simulation.fleet import Fault, FleetSpec

SITE: Final = "month"
ZONE: Final = ZoneInfo("Europe/Berlin")
STEP: Final = 60
QUARTER: Final = 900
NODES: Final = 64
DEVICES: Final = 8
ENGINE_DEVICES: Final = 4
H100, B200 = "sim-h100", "sim-b200"
VENDOR: Final = "simulated"
# The fleet's day is none of ours, so that no two of ours are the same.
FLEET_DAY_SECONDS: Final = 23_400
SERVED: Final = ("sim-70b", "sim-8b")
# This engine serves both models; the counts of the simulator are split between them.
SHARED_NODE: Final = "sim-004"
SHARED: Final = {"sim-70b": Decimal("0.25"), "sim-8b": Decimal("0.75")}
SHARED_PARTS: Final = 4
TENANT_POOL, POOL, SPARE = "acme", "chat", "spare"
CLUSTERS: Final = {POOL: "hall-1", TENANT_POOL: "hall-2", SPARE: "hall-2"}
TENANTS: Final = {POOL: "none", TENANT_POOL: "acme", SPARE: "none"}
RENTED: Final = ("sim-060", "sim-061", "sim-062", "sim-063")
INSTALLED: Final = date(2025, 1, 1)


class Hardware(NamedTuple):
    price: Decimal
    salvage: Decimal
    years: int
    interest: Decimal | None
    support_per_year: Decimal


HARDWARE: Final = {
    H100: Hardware(Decimal("31000.50"), Decimal(2000), 5, None, Decimal(310)),
    B200: Hardware(Decimal(48000), Decimal(3000), 5, Decimal("0.08"), Decimal(0)),
}
FABRIC: Final = Hardware(Decimal(180000), Decimal(0), 6, None, Decimal(3650))
FABRIC_PURCHASED: Final = date(2024, 12, 1)
STAFF_PER_MONTH: Final = Decimal("42000.10")
INSURANCE_PER_YEAR: Final = Decimal(12000)
RENT_PER_UNIT_MONTH: Final = Decimal(3900)
USD_BEFORE, USD_AFTER = Decimal("0.92"), Decimal("0.87")
FLAT_BEFORE, FLAT_AFTER = Decimal("0.0213"), Decimal("0.0241")
FIXED_PER_MONTH: Final = Decimal("1200.50")
SERIES_LEVY_PER_CENT: Final = Decimal(5)
PEAK_HOURS_PER_KWH, OFF_HOURS_PER_KWH = Decimal("0.031"), Decimal("0.011")
PEAK_HOURS: Final = (7, 22)
TIERS: Final = ((Decimal(5000), Decimal("0.004")), (Decimal(90000), Decimal("0.002")))
LAST_TIER: Final = Decimal("0.0005")
DEMAND_PER_KW: Final = Decimal("9.50")
DEMAND_HOURS: Final = (8, 20)
NETWORK_LEVY_PER_CENT: Final = Decimal("2.5")
WATER_PER_CUBIC_METRE: Final = Decimal("2.10")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A stretch of local days, how many nodes, and how long what goes wrong lasts.

    From ``changed`` on there is another rate and price, a node more and insurance; from
    ``retired`` on a node less.
    """

    first: date
    days: int
    changed: date
    retired: date
    nodes: int = NODES
    silent_seconds: int = 3 * 3600
    hours: float | None = None

    @cached_property
    def begins(self) -> int:
        """The start of the window in Unix seconds."""
        return instant(self.first)

    @cached_property
    def ends(self) -> int:
        """The end of the window: a midnight, unless hours are given."""
        if self.hours is not None:
            return self.begins + round(self.hours * 3600)
        return instant(self.first + timedelta(days=self.days))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(f"sim-{index:03d}" for index in range(self.nodes))

    def pool(self, node: str) -> str:
        """Return the pool of a node."""
        place = int(node[4:]) * 64 // self.nodes
        return POOL if place < 40 else TENANT_POOL if place < 56 else SPARE

    def has_engine(self, node: str) -> bool:
        """Tell whether the site has an engine on a node; the spare ones wait for nobody."""
        return self.pool(node) != SPARE

    @cached_property
    def newcomer(self) -> str:
        """The node that is in service from ``changed`` on."""
        return [name for name in self.names if self.pool(name) == POOL][-1]

    @cached_property
    def leaver(self) -> str:
        """The node that is there until ``retired``."""
        return [name for name in self.names if self.pool(name) == TENANT_POOL][-1]

    def registered(self, node: str, at: int) -> bool:
        """Tell whether a node is in service at an instant."""
        if node == self.newcomer:
            return at >= instant(self.changed)
        return node != self.leaver or at < instant(self.retired)

    def faults(self) -> "Faults":
        """Return what goes wrong; every stretch is on the grid, and hardly one on a quarter."""
        length, at = self.silent_seconds, self.begins + self.silent_seconds // 3 // STEP * STEP
        pick = self.names
        few = self.nodes < NODES

        def stretch(place: int, seconds: int) -> tuple[int, int]:
            begins = at + place * 7 * STEP
            return begins, begins + seconds // STEP * STEP

        return Faults(
            silent={pick[-1 if few else 10]: stretch(1, length)},
            restarted={} if few else {pick[17]: stretch(2, 2400), pick[41]: stretch(5, 1380)},
            lost=(pick[0 if few else 22], "d2", *stretch(3, length // 2)),
            contradicting=None if few else (pick[58], "d6", *stretch(4, 3000)),
            meter_silent=stretch(6, 3000),
        )

    def spec(self, *, faulty: bool) -> FleetSpec:
        """Return the simulated fleet, with what is seen wrong on it or without."""
        found = self.faults()
        named: tuple[Fault, ...] = ()
        if faulty:
            named = (
                _fault("lost", *found.lost),
                *(
                    ()
                    if found.contradicting is None
                    else (_fault("contradict", *found.contradicting),)
                ),
                _fault("meter_silent", "facility", "utility", *found.meter_silent),
            )
        return FleetSpec(
            seed=2025,
            nodes=self.nodes,
            devices_per_node=DEVICES,
            engine_devices=ENGINE_DEVICES,
            served_models=SERVED,
            period_seconds=FLEET_DAY_SECONDS,
            origin_seconds=self.begins - 7200,
            faults=named,
        )


class Faults(NamedTuple):
    """What goes wrong: by node or device, from when until when.

    ``silent`` nodes come back without knowing where their counters stood, ``restarted`` agents do.
    """

    silent: dict[str, tuple[int, int]]
    restarted: dict[str, tuple[int, int]]
    lost: tuple[str, str, int, int]
    contradicting: tuple[str, str, int, int] | None
    meter_silent: tuple[int, int]


def _fault(kind: str, node: str, device: str, begins: int, ends: int) -> Fault:
    return Fault.model_validate(
        {"kind": kind, "node": node, "device": device, "from_seconds": begins, "to_seconds": ends}
    )


def instant(day: date) -> int:
    """Return the local midnight at which a day begins."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZONE).timestamp())


def model_of(node: str) -> str:
    """Return the accelerator model of a node."""
    return B200 if int(node[4:]) % 3 == 2 else H100


def served_by(node: str) -> dict[str, Decimal]:
    """Return what a node's engine serves, with weights."""
    if node == SHARED_NODE:
        return SHARED
    return {SERVED[int(node[4:]) % len(SERVED)]: Decimal(1)}


def spot_price(begins: int) -> Decimal:
    """Return the market's price of an hour; some are negative."""
    return Decimal((begins // 3600 * 37) % 251 - 20) / 1000
