"""What is installed where no asset register says it: the largest inventory that each node showed.

It stands in the place of ``register.Register`` (``definitions.md``, Asset register): a step
function of time for each node that only an explicit ``retire`` lowers. What a node showed after
that counts from then on. A ``Word`` is what one report showed; what is known of a node is the set
of its words, so in which order they were learned does not matter.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import pairwise
from math import inf
from typing import Final, NamedTuple

from meterhouse_agent import wire
from meterhouse_collector.site.devices import UNREGISTERED, Slot
from meterhouse_collector.site.model import SiteModel
from meterhouse_collector.site.places import Asset
from meterhouse_collector.site.register import GroupKey, Holding, Placement, Plan

# How many devices of each accelerator model, by its name.
Devices = tuple[tuple[str, int], ...]
NO_DEVICES: Final[Devices] = ()
# More than any node has of use; beyond, the words that change nothing are let go of.
WORDS_MAX: Final = 64


class Word(NamedTuple):
    """The devices that a node showed in a report, by the second at which that begins."""

    at_seconds: int
    devices: Devices


class Retirement(NamedTuple):
    """When a node lost so many devices; None is all of them."""

    at_seconds: float
    devices: int | None


class _Course(NamedTuple):
    """The plans of one node, each from its instant on."""

    instants: tuple[float, ...]
    plans: tuple[Plan, ...]


class Seen:
    """The plans of all nodes, as ``learn`` is told of them; any thread may ask for them."""

    def __init__(self, model: SiteModel, group: Callable[[str], GroupKey]) -> None:
        self._group: Final = group
        self._retirements: Final = _retirements(model)
        self._words: Final[dict[str, tuple[Word, ...]]] = {}
        self._courses: Final[dict[str, _Course]] = {}
        # The inventory of a node that was no news, from when until when.
        self._calm: Final[dict[str, tuple[wire.Inventory, float, float]]] = {}
        # Thousands of nodes are alike.
        self._alike: Final[
            dict[Devices, tuple[tuple[Slot, ...], dict[tuple[str, str], Holding]]]
        ] = {}
        self._revision = 0
        self._changed: tuple[int, tuple[float, ...]] = (0, ())
        self._planned: tuple[tuple[int, int], dict[str, Plan]] = ((-1, -1), {})

    @property
    def nodes(self) -> tuple[str, ...]:
        """Every node that ever showed a device."""
        return tuple(self._courses)

    @property
    def changes(self) -> tuple[float, ...]:
        """The instants at which any node's plan changes, in order."""
        revision = self._revision
        known, changes = self._changed
        if known != revision:
            courses = list(self._courses.values())
            changes = tuple(sorted({t for course in courses for t in course.instants}))
            self._changed = (revision, changes)
        return changes

    def key(self, start_seconds: float) -> tuple[int, int]:
        """Return what stays equal for as long as all plans at an instant do."""
        revision = self._revision
        return revision, bisect_right(self.changes, start_seconds)

    def plan(self, node: str, start_seconds: float) -> Plan | None:
        """Return what was seen on a node until an instant, or None where that is nothing."""
        course = self._courses.get(node)
        if course is None:
            return None
        position = bisect_right(course.instants, start_seconds)
        return course.plans[position - 1] if position and course.plans[position - 1].slots else None

    def plans(self, start_seconds: float) -> Mapping[str, Plan]:
        """Return what was seen until an instant on each node where that is anything."""
        key = self.key(start_seconds)
        known, plans = self._planned
        if known != key:
            found = ((name, self.plan(name, start_seconds)) for name in list(self._courses))
            plans = {name: plan for name, plan in found if plan is not None}
            self._planned = (key, plans)
        return plans

    def news(self, node: str, at_seconds: int, inventory: wire.Inventory) -> tuple[Word, ...]:
        """Return all words of a node with that of a report, or none where it changes nothing.

        This runs for every report.
        """
        calm = self._calm.get(node)
        if calm is not None and calm[0] is inventory and calm[1] <= at_seconds < calm[2]:
            return ()
        shown = devices_of(inventory)
        plan = self.plan(node, at_seconds)
        if _replaces(shown, NO_DEVICES if plan is None else _devices_of(plan)):
            known = self._words.get(node, ())
            words = self._thinned(node, {*known, Word(at_seconds, shown)})
            return () if words == known else words
        if plan is not None:
            self._calm[node] = (inventory, plan.begins, plan.ends)
        return ()

    def learn(self, node: str, words: Iterable[Word]) -> bool:
        """Take in words of a node; tell whether that says anything new."""
        known = self._words.get(node, ())
        merged = self._thinned(node, {*known, *words})
        if merged == known:
            return False
        steps = list(steps_of(merged, self._retirements.get(node, ())))
        self._words[node] = merged
        ends = [*(at for at, _ in steps[1:]), inf]
        plans = tuple(
            Plan(begins, until, *self._holdings(devices))
            for (begins, devices), until in zip(steps, ends, strict=True)
        )
        self._courses[node] = _Course(tuple(at for at, _ in steps), plans)
        self._calm.pop(node, None)
        self._revision += 1
        return True

    def _thinned(self, node: str, words: set[Word]) -> tuple[Word, ...]:
        """Return words in order; of too many only those that say of more devices than before."""
        found = tuple(sorted(word for word in words if word.devices))
        if len(found) <= WORDS_MAX:
            return found
        steps = [(-inf, NO_DEVICES), *steps_of(found, self._retirements.get(node, ()))]
        rises = {at for (_, one), (at, other) in pairwise(steps) if _count(other) > _count(one)}
        return tuple(word for word in found if word.at_seconds in rises)

    def _holdings(
        self, devices: Devices
    ) -> tuple[tuple[Slot, ...], dict[tuple[str, str], Holding]]:
        known = self._alike.get(devices)
        if known is None:
            holdings = {(model, UNREGISTERED): self._holding(model, n) for model, n in devices}
            slots = tuple(slot for holding in holdings.values() for slot in holding.slots)
            known = self._alike[devices] = (slots, holdings)
        return known

    def _holding(self, accelerator_model: str, devices: int) -> Holding:
        group = self._group(accelerator_model)
        # Nobody entered it: it has neither price nor contract, and no rack.
        entry = Asset.model_construct(
            pool=group.pool,
            accelerator_model=accelerator_model,
            devices=devices,
            in_service=date.min,
        )
        slot = Slot(None, accelerator_model, group.pool, UNREGISTERED, None, entry)
        placements = (Placement(group, "", 1.0),)
        return Holding(
            accelerator_model, UNREGISTERED, devices, placements, None, (slot,) * devices
        )


