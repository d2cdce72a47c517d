"""The matrix of cost: kind x group, a group being a state or a state of one tenant and model.

Capital, rent and operations go by device-seconds; energy, demand, water and carbon by the joules
measured in each state. All parts sum to the bill exactly (``definitions.md``, A matrix).
"""

from collections.abc import Hashable, Mapping, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Final, Generic, NamedTuple, TypeVar

from meterhouse_agent import wire
from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.money.exact import QUANTUM, Number, amount, precise, signed, total
from meterhouse_collector.money.kinds import KINDS, SECONDS_KINDS
from meterhouse_collector.money.rounding import largest_remainder

K = TypeVar("K", bound=Hashable)
UNATTRIBUTED: Final = "unattributed"


class CostMatrix(NamedTuple, Generic[K]):
    """Money by kind and group; what no group had a weight for is ``unattributed``, by kind."""

    cells: dict[tuple[str, K], Decimal]
    unattributed: dict[str, Decimal]

    @property
    def total_money(self) -> Decimal:
        """The whole bill."""
        return total((*self.cells.values(), *self.unattributed.values()))


class NodeJoules(NamedTuple):
    """The joules of a node by state; ``rest_joules`` is what its devices did not show.

    Below zero the devices say more than the node drew: one of them is wrong, and nothing is spread.
    """

    state_joules: dict[str, Decimal]
    rest_joules: Decimal
    reason: str | None = None


class PoolCost(NamedTuple):
    """What a pool costs by itself, and with its share of the pools that serve nobody."""

    pool_money: Decimal
    loaded_money: Decimal


class LoadedCost(NamedTuple):
    """The serving pools; without any, the rest is ``unattributed_money``."""

    pools: dict[str, PoolCost]
    unattributed_money: Decimal


@precise
def allocate(amount_money: Number, weights: Mapping[K, Number]) -> dict[K, Decimal]:
    """Split an amount by weights; the parts sum to the amount exactly.

    The rest of the division goes to the largest weight, the first of equals. A credit is split like
    a cost. Raise ``ValueError`` where an amount other than zero meets no weight at all.
    """
    money = signed("amount_money", amount_money)
    checked = {key: amount(f"weight of {key}", weight) for key, weight in weights.items()}
    whole = total(checked.values())
    if whole == 0:
        if money != 0:
            raise ValueError(f"{money} has nothing to be split by: all weights are zero")
        return dict.fromkeys(checked, Decimal(0))
    quantum = _quantum(money)
    parts = {
        key: (money * (weight / whole)).quantize(quantum, rounding=ROUND_DOWN)
        for key, weight in checked.items()
    }
    largest = max(checked, key=lambda key: checked[key])
    rest = total((money, *(-part for part in parts.values())))
    parts[largest] = total((parts[largest], rest))
    return parts


@precise
def cost_matrix(
    *,
    kind_money: Mapping[str, Number],
    group_seconds: Mapping[K, Number],
    group_joules: Mapping[K, Number],
) -> CostMatrix[K]:
    """Split the bill of each kind over groups, by device-seconds or by measured joules.

    A kind that is not billed is left out, and is not a cost of zero. ``definitions.md``, A matrix.
    Raise ``ValueError`` for an unknown kind.
    """
    cells: dict[tuple[str, K], Decimal] = {}
    unattributed: dict[str, Decimal] = {}
    for kind, money in kind_money.items():
        if kind not in KINDS:
            raise ValueError(f"{kind} is no kind of cost: one of {', '.join(KINDS)}")
        weights = group_seconds if kind in SECONDS_KINDS else group_joules
        if any(amount(f"weight of {key}", weight) > 0 for key, weight in weights.items()):
            for key, part in allocate(money, weights).items():
                cells[kind, key] = part
        else:
            unattributed[kind] = signed(f"{kind}_money", money)
    return CostMatrix(cells, unattributed)


@precise
def node_state_joules(
    *,
    node_joules: Number,
    device_joules: Mapping[str, Number],
    device_seconds: Mapping[str, Number],
) -> NodeJoules:
    """Spread what a node drew beside its devices over their states, by the joules measured in each.

    So a device that is half idle at 100 W against 700 W has 12.5 % of the node's energy idle. Where
    its devices show no energy it goes by their seconds. Both mappings are by state.
    ``definitions.md``: the rest of the node by its devices.
    """
    measured = {state: amount(f"{state}_joules", j) for state, j in device_joules.items()}
    rest = amount("node_joules", node_joules) - total(measured.values())
    weights = measured if any(measured.values()) else device_seconds
    if rest <= 0 or not any(weights.values()):
        reason = "the devices drew more than their node: a meter is wrong" if rest < 0 else None
        return NodeJoules(measured, rest, reason)
    parts = allocate(rest, weights)
    states = dict.fromkeys((*measured, *parts), Decimal(0))
    return NodeJoules(
        {s: total((measured.get(s, Decimal(0)), parts.get(s, Decimal(0)))) for s in states}, rest
    )


