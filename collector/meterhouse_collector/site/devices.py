"""Registered devices met with those a node reports: which column of a report is whose."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final

from msgspec import Struct

from meterhouse_agent import wire
from meterhouse_collector.site.places import Asset

UNREGISTERED: Final = "unregistered"
ENGINE_PREFIX: Final = "engine:"
EVERY_DEVICE: Final = "*"


class Part(Struct, frozen=True, gc=False):
    """The columns of a report that make one share, and its registered devices without one."""

    accelerator_model: str
    holder: str
    columns: tuple[int, ...]
    missing: int


class Grouping(Struct, frozen=True, gc=False):
    """How a node's report is split into shares; ``devices`` is how many columns it must have.

    ``whole`` says that all of them make one share, as those of most nodes do.
    """

    parts: tuple[Part, ...]
    devices: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One registered device and its entry; a register that only counts does not name it."""

    device: str | None
    accelerator_model: str
    pool: str
    holder: str
    capital_per_second: float | None
    asset: Asset


def hold(slots: list[Slot], held: dict[str, str]) -> list[Slot]:
    """Put the engines of one node on its slots; a name that no slot has takes an unnamed one."""
    if EVERY_DEVICE in held:
        holder = ENGINE_PREFIX + held[EVERY_DEVICE]
        return [replace(slot, holder=holder) for slot in slots]
    named = {slot.device for slot in slots}
    unnamed = iter([name for name in held if name not in named])
    result = []
    for slot in slots:
        device = slot.device if slot.device is not None else next(unnamed, None)
        if device is not None and device in held:
            result.append(replace(slot, device=device, holder=ENGINE_PREFIX + held[device]))
        else:
            result.append(slot)
    return result


def match(slots: tuple[Slot, ...], inventory: wire.Inventory) -> Grouping:
    """Give each device of an inventory its slot: by name, then by model, then any unnamed one."""
    named = {slot.device: slot for slot in slots if slot.device is not None}
    unnamed = [slot for slot in slots if slot.device is None]
    taken: dict[int, Slot] = {}
    for column, device in enumerate(inventory.devices):
        if device.device in named:
            taken[column] = named.pop(device.device)
    # The register's word for a model may differ from the driver's: then the count decides.
    for same_model in (True, False):
        for column, device in enumerate(inventory.devices):
            if column in taken:
                continue
            for position, slot in enumerate(unnamed):
                if not same_model or slot.accelerator_model == device.accelerator_model:
                    taken[column] = unnamed.pop(position)
                    break
    columns: dict[tuple[str, str], list[int]] = {}
    for column, device in enumerate(inventory.devices):
        mine = taken.get(column)
        key = (device.accelerator_model, UNREGISTERED)
        if mine is not None:
            key = (mine.accelerator_model, mine.holder)
        columns.setdefault(key, []).append(column)
    missing = Counter((s.accelerator_model, s.holder) for s in (*named.values(), *unnamed))
    parts = tuple(
        Part(model, holder, tuple(columns.get((model, holder), ())), missing[(model, holder)])
        for model, holder in {**dict.fromkeys(columns), **dict.fromkeys(missing)}
    )
    devices = len(inventory.devices)
    whole = len(parts) == 1 and len(parts[0].columns) == devices
    return Grouping(parts, devices, whole)
