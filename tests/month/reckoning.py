"""What a statement must say, reckoned apart: from the truth and the site's numbers alone.

In decimals of 50 digits, with nothing of the collector's money, KPIs, rollups or settlement.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from typing import Final, NamedTuple

from meterhouse_agent.wire import STATES
from tests.month.bill import Due, dues
from tests.month.physics import ENGINE, TOKENS, Physics, Quarter
from tests.month.scenario import (
    CLUSTERS,
    DEVICES,
    FABRIC,
    FABRIC_PURCHASED,
    HARDWARE,
    INSTALLED,
    INSURANCE_PER_YEAR,
    QUARTER,
    RENT_PER_UNIT_MONTH,
    RENTED,
    SITE,
    SPARE,
    STAFF_PER_MONTH,
    TENANTS,
    USD_AFTER,
    USD_BEFORE,
    VENDOR,
    ZONE,
    Hardware,
    Scenario,
    instant,
    model_of,
    served_by,
)

KINDS: Final = ("capital", "rent", "energy", "demand", "operations", "water", "carbon")
OVERHEAD: Final = ("free", "unhealthy", "unknown")
_YEAR_SECONDS: Final = 365 * 86_400
_CENT: Final = Decimal("0.01")
_DIGITS: Final = 50
# Of what should be known, so much must be.
_FLOOR: Final = Decimal("0.95")


class Group(NamedTuple):
    """The finest group of a statement."""

    site: str = SITE
    cluster: str = "none"
    pool: str = "none"
    tenant: str = "none"
    vendor: str = "none"
    accelerator_model: str = "none"
    served_model: str = "none"


Key = tuple[Group, str, str]
Sums = defaultdict[str, Decimal]
PARTS: Final[dict[str, Callable[[Group], str]]] = {
    "site": lambda group: group.site,
    "cluster": lambda group: group.cluster,
    "pool": lambda group: group.pool,
    "tenant": lambda group: group.tenant,
    "accelerator-model": lambda group: group.accelerator_model,
    "served-model": lambda group: (
        "unattributed" if group.served_model == "none" else group.served_model
    ),
}


def _sums() -> Sums:
    return defaultdict(Decimal)


@dataclass
class Reckoned:
    """Unrounded money by group, kind and state, and quantities by group."""

    money: dict[Key, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    sums: dict[Group, Sums] = field(default_factory=lambda: defaultdict(_sums))
    facility_joules: Decimal = Decimal(0)
    it_joules: Decimal = Decimal(0)
    water_litres: Decimal = Decimal(0)

    @property
    def pue(self) -> Decimal:
        """All that came over all that IT drew."""
        return self.facility_joules / self.it_joules


class _Rates(NamedTuple):
    """Money per device-second by kind, beside each device's own capital; and what waits."""

    by_kind: Mapping[tuple[str, str], Mapping[str, Decimal]]
    waiting: Decimal


def reckon(scenario: Scenario) -> Reckoned:
    """Return what the statement of the whole window must say."""
    with localcontext() as context:
        context.prec = _DIGITS
        quarters = list(Physics(scenario).quarters())
        result = Reckoned()
        rates: dict[date, _Rates] = {}
        for quarter, due in zip(quarters, dues(scenario, quarters), strict=True):
            day = datetime.fromtimestamp(quarter.start, ZONE).date()
            if day not in rates:
                rates[day] = _rates(scenario, quarter)
            _add(scenario, result, quarter, due, rates[day])
        return result


def _add(scenario: Scenario, result: Reckoned, quarter: Quarter, due: Due, rates: _Rates) -> None:
    result.facility_joules += quarter.utility
    result.it_joules += quarter.it
    result.water_litres += quarter.water
    if rates.waiting:
        result.money[Group(), "capital", "unknown"] += rates.waiting * QUARTER
    drawn_in_all = sum(
        (sum(found.drawn.values(), Decimal(0)) for found in quarter.nodes.values()), Decimal(0)
    )
    serving = _Serving()
    for node, found in quarter.nodes.items():
        kinds = dict(rates.by_kind[scenario.pool(node), model_of(node)])
        kinds["capital"] += _own_capital(scenario, node, quarter.start)
        per_second = sum(kinds.values(), Decimal(0))
        for part, group, weight in _placed(scenario, node):
            for state in STATES:
                seconds = weight * found.milliseconds.get((part, state), 0) / 1000
                drawn = weight * found.drawn.get((part, state), Decimal(0))
                result.sums[group][f"{state}_seconds"] += seconds
                result.sums[group]["installed_seconds"] += seconds
                result.sums[group][f"{state}_drawn_joules"] += drawn
                for kind, rate in kinds.items():
                    result.money[group, kind, state] += seconds * rate
                share = drawn / drawn_in_all
                result.money[group, "energy", state] += due.energy * share
                result.money[group, "demand", state] += due.demand * share
                result.money[group, "water", state] += due.water * share
                cost = seconds * per_second + due.total * share
                serving.take(node, (part, state), group, seconds, cost)
    serving.add_to(result, quarter)