def devices_of(inventory: wire.Inventory) -> Devices:
    """Return how many devices of each model an inventory has."""
    return tuple(sorted(Counter(each.accelerator_model for each in inventory.devices).items()))


def steps_of(
    words: Iterable[Word], retirements: Iterable[Retirement]
) -> Iterator[tuple[float, Devices]]:
    """Yield from when on a node has which devices: the most that it showed, of as many the latest.

    A retirement takes some away, and what is shown from then on may be less than was before.
    """
    events: list[tuple[float, int, Devices, int | None]] = [
        *((word.at_seconds, 1, word.devices, None) for word in words),
        *((at_seconds, 0, NO_DEVICES, devices) for at_seconds, devices in retirements),
    ]
    held = NO_DEVICES
    begun: tuple[float, Devices] | None = None
    for at, is_word, shown, retired in sorted(events, key=lambda event: event[:3]):
        after = shown if _replaces(shown, held) else held
        if not is_word:
            after = NO_DEVICES if retired is None else _without(held, retired)
        if after == held:
            continue
        if begun is not None and begun[0] < at:
            yield begun
        held, begun = after, (at, after)
    if begun is not None:
        yield begun


def _count(devices: Devices) -> int:
    return sum([count for _, count in devices])


def _devices_of(plan: Plan) -> Devices:
    return tuple((model, each.devices) for (model, _), each in plan.holdings.items())


def _replaces(shown: Devices, held: Devices) -> bool:
    """Tell whether devices are more than those known before, or as many others."""
    return shown != held and _count(shown) >= _count(held)


def _without(devices: Devices, retired: int) -> Devices:
    """Return what is left; which model they were of is not said, so it is the most frequent."""
    left = dict(devices)
    for _ in range(min(retired, _count(devices))):
        left[max(left, key=lambda model: (left[model], model))] -= 1
    return tuple((model, count) for model, count in left.items() if count)


def _retirements(model: SiteModel) -> dict[str, tuple[Retirement, ...]]:
    found: dict[str, list[Retirement]] = {}
    for entry in sorted(model.retire, key=lambda entry: entry.on):
        said = Retirement(model.instant(entry.on), entry.devices)
        found.setdefault(entry.node, []).append(said)
    return {node: tuple(said) for node, said in found.items()}
