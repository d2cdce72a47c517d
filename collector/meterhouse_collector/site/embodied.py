"""Embodied carbon of a window: of devices and shared equipment, evenly over their lives. Pure."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from math import fsum
from typing import NamedTuple

from meterhouse_collector.kpi.carbon import sci_embodied
from meterhouse_collector.site.index import SiteIndex


class Embodied(NamedTuple):
    """What falls to a window; ``name`` says where the figure is known of a part of the devices."""

    name: str
    carbon_kg: float


class _Life(NamedTuple):
    """From when something ages and until when, how long it lives, and when it is in service."""

    ages_from: date
    in_service: date
    retired: date | None
    life_seconds: float


def embodied_carbon(index: SiteIndex, begins_seconds: int, ends_seconds: int) -> list[Embodied]:
    """Return the carbon of each accelerator model and shared equipment that has a figure.

    SCI 1.1.0: the time in service within the window / the life, of all devices, rented ones
    included; nothing before a thing is in service, after it is retired, or after its life.
    """
    window = (begins_seconds, ends_seconds)
    return [*_devices(index, window), *_shared(index, window)]


def _devices(index: SiteIndex, window: tuple[int, int]) -> Iterator[Embodied]:
    carbon: defaultdict[str, list[float]] = defaultdict(list)
    known: defaultdict[str, int] = defaultdict(int)
    there: defaultdict[str, int] = defaultdict(int)
    for asset in index.model.asset:
        hardware = index.hardware_of(asset)
        count = len(asset.on_nodes) * asset.devices_per_node
        if not _overlap(index, window, asset.in_service, asset.retired):
            continue
        model = asset.accelerator_model
        there[model] += count
        if hardware is None or hardware.embodied_carbon_kg is None:
            continue
        life = _Life(
            asset.delivered or asset.in_service, asset.in_service, asset.retired, hardware.life
        )
        known[model] += count
        carbon[model].append(_part(index, window, life, hardware.embodied_carbon_kg * count))
    for model, terms in carbon.items():
        name = model
        if known[model] < there[model]:
            name = f"{model} ({known[model]} of {there[model]} devices)"
        yield Embodied(name, fsum(terms))


def _shared(index: SiteIndex, window: tuple[int, int]) -> Iterator[Embodied]:
    for shared in index.model.shared_equipment:
        if shared.embodied_carbon_kg is not None and _overlap(
            index, window, shared.in_service, shared.retired
        ):
            life = _Life(shared.in_service, shared.in_service, shared.retired, shared.life)
            yield Embodied(shared.name, _part(index, window, life, shared.embodied_carbon_kg))


def _overlap(
    index: SiteIndex, window: tuple[int, int], in_service: date, retired: date | None
) -> float:
    """Return the seconds of a window in which something is in service."""
    begins = max(window[0], index.model.instant(in_service))
    ends = window[1] if retired is None else min(window[1], index.model.instant(retired))
    return max(0.0, ends - begins)


def _part(index: SiteIndex, window: tuple[int, int], life: _Life, carbon_kg: float) -> float:
    """Return the part of an amount of carbon that falls to a window."""
    old = index.model.instant(life.ages_from) + life.life_seconds
    within = (window[0], int(min(window[1], old)))
    return sci_embodied(
        total_embodied_kg=carbon_kg,
        reserved_seconds=_overlap(index, within, life.in_service, life.retired),
        lifespan_seconds=life.life_seconds,
    )