def _placed(scenario: Scenario, node: str) -> Iterable[tuple[str, Group, Decimal]]:
    pool = scenario.pool(node)
    group = Group(SITE, CLUSTERS[pool], pool, TENANTS[pool], VENDOR, model_of(node))
    yield "rest", group, Decimal(1)
    if scenario.has_engine(node):
        for model, weight in served_by(node).items():
            yield ENGINE, group._replace(served_model=model), weight


class _Serving:
    """What engines cost with their share of their pool, and what they counted."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Group, tuple[Decimal, Decimal]]] = defaultdict(dict)
        self._pool_held: dict[str, Decimal] = defaultdict(Decimal)
        self._pool_cost: dict[str, Decimal] = defaultdict(Decimal)

    def take(
        self, node: str, where: tuple[str, str], group: Group, seconds: Decimal, cost: Decimal
    ) -> None:
        part, state = where
        if part == ENGINE:
            before = self._held[node].get(group, (Decimal(0), Decimal(0)))
            self._held[node][group] = before[0] + seconds, before[1] + cost
            self._pool_held[group.pool] += seconds
        elif state in OVERHEAD:
            self._pool_cost[group.pool] += cost
        else:
            self._pool_held[group.pool] += seconds

    def add_to(self, result: Reckoned, quarter: Quarter) -> None:
        """Add tokens, and the cost of those engines whose tokens are known."""
        for node, held in self._held.items():
            engine = quarter.engines.get(node)
            for group, (seconds, cost) in held.items():
                result.sums[group]["engine_seconds"] += seconds
                if engine is None:
                    continue
                sums, counted = result.sums[group], engine.counted[group.served_model]
                for name in TOKENS:
                    sums[name] += counted[name]
                share = seconds / self._pool_held[group.pool]
                whole = cost + share * self._pool_cost[group.pool]
                sums["serving_money"] += whole * engine.covered
                sums["engine_covered_seconds"] += seconds * engine.covered
                tokens = counted["input_tokens"] + counted["output_tokens"]
                sums["serving_output_tokens"] += counted["output_tokens"]
                sums["serving_tokens"] += tokens
                sums["serving_computed_tokens"] += tokens - counted["cached_input_tokens"]


def _own_capital(scenario: Scenario, node: str, at: int) -> Decimal:
    if node in RENTED:
        return Decimal(0)
    bought = scenario.first if node == scenario.newcomer else INSTALLED
    return _capital_per_second(HARDWARE[model_of(node)], instant(bought), at)


def _capital_per_second(hardware: Hardware, since: int, at: int) -> Decimal:
    """Return what one costs per second: evenly over its life, interest with it."""
    life = hardware.years * _YEAR_SECONDS
    if not since <= at < since + life:
        return Decimal(0)
    if hardware.interest is None:
        return (hardware.price - hardware.salvage) / life
    interest = hardware.interest
    recovery = interest / (1 - (1 + interest) ** -hardware.years)
    yearly = hardware.price * recovery - hardware.salvage * (recovery - interest)
    return yearly / _YEAR_SECONDS


def _rates(scenario: Scenario, quarter: Quarter) -> _Rates:
    """Return what time costs on the day of a quarter hour, spread over the devices it is for."""
    at = quarter.start
    local = datetime.fromtimestamp(at, ZONE)
    devices: dict[tuple[str, str], int] = defaultdict(int)
    owned: dict[tuple[str, str], int] = defaultdict(int)
    for node in quarter.nodes:
        devices[scenario.pool(node), model_of(node)] += DEVICES
        owned[scenario.pool(node), model_of(node)] += DEVICES * (node not in RENTED)
    everywhere = sum(devices.values())
    spare = sum(count for (pool, _), count in devices.items() if pool == SPARE)
    month = _between(
        (local.year, local.month), (local.year + local.month // 12, local.month % 12 + 1)
    )
    changed = at >= instant(scenario.changed)
    running = STAFF_PER_MONTH / month + FABRIC.support_per_year / _YEAR_SECONDS
    if changed:
        running += INSURANCE_PER_YEAR / _between((local.year, 1), (local.year + 1, 1))
    rent = RENT_PER_UNIT_MONTH * len(RENTED) / month * (USD_AFTER if changed else USD_BEFORE)
    fabric = _capital_per_second(FABRIC, instant(FABRIC_PURCHASED), at)
    rented = any(node in RENTED for node in scenario.names)
    by_kind = {}
    for (pool, model), count in devices.items():
        support = HARDWARE[model].support_per_year * owned[pool, model] / _YEAR_SECONDS
        by_kind[pool, model] = {
            "capital": fabric / everywhere,
            "rent": rent / spare if pool == SPARE and rented else Decimal(0),
            "operations": running / everywhere + support / count,
        }
    waiting = Decimal(0)
    newcomer = HARDWARE[model_of(scenario.newcomer)]
    if not changed:
        waiting = DEVICES * _capital_per_second(newcomer, instant(scenario.first), at)
    return _Rates(by_kind, waiting)


def _between(first: tuple[int, int], after: tuple[int, int]) -> int:
    return instant(date(*after, 1)) - instant(date(*first, 1))


def lines(money: Mapping[Key, Decimal]) -> dict[Key, Decimal]:
    """Round as a statement does: the total, the kinds to it, and the lines of each kind to it."""
    kinds = [kind for kind in KINDS if any(key[1] == kind and m for key, m in money.items())]
    exact = [sum((m for key, m in money.items() if key[1] == kind), Decimal(0)) for kind in kinds]
    whole = sum(exact, Decimal(0)).quantize(_CENT, rounding=ROUND_HALF_UP)
    found: dict[Key, Decimal] = {}
    for kind, total in zip(kinds, _apportioned(exact, whole), strict=True):
        keys = sorted(
            (key for key, m in money.items() if key[1] == kind and m),
            key=lambda key: (key[0], STATES.index(key[2])),
        )
        found |= zip(keys, _apportioned([money[key] for key in keys], total), strict=True)
    return {key: cents for key, cents in found.items() if cents}


def _apportioned(amounts: Sequence[Decimal], total: Decimal) -> list[Decimal]:
    """Round down, then raise those with the largest remainders until the total is there."""
    floors = [amount.quantize(_CENT, rounding=ROUND_FLOOR) for amount in amounts]
    lacking = round((total - sum(floors, Decimal(0))) / _CENT)
    order = sorted(range(len(amounts)), key=lambda at: floors[at] - amounts[at])
    for at in order[:lacking]:
        floors[at] += _CENT
    return floors


def cells(rounded: Mapping[Key, Decimal], by: str) -> dict[tuple[str, str, str], Decimal]:
    """Return lines summed by one part of their groups."""
    found: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
    for (group, kind, state), cents in rounded.items():
        found[PARTS[by](group), kind, state] += cents
    return dict(found)


def grouped(sums: Mapping[Group, Sums], by: str | None) -> dict[str, Sums]:
    """Return quantities summed by one part of their groups, or all as ``total``."""
    found: dict[str, Sums] = defaultdict(_sums)
    for group, mine in sums.items():
        name = "total" if by is None else PARTS[by](group)
        for quantity, amount in mine.items():
            found[name][quantity] += amount
    return found


def figures(sums: Sums) -> dict[str, Decimal | None]:
    """Return the KPIs of some sums; None where too little is known."""
    idle = sums["free_seconds"] + sums["held_idle_seconds"]
    known = idle + sums["active_seconds"]
    available = known + sums["unknown_seconds"]
    found: dict[str, Decimal | None] = {"idle_capacity_ratio": None}
    if available > 0 and known >= _FLOOR * available:
        found["idle_capacity_ratio"] = idle / known
    served = sums["engine_covered_seconds"]
    enough = served > 0 and served >= _FLOOR * sums["engine_seconds"]
    for name, tokens in (
        ("cost_per_million_output_tokens", sums["serving_output_tokens"]),
        ("cost_per_million_tokens", sums["serving_tokens"]),
        ("cost_per_million_computed_tokens", sums["serving_computed_tokens"]),
    ):
        found[name] = 1_000_000 * sums["serving_money"] / tokens if enough and tokens else None
    return found
