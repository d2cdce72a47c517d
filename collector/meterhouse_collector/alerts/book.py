"""What is pending or firing, by key; bounded."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from meterhouse_collector.alerts.state import (
    Key,
    Observation,
    Rule,
    State,
    Transition,
    step,
)

KEYS_MAX: Final = 10_000
GONE: Final = "its rule or its subject is gone"


class Open(NamedTuple):
    """An alert that is pending or firing, with what is needed to write it down."""

    rule: Rule
    state: State
    unit: str


class Book:
    """Keeps the open alerts: what is ok needs no memory, so only these are bounded."""

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        self.open: Final[dict[Key, Open]] = {}
        self.dropped = 0
        self._keys_max = keys_max
        self._full: set[Key] = set()

    def observe(
        self, rule: Rule, observations: Iterable[Observation], now_seconds: float
    ) -> list[Transition]:
        """Take all that one rule sees now; what it saw before and no more is over."""
        transitions: list[Transition] = []
        seen = set()
        for observation in observations:
            key = Key(rule.name, observation.labels)
            seen.add(key)
            transitions += self._step(key, rule, observation, now_seconds)
        gone = [key for key in self.open if key.name == rule.name and key not in seen]
        return transitions + [self._end(key, now_seconds) for key in gone]

    def keep_only(self, names: Iterable[str], now_seconds: float) -> list[Transition]:
        """End what belongs to no rule any more."""
        known = set(names)
        gone = [key for key in self.open if key.name not in known]
        return [self._end(key, now_seconds) for key in gone]

    def restore(self, found: Mapping[Key, Open]) -> None:
        """Take up what was open before a restart."""
        for key, entry in found.items():
            if key not in self.open and self._room(key):
                self.open[key] = entry

    def _step(
        self, key: Key, rule: Rule, observation: Observation, now_seconds: float
    ) -> tuple[Transition, ...]:
        entry = self.open.get(key)
        state, transitions = step(
            None if entry is None else entry.state, observation, rule, now_seconds
        )
        if state is None:
            self.open.pop(key, None)
            self._full.discard(key)
        elif entry is not None or self._room(key):
            self.open[key] = Open(rule, state, observation.unit)
        else:
            return ()
        return transitions

    def _room(self, key: Key) -> bool:
        if len(self.open) < self._keys_max:
            self._full.discard(key)
            return True
        if key not in self._full and len(self._full) < self._keys_max:
            # Counted once for each that finds no room, and not in every interval.
            self._full.add(key)
            self.dropped += 1
        return False

    def _end(self, key: Key, now_seconds: float) -> Transition:
        rule, state, unit = self.open.pop(key)
        return Transition(
            rule=rule,
            key=key,
            before=state.phase,
            state=State("ok", now_seconds, state.value, state.limit),
            at_seconds=now_seconds,
            unit=unit,
            reason=GONE,
            evidence={},
        )