def stacked(matrix: CostMatrix[str]) -> dict[str, Decimal]:
    """Return what a stack shows: the kinds of ``active``, then the other states, then the rest.

    Unrounded; the parts sum to ``total_money``. Groups of the matrix are states.
    """
    stack = {
        f"active_{kind}_money": matrix.cells[kind, "active"]
        for kind in KINDS
        if (kind, "active") in matrix.cells
    }
    for state in wire.STATES:
        if state != "active":
            parts = (money for (_, group), money in matrix.cells.items() if group == state)
            stack[f"{state}_money"] = total(parts)
    stack[f"{UNATTRIBUTED}_money"] = total(matrix.unattributed.values())
    return stack


def stacked_cost(
    *,
    kind_money: Mapping[str, Number],
    state_seconds: Mapping[str, Number],
    state_joules: Mapping[str, Number],
) -> dict[str, Decimal]:
    """Return the bill as a stack: the kinds of ``active``, then each other state as a whole.

    Capital, rent and operations go by device-seconds, the other kinds by measured joules
    (``definitions.md``, A matrix). Raise ``ValueError`` for an unknown state or kind.
    """
    if unknown := sorted({*state_seconds, *state_joules}.difference(wire.STATES)):
        raise ValueError(f"{', '.join(unknown)}: no state, which is {', '.join(wire.STATES)}")
    matrix = cost_matrix(
        kind_money=kind_money, group_seconds=state_seconds, group_joules=state_joules
    )
    return stacked(matrix)


def stacked_lines(matrix: CostMatrix[str], currency: str) -> dict[str, Decimal]:
    """Return the stack in the currency's minor unit; its parts sum to the rounded total."""
    stack = stacked(matrix)
    rounded = largest_remainder(tuple(stack.values()), currency)
    return dict(zip(stack, rounded, strict=True))


@precise
def served_model_cost(
    *,
    held_money: Mapping[str, Number],
    held_seconds: Mapping[str, Number],
    overhead_money: Number,
) -> dict[str, Decimal]:
    """Return the cost of each served model in a pool: what its engines hold, and its overhead.

    The overhead is the pool's free, unhealthy and unknown, by held share. What engines of unknown
    models hold goes under ``unattributed``, and so does the overhead of a pool that nobody holds.
    ``definitions.md``, Cost per token. Raise ``ValueError`` for a model without held
    device-seconds.
    """
    own = {model: signed(f"{model}_money", money) for model, money in held_money.items()}
    if missing := sorted(own.keys() - held_seconds.keys()):
        raise ValueError(f"no held device-seconds of {', '.join(missing)}")
    weights: dict[str, Number] = {model: held_seconds[model] for model in own}
    if not any(weights.values()):
        weights = {UNATTRIBUTED: 1}
    shares = allocate(signed("overhead_money", overhead_money), weights)
    zero = Decimal(0)
    return {
        model: total((own.get(model, zero), shares.get(model, zero)))
        for model in dict.fromkeys((*own, *shares))
    }


@precise
def loaded_cost(
    *,
    pool_money: Mapping[str, Number],
    pool_seconds: Mapping[str, Number],
    serving: Sequence[str],
) -> LoadedCost:
    """Spread what spare and shared pools cost over the serving ones.

    By installed device-seconds, as for network and storage. ``definitions.md``, Cost per token:
    pool cost and loaded cost are both shown. Raise ``ValueError`` for a pool without
    device-seconds.
    """
    own = {pool: signed(f"{pool}_money", money) for pool, money in pool_money.items()}
    if missing := sorted({*own, *serving} - pool_seconds.keys()):
        raise ValueError(f"no installed device-seconds of {', '.join(missing)}")
    overhead = total(money for pool, money in own.items() if pool not in serving)
    weights = {pool: pool_seconds[pool] for pool in own if pool in serving}
    if not any(weights.values()):
        pools = {pool: PoolCost(own[pool], own[pool]) for pool in weights}
        return LoadedCost(pools, overhead)
    parts = allocate(overhead, weights)
    pools = {pool: PoolCost(own[pool], total((own[pool], parts[pool]))) for pool in weights}
    return LoadedCost(pools, Decimal(0))


def _quantum(money: Decimal) -> Decimal:
    exponent = money.as_tuple().exponent
    return min(QUANTUM, Decimal(1).scaleb(int(exponent)))


KPIS: Final = (
    Kpi(
        "stacked_cost",
        "by name",
        "kind_money * weight of state",
        "weight of all states",
        "cost by kind while active, and by state otherwise",
        "definitions of this project",
    ),
    Kpi(
        "node_state_joules",
        "by name",
        "node_joules * device_joules",
        "device_joules of all states",
        "joules by state, the rest of the node by its devices",
        "definitions of this project",
    ),
    Kpi(
        "served_model_cost",
        "by name",
        "held_money + overhead_money * held_seconds",
        "held_seconds of all models",
        "cost by served model, with its share of the pool",
        "definitions of this project",
    ),
    Kpi(
        "loaded_cost",
        "by name",
        "pool_money + spare and shared money * pool_seconds",
        "pool_seconds of serving pools",
        "cost of serving pools, by themselves and loaded",
        "definitions of this project",
    ),
)
