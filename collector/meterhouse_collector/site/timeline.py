"""Which of the entries that follow each other under one name is in force at an instant."""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import date
from math import inf
from typing import Final, Generic, Protocol, TypeVar


class Entry(Protocol):
    """Something that holds from a day, or from ever, until another day or its successor's."""

    @property
    def valid_from(self) -> date | None:
        """The first day."""

    @property
    def valid_to(self) -> date | None:
        """The first day without it, if it ends by itself."""


KeyT = TypeVar("KeyT", bound=Hashable)
EntryT = TypeVar("EntryT", bound=Entry)


class Timeline(Generic[KeyT, EntryT]):
    """The entries of one table by name and time; days begin at ``instant`` of the site's zone."""

    def __init__(
        self,
        entries: Iterable[EntryT],
        key: Callable[[EntryT], KeyT],
        instant: Callable[[date], float],
    ) -> None:
        by_key: dict[KeyT, list[tuple[float, EntryT]]] = {}
        for entry in entries:
            begins = -inf if entry.valid_from is None else instant(entry.valid_from)
            by_key.setdefault(key(entry), []).append((begins, entry))
        self._steps: Final[dict[KeyT, list[tuple[float, float, EntryT]]]] = {}
        for name, found in by_key.items():
            found.sort(key=lambda step: step[0])
            ends = [begins for begins, _ in found[1:]] + [inf]
            self._steps[name] = [
                (begins, until if entry.valid_to is None else instant(entry.valid_to), entry)
                for (begins, entry), until in zip(found, ends, strict=True)
            ]
        known = {t for steps in self._steps.values() for step in steps for t in step[:2]}
        self.instants: Final = tuple(sorted(known - {-inf, inf}))
        self._eras: Final[dict[int, dict[KeyT, EntryT]]] = {}

    def __getitem__(self, key: KeyT) -> tuple[EntryT, ...]:
        """Return all entries of a name by their dates; none where there is no such name."""
        return tuple(entry for _, _, entry in self._steps.get(key, ()))

    def at(self, at_seconds: float) -> Mapping[KeyT, EntryT]:
        """Return what is in force at an instant, by name."""
        position = bisect_right(self.instants, at_seconds)
        era = self._eras.get(position)
        if era is None:
            era = self._eras[position] = {
                key: entry
                for key, steps in self._steps.items()
                for begins, ends, entry in steps
                if begins <= at_seconds < ends
            }
        return era

    def get(self, key: KeyT, at_seconds: float) -> EntryT | None:
        """Return the entry of a name that is in force at an instant, or None."""
        for begins, ends, entry in self._steps.get(key, ()):
            if begins <= at_seconds < ends:
                return entry
        return None

    def changes(self, key: KeyT) -> tuple[float, ...]:
        """Return the instants at which another entry of a name comes into force, or none."""
        known = {t for step in self._steps.get(key, ()) for t in step[:2]}
        return tuple(sorted(known - {-inf, inf}))
