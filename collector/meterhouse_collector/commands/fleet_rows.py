"""Which nodes ``top`` shows and in which order, with a sum for each pool. Pure."""

from collections.abc import Callable, Iterable, Sequence
from math import fsum
from typing import Final, NamedTuple

import msgspec

from meterhouse_agent import wire
from meterhouse_collector.web.nodes import NodeView

SORTS: Final = ("name", "idle", "unhealthy", "power", "tokens", "cost")
KEYS: Final = ("pool", "cluster", "tenant", "node", "state")
_IDLE: Final[tuple[wire.State, ...]] = ("held_idle", "free")

_Order = Callable[[NodeView], float | None]
_ORDERS: Final[dict[str, _Order]] = {
    "idle": lambda node: sum(node.states[state] for state in _IDLE),
    "unhealthy": lambda node: node.states["unhealthy"] + node.states["unknown"],
    "power": lambda node: node.power_watts,
    "tokens": lambda node: node.output_tokens_per_second,
    "cost": lambda node: node.money_per_hour,
}


class Sum(NamedTuple):
    """What is known of some nodes together; None where nothing is, and then nobody says."""

    nodes: int
    devices: int
    states: dict[wire.State, float]
    power_watts: float | None
    output_tokens_per_second: float | None
    money_per_hour: float | None


class Pool(NamedTuple):
    """A pool with the nodes that are shown of it; ``whole`` is of all that are meant."""

    name: str
    cluster: str
    whole: Sum
    nodes: Sequence[NodeView]


def parse_filter(text: str) -> list[tuple[str, str]]:
    """Return the words of a filter, each with the key that it is about, or an empty one.

    Raises ``ValueError`` for a key or a state that there is not.
    """
    found = []
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals:
            found.append(("", word))
            continue
        if key not in KEYS or not value:
            raise ValueError(f"found {word!r}: allowed: a part of a name, or {'=, '.join(KEYS)}=")
        if key == "state" and value not in wire.STATES:
            raise ValueError(f"found {word!r}: allowed: {', '.join(wire.STATES)}")
        found.append((key, value))
    return found


def matches(node: NodeView, words: Iterable[tuple[str, str]]) -> bool:
    """Tell whether a node is meant by every word."""
    return all(_is_meant(node, key, value) for key, value in words)


def _is_meant(node: NodeView, key: str, value: str) -> bool:
    if key == "state":
        return any(state == value and many > 0 for state, many in node.states.items())
    if key:
        parts = {"pool": node.pool, "cluster": node.cluster, "tenant": node.tenant}
        return {**parts, "node": node.name}[key] == value
    return value in node.name or value in node.pool


def pools_of(
    nodes: Iterable[NodeView], words: Sequence[tuple[str, str]], sort: str, *, turned: bool = False
) -> list[Pool]:
    """Return the pools of the nodes that are meant, each with its nodes in order.

    By name the first comes first, by all else the most; what is not known comes last.
    """
    pools: dict[tuple[str, str], list[NodeView]] = {}
    for node in nodes:
        if matches(node, words):
            pools.setdefault((node.cluster, node.pool), []).append(node)
    return [
        Pool(pool, cluster, sum_of(members), _sorted(members, sort, turned=turned))
        for (cluster, pool), members in sorted(pools.items())
    ]


def within(pools: Sequence[Pool], lines: int) -> list[Pool]:
    """Return the pools with the first of their nodes, to fit into so many lines beside the pools'.

    A large pool takes no line from a small one; one that is cut has a line that says so.
    """
    nodes: dict[int, Sequence[NodeView]] = {}
    smallest_first = sorted(range(len(pools)), key=lambda at: len(pools[at].nodes))
    for done, at in enumerate(smallest_first):
        share = max(0, lines) // (len(pools) - done)
        all_of_them = pools[at].nodes
        nodes[at] = all_of_them if len(all_of_them) <= share else all_of_them[: max(0, share - 1)]
        lines -= min(share, len(all_of_them))
    return [pool._replace(nodes=nodes[at]) for at, pool in enumerate(pools)]


def _sorted(nodes: Sequence[NodeView], sort: str, *, turned: bool) -> list[NodeView]:
    by_name = sorted(nodes, key=lambda node: node.name)
    order = _ORDERS.get(sort)
    if order is None:
        return by_name[::-1] if turned else by_name
    known = [(value, node) for node in by_name if (value := order(node)) is not None]
    unknown = [node for node in by_name if order(node) is None]
    known.sort(key=lambda each: each[0], reverse=not turned)
    return [node for _, node in known] + unknown


def sum_of(nodes: Sequence[NodeView]) -> Sum:
    """Return the sums of nodes; an amount that some node lacks is that of the others."""
    return Sum(
        nodes=len(nodes),
        devices=sum(node.devices for node in nodes),
        states={state: fsum(node.states[state] for node in nodes) for state in wire.STATES},
        power_watts=_sum(node.power_watts for node in nodes),
        output_tokens_per_second=_sum(node.output_tokens_per_second for node in nodes),
        money_per_hour=_sum(node.money_per_hour for node in nodes),
    )


def sum_of_all(pools: Sequence[Pool]) -> Sum:
    """Return the sums of all nodes that are meant, shown or not."""
    return Sum(
        nodes=sum(pool.whole.nodes for pool in pools),
        devices=sum(pool.whole.devices for pool in pools),
        states={state: fsum(pool.whole.states[state] for pool in pools) for state in wire.STATES},
        power_watts=_sum(pool.whole.power_watts for pool in pools),
        output_tokens_per_second=_sum(pool.whole.output_tokens_per_second for pool in pools),
        money_per_hour=_sum(pool.whole.money_per_hour for pool in pools),
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) if known else None


def nodes_of(answer: object) -> list[NodeView]:
    """Return the nodes of what a page answered; raise ``ValueError`` where it is none."""
    try:
        return msgspec.convert(answer, list[NodeView])
    except msgspec.ValidationError as error:
        raise ValueError(f"the page's nodes are of another version: {error}") from None
