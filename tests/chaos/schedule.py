"""A seed into a list of timed faults. Pure: the same seed and length give the same list."""

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

# A delay, a step of a clock and another order of messages take nothing away: they do not count.
COUNTED: Final = frozenset(
    {"kill", "kill_in_commit", "kill_in_write", "stop", "forget", "away", "cut", "silence"}
    | {"refuse", "full"}
)
QUIET_SECONDS: Final = 4.0
# After a storm a calm, or those who wait longer after each failure would never be there.
STORM_SECONDS: Final = 32.0
CALM_SECONDS: Final = 13.0
AWAY: Final = (0.15, 8.0)
BEHIND_SECONDS: Final = -240
AHEAD_AFTER_SECONDS: Final = 300.0
PLACES: Final = ("left", "disk", "clock")


class ScheduleError(ValueError):
    """A text is no schedule."""


class Fault(NamedTuple):
    """What begins when, for how long, and where; ``amount`` is of what its kind says."""

    at_seconds: float
    for_seconds: float
    lane: str
    kind: str
    amount: float = 0.0

    @property
    def ends_seconds(self) -> float:
        """When it is over."""
        return self.at_seconds + self.for_seconds


class Schedule(NamedTuple):
    """All faults of a run, in the order of their beginning."""

    seed: int
    seconds: float
    faults: tuple[Fault, ...]

    @property
    def counted(self) -> int:
        """How many kills, stops, cuts and refusals there are."""
        return sum(fault.kind in COUNTED for fault in self.faults)

    def text(self) -> str:
        """Return it as it is printed, and read by ``parse``."""
        lines = [f"seed={self.seed} seconds={self.seconds:g}"]
        for at, lasts, lane, kind, amount in self.faults:
            lines.append(f"{at:8.3f} {lasts:7.3f} {lane:<18} {kind:<14} {amount:g}")
        return "\n".join([*lines, ""])


class Kind(NamedTuple):
    """How often a kind comes among those of its lane, how long it lasts, and its amounts."""

    weight: float
    shortest: float
    longest: float
    amounts: Sequence[float] = (0.0,)


class Lane(NamedTuple):
    """One thing that faults befall one after the other, with a mean time between them."""

    every_seconds: float
    kinds: Mapping[str, Kind]


_AGENT: Final = Lane(
    9.0,
    {
        "kill": Kind(3, 0.0, 6.0),
        "kill_in_commit": Kind(3, 0.0, 4.0),
        "stop": Kind(3, 0.5, 8.0),
    },
)
_COLLECTOR: Final = Lane(
    9.0,
    {
        "kill": Kind(3, 0.0, 4.0),
        # 0: half of the request arrives; 1: all of it, and no answer is heard.
        "kill_in_write": Kind(3, 0.0, 3.0, (0.0, 1.0)),
        "stop": Kind(2, 0.5, 6.0),
    },
)
_BROKER: Final = Lane(
    11.0,
    {"kill": Kind(2, 0.0, 3.0), "forget": Kind(3, 0.0, 3.0), "stop": Kind(2, 0.5, 6.0)},
)
_DATABASE: Final = Lane(16.0, {"kill": Kind(2, 0.0, 4.0), "stop": Kind(2, 0.5, 7.0)})
_LINK: Final = Lane(
    3.0,
    {
        "cut": Kind(5, 0.0, 0.0),
        "refuse": Kind(3, 0.3, 4.0),
        "silence": Kind(2, 0.5, 8.0),
        "delay": Kind(2, 1.0, 8.0, (0.05, 0.3, 1.5)),
    },
)
# Only messages can be told twice or in another order, a stream of bytes cannot.
_MESSAGES: Final = _LINK._replace(kinds={**_LINK.kinds, "shuffle": Kind(3, 2.0, 10.0)})
_DISK: Final = Lane(12.0, {"full": Kind(1, 2.0, 10.0)})
_STEPS: Final = (-180.0, -120.0, -60.0, 0.0, 0.0)
_COLLECTOR_STEPS: Final = (-180.0, -60.0, 60.0, 180.0)

LANES: Final[Mapping[str, Lane]] = {
    **{f"agent:{name}": _AGENT for name in PLACES},
    "collector": _COLLECTOR,
    "broker": _BROKER,
    "database": _DATABASE,
    **{f"link:{name}": _MESSAGES for name in (*PLACES, "collector")},
    "link:store": _LINK,
    "disk": _DISK,
    "clock:agent": Lane(14.0, {"step": Kind(1, 0.0, 0.0, _STEPS)}),
    "clock:collector": Lane(25.0, {"step": Kind(1, 3.0, 12.0, _COLLECTOR_STEPS)}),
}


def plan(seed: int, seconds: float) -> Schedule:
    """Draw the faults of a run; each lane has dice of its own, and is over at the end."""
    faults: list[Fault] = []
    away = _away(random.Random(f"{seed}/away"), seconds)
    for name, lane in LANES.items():
        drawn = _lane(random.Random(f"{seed}/{name}"), name, lane, seconds)
        faults += [f for f in drawn if name != "database" or not _overlap(f, away)]
    faults.append(away)
    return Schedule(seed, seconds, tuple(sorted(faults)))


def _away(dice: random.Random, seconds: float) -> Fault:
    part, least = AWAY
    lasts = min(max(part * seconds, least), seconds / 2)
    at = dice.uniform(0.2, 0.5) * (seconds - lasts) + QUIET_SECONDS
    return Fault(round(at, 3), round(lasts, 3), "database", "away")


def _overlap(one: Fault, other: Fault) -> bool:
    # With a second between them, for a server that is slow to start.
    return one.at_seconds - 1 < other.ends_seconds and other.at_seconds < one.ends_seconds + 1


def _lane(dice: random.Random, name: str, lane: Lane, seconds: float) -> Iterable[Fault]:
    at = QUIET_SECONDS
    while True:
        at = _in_a_storm(at + 0.2 + dice.expovariate(1 / lane.every_seconds))
        kinds = list(lane.kinds)
        kind = dice.choices(kinds, [lane.kinds[each].weight for each in kinds])[0]
        _, shortest, longest, amounts = lane.kinds[kind]
        lasts = dice.uniform(shortest, longest)
        amount = dice.choice(amounts)
        if at + lasts >= seconds:
            return
        yield Fault(round(at, 3), round(lasts, 3), name, kind, amount)
        at += lasts


def _in_a_storm(at: float) -> float:
    period = STORM_SECONDS + CALM_SECONDS
    return at if at % period < STORM_SECONDS else at + period - at % period


def parse(text: str) -> Schedule:
    """Read a printed schedule back; lines before its head are skipped. Raises ScheduleError."""
    lines = iter(text.splitlines())
    for line in lines:
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if line.startswith("seed=") and words.keys() >= {"seed", "seconds"}:
            break
    else:
        raise ScheduleError("no line begins with seed=")
    faults = []
    for line in lines:
        parts = line.split()
        if len(parts) != len(Fault._fields) or parts[2] not in LANES:
            break
        at, lasts, lane, kind, amount = parts
        faults.append(Fault(float(at), float(lasts), lane, kind, float(amount)))
    return Schedule(int(words["seed"]), float(words["seconds"]), tuple(faults))
