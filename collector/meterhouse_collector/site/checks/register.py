"""The asset register: every device in one pool, and engines on devices that are there."""

from collections.abc import Iterator
from datetime import date
from typing import Final

from meterhouse_collector.site.model import SiteModel

RESERVED: Final = ("none", "unregistered")
# The first day, None from ever, and the first day without, None for ever.
Span = tuple[date | None, date | None]


def faults(model: SiteModel) -> Iterator[str]:
    """Return a fault for each device in two pools or engines, or in an engine and no pool."""
    yield from _reserved(model)
    yield from _registered_twice(model)
    yield from _engines(model)
    if model.asset:
        for position, entry in enumerate(model.retire):
            yield (
                f"retire.{position}: found node {entry.node!r} beside an asset register,"
                " allowed: the date retired of its asset"
            )


def _reserved(model: SiteModel) -> Iterator[str]:
    for position, pool in enumerate(model.pool):
        if pool.name in RESERVED:
            yield f"pool.{position}.name: found {pool.name!r}, allowed: any other name"
        if pool.tenant == "unregistered":
            yield f"pool.{position}.tenant: found {pool.tenant!r}, allowed: any other name"
    for position, tenant in enumerate(model.tenant):
        if tenant.name in RESERVED:
            yield f"tenant.{position}.name: found {tenant.name!r}, allowed: any other name"


def _overlap(one: Span, other: Span) -> bool:
    return (other[1] or date.max) > (one[0] or date.min) and (
        (one[1] or date.max) > (other[0] or date.min)
    )


def _registered_twice(model: SiteModel) -> Iterator[str]:
    seen: dict[tuple[str, str], list[int]] = {}
    for position, asset in enumerate(model.asset):
        if isinstance(asset.devices, int):
            continue
        for node in asset.on_nodes:
            for device in asset.devices:
                others = seen.setdefault((node, device), [])
                for earlier in others:
                    other = model.asset[earlier]
                    mine = (asset.in_service, asset.retired)
                    if _overlap(mine, (other.in_service, other.retired)):
                        yield (
                            f"asset.{position}.devices: found '{node}/{device}' in pool"
                            f" {asset.pool}, allowed: not while asset.{earlier} has it in pool"
                            f" {other.pool}"
                        )
                others.append(position)


def _engines(model: SiteModel) -> Iterator[str]:
    named: dict[str, set[str]] = {}
    counted: dict[str, int] = {}
    for asset in model.asset:
        for node in asset.on_nodes:
            names = named.setdefault(node, set())
            if isinstance(asset.devices, int):
                counted[node] = counted.get(node, 0) + asset.devices
            else:
                names.update(asset.devices)
    spans = _spans(model)
    holders: dict[str, dict[str, list[int]]] = {}
    for position, engine in enumerate(model.engine):
        for text in engine.devices:
            node, _, device = text.partition("/")
            found = f"engine.{position}.devices: found {text!r}"
            if node not in named:
                yield f"{found}, allowed: a node of the asset register"
                continue
            if device != "*" and device not in named[node] and counted.get(node, 0) == 0:
                allowed = ", ".join(sorted(named[node]))
                yield f"{found}, allowed: * or a registered device of the node: {allowed}"
                continue
            held = holders.setdefault(node, {})
            taken = held if device == "*" else held.keys() & {device, "*"}
            for earlier in {n for key in taken for n in held[key]}:
                if _overlap(spans[position], spans[earlier]):
                    yield f"{found}, allowed: not in engine {model.engine[earlier].name} too"
            held.setdefault(device, []).append(position)
    yield from _too_many(named, counted, holders)


def _spans(model: SiteModel) -> list[Span]:
    """Return from when until when each engine's entry holds: until the next of its name begins."""
    days: dict[str, list[date]] = {}
    for engine in model.engine:
        if engine.valid_from is not None:
            days.setdefault(engine.name, []).append(engine.valid_from)
    spans = []
    for engine in model.engine:
        begins, ends = engine.valid_from or date.min, engine.valid_to
        if ends is None:
            ends = min((day for day in days.get(engine.name, ()) if day > begins), default=None)
        spans.append((engine.valid_from, ends))
    return spans


def _too_many(
    named: dict[str, set[str]], counted: dict[str, int], holders: dict[str, dict[str, list[int]]]
) -> Iterator[str]:
    # Where the register has only a count, an engine may name the devices, but no more than that.
    for node, held in holders.items():
        unnamed = held.keys() - named[node] - {"*"}
        if len(unnamed) > counted.get(node, 0) > 0:
            yield (
                f"engine: found {len(unnamed)} devices of node {node!r} beyond the named,"
                f" allowed: {counted[node]} as registered"
            )
