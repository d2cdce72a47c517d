"""What the tables of a site file must not say together: each check returns one-line faults."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset

RESERVED: Final = ("none", "unregistered")


def faults(model: SiteModel) -> list[str]:
    """Return every fault of a site model whose tables are valid one by one."""
    return [
        *_duplicates(model),
        *_reserved(model),
        *_pools(model),
        *_registered_twice(model),
        *_engines(model),
        *_tariffs(model),
    ]


def _duplicates(model: SiteModel) -> Iterator[str]:
    names: dict[str, Iterable[str]] = {
        "pool.{}.name": (pool.name for pool in model.pool),
        "hardware.{}.accelerator_model": (entry.accelerator_model for entry in model.hardware),
        "engine.{}.name": (engine.name for engine in model.engine),
        "meter.{}.name": (meter.name for meter in model.meter),
    }
    for key, values in names.items():
        seen: set[str] = set()
        for position, value in enumerate(values):
            if value in seen:
                yield f"{key.format(position)}: found {value!r} again, allowed: each name once"
            seen.add(value)


def _reserved(model: SiteModel) -> Iterator[str]:
    for position, pool in enumerate(model.pool):
        if pool.name in RESERVED:
            yield f"pool.{position}.name: found {pool.name!r}, allowed: any other name"
        if pool.tenant == "unregistered":
            yield f"pool.{position}.tenant: found {pool.tenant!r}, allowed: any other name"


def _pools(model: SiteModel) -> Iterator[str]:
    known = {pool.name for pool in model.pool}
    for position, asset in enumerate(model.asset):
        if asset.pool not in known:
            allowed = ", ".join(sorted(known)) or "none, as there is no [[pool]]"
            yield f"asset.{position}.pool: found {asset.pool!r}, allowed: {allowed}"


def _overlap(one: Asset, other: Asset) -> bool:
    return (other.retired is None or one.in_service < other.retired) and (
        one.retired is None or other.in_service < one.retired
    )


def _registered_twice(model: SiteModel) -> Iterator[str]:
    seen: dict[tuple[str, str], list[tuple[int, Asset]]] = {}
    for position, asset in enumerate(model.asset):
        if isinstance(asset.devices, int):
            continue
        for node in asset.on_nodes:
            for device in asset.devices:
                others = seen.setdefault((node, device), [])
                for earlier, other in others:
                    if _overlap(asset, other):
                        yield (
                            f"asset.{position}.devices: found '{node}/{device}' in pool"
                            f" {asset.pool}, allowed: not while asset.{earlier} has it in pool"
                            f" {other.pool}"
                        )
                others.append((position, asset))


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
    holders: dict[str, dict[str, str]] = {}
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
            yield from (f"{found}, allowed: not in engine {held[other]} too" for other in taken)
            held[device] = engine.name
    yield from _too_many(named, counted, holders)


def _too_many(
    named: dict[str, set[str]], counted: dict[str, int], holders: dict[str, dict[str, str]]
) -> Iterator[str]:
    # Where the register has only a count, an engine may name the devices, but no more than that.
    for node, held in holders.items():
        unnamed = held.keys() - named[node] - {"*"}
        if len(unnamed) > counted.get(node, 0) > 0:
            yield (
                f"engine: found {len(unnamed)} devices of node {node!r} beyond the named,"
                f" allowed: {counted[node]} as registered"
            )


def _tariffs(model: SiteModel) -> Iterator[str]:
    entries = sorted(enumerate(model.tariff), key=lambda entry: entry[1].valid_from)
    for position, tariff in entries:
        if tariff.valid_to is not None and tariff.valid_to <= tariff.valid_from:
            yield (
                f"tariff.{position}.valid_to: found {tariff.valid_to},"
                f" allowed: after {tariff.valid_from}"
            )
    for (position, tariff), (_, following) in pairwise(entries):
        begins = following.valid_from
        if tariff.valid_from == begins:
            yield f"tariff.{position}.valid_from: found {begins} again, allowed: each date once"
        elif tariff.valid_to is not None and tariff.valid_to != begins:
            word = "an overlap" if tariff.valid_to > begins else "a gap"
            yield (
                f"tariff.{position}.valid_to: found {tariff.valid_to}, {word},"
                f" allowed: {begins}, when the next begins"
            )
