"""The state of one alert: an observation in, at most one transition out. Pure.

An observation whose value is not known, or whose bounds lie on both sides of what is asked, changes
nothing: it neither fires nor resolves, and the clock of what is pending runs on
(``definitions.md``, Alerts).
"""

import hashlib
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

Phase = Literal["ok", "pending", "firing"]
Side = Literal["above", "below"]
Labels = tuple[tuple[str, str], ...]

_ENCODER: Final = msgspec.json.Encoder()


class Rule(NamedTuple):
    """What fires when it has been beyond its limit for ``for_seconds``."""

    name: str
    kind: str
    severity: str
    for_seconds: float


class Key(NamedTuple):
    """What tells two alerts apart: the rule, and what it is about."""

    name: str
    labels: Labels

    @property
    def fingerprint(self) -> str:
        """A short name of this key that is the same in every run."""
        return hashlib.sha256(_ENCODER.encode(self)).hexdigest()[:16]


class Observation(NamedTuple):
    """What was seen of one subject, and the limit it is held against.

    ``clear`` is the level at which what fires ends, by default the limit. ``low`` and ``high``
    bound the value where not all is known; both are the value by default. Without a value there is
    a ``reason``. With ``reached`` the limit itself is beyond.
    """

    labels: Labels
    value: float | None
    limit: float | None
    side: Side = "above"
    clear: float | None = None
    unit: str = "ratio"
    reason: str | None = None
    evidence: Mapping[str, float] = {}
    low: float | None = None
    high: float | None = None
    reached: bool = False


class State(NamedTuple):
    """Where an alert stands, since when, and the last value and limit that were known."""

    phase: Phase
    since_seconds: float
    value: float
    limit: float


class Transition(NamedTuple):
    """An alert has come from one phase into another."""

    rule: Rule
    key: Key
    before: Phase
    state: State
    at_seconds: float
    unit: str
    reason: str | None
    evidence: Mapping[str, float]


def labels(**parts: str | None) -> Labels:
    """Return labels in their order, without those that are None."""
    return tuple(sorted((name, part) for name, part in parts.items() if part is not None))


def beyond(observation: Observation) -> bool | None:
    """Tell whether the value is beyond the limit; None where that is not known for certain."""
    return _beyond(observation, observation.limit, or_at=observation.reached)


def cleared(observation: Observation) -> bool | None:
    """Tell whether the value is back at the level where an alert ends; None where not known."""
    if observation.clear is None:
        level, or_at = observation.limit, observation.reached
    else:
        level, or_at = observation.clear, False
    found = _beyond(observation, level, or_at=or_at)
    return None if found is None else not found


def _beyond(observation: Observation, level: float | None, *, or_at: bool) -> bool | None:
    if observation.value is None or level is None:
        return None
    low = observation.value if observation.low is None else observation.low
    high = observation.value if observation.high is None else observation.high
    surely, possibly = (low, high) if observation.side == "above" else (-high, -low)
    edge = level if observation.side == "above" else -level
    if surely > edge or (or_at and surely == edge):
        return True
    return None if possibly > edge or (or_at and possibly == edge) else False


def step(
    state: State | None, observation: Observation, rule: Rule, now_seconds: float
) -> tuple[State | None, tuple[Transition, ...]]:
    """Return the state after an observation, None being ok, and the transition if there was one.

    What is pending fires when it is still beyond its limit ``for_seconds`` after it first was; a
    clock that was set back delays that by no more than ``for_seconds``.
    """
    value, limit = observation.value, observation.limit
    is_beyond = beyond(observation)
    if value is None or limit is None:
        return state, ()
    if state is not None:
        state = state._replace(value=value, limit=limit)
    phase: Phase = "ok" if state is None else state.phase
    since = now_seconds if state is None else min(state.since_seconds, now_seconds)
    if phase == "firing":
        if cleared(observation) is not True:
            return state, ()
        following: Phase = "ok"
    elif is_beyond is None:
        return state, ()
    elif not is_beyond:
        following = "ok"
    else:
        following = "firing" if now_seconds - since >= rule.for_seconds else "pending"
    if following == phase:
        return None if state is None else state._replace(since_seconds=since), ()
    after = State(following, now_seconds, value, limit)
    return (None if following == "ok" else after), (
        Transition(
            rule=rule,
            key=Key(rule.name, observation.labels),
            before=phase,
            state=after,
            at_seconds=now_seconds,
            unit=observation.unit,
            reason=observation.reason,
            evidence=observation.evidence,
        ),
    )
