"""Which states the compute slices of a partitioned accelerator are in, from one sample. Pure.

A slice that nobody was given cannot compute, so it is free; so is one whose partition no process
holds. One that is held, and of which it is not known whether it computes, is unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Final

from meterhouse_agent.samples import AcceleratorSample, Partition, Partitioning
from meterhouse_agent.states import BUSY_SM, DRIVER_BYTES, PowerRange, state_of
from meterhouse_agent.wire import State

_NOT_KNOWN: Final[Mapping[State, int]] = {"unknown": 1}
_AT_WORK: Final[frozenset[State]] = frozenset({"active", "unknown"})


def shares_of(sample: AcceleratorSample, power: PowerRange) -> Mapping[State, int]:
    """Return how many equal parts of an accelerator a sample shows in which state, none of them 0.

    An accelerator that is not partitioned is one part.
    """
    found = sample.partitioning
    if found is None or sample.health != "ok":
        return {state_of(sample, power): 1}
    left = found.slices - sum(part.slices for part in found.partitions)
    if found.slices <= 0 or left < 0:
        return _NOT_KNOWN
    shares: dict[State, int] = {}
    for part, state in _partition_states(found):
        shares[state] = shares.get(state, 0) + part.slices
    if (
        not _AT_WORK & shares.keys()
        and sample.power_watts is not None
        and power.contradicts_idle(sample.power_watts)
    ):
        # Something computes, and what was not given to anybody cannot.
        shares = {"unknown": found.slices - left}
    rest: State = "free" if found.complete else "unknown"
    shares[rest] = shares.get(rest, 0) + left
    return {state: slices for state, slices in shares.items() if slices}


def _partition_states(found: Partitioning) -> Iterable[tuple[Partition, State]]:
    instances: dict[int, list[Partition]] = {}
    for place, part in enumerate(found.partitions):
        # Nobody else is in an instance that is not known.
        alone = -1 - place
        instances.setdefault(alone if part.instance is None else part.instance, []).append(part)
    for parts in instances.values():
        yield from zip(parts, _states_in_instance(parts, found.slices), strict=True)


def _states_in_instance(parts: Sequence[Partition], slices: int) -> list[State]:
    """Judge partitions whose activity is only told together."""
    activity = parts[0].sm_activity_ratio
    held = [_is_held(part, slices) for part in parts]
    if activity is None:
        return ["free" if each is False else "unknown" for each in held]
    if activity < BUSY_SM:
        return ["held_idle" if each else "free" for each in held]
    suspects = [each is not False for each in held]
    if not any(suspects):
        suspects = [True] * len(held)
    # Which one of several computes is not told.
    busy: State = "active" if sum(suspects) == 1 else "unknown"
    return [busy if suspect else "free" for suspect in suspects]


def _is_held(part: Partition, slices: int) -> bool | None:
    if part.held is not None or part.memory_used_bytes is None:
        return part.held
    return part.memory_used_bytes > DRIVER_BYTES * part.slices / slices


def apportion(total: int, weights: Mapping[State, int | Fraction]) -> dict[State, int]:
    """Divide a whole number by weights into whole numbers that sum to it (largest remainder).

    Of equal remainders the first ones get more. Raises ``ValueError`` where no weight is above 0.
    """
    whole = sum(weights.values())
    if whole <= 0 or min(weights.values()) < 0:
        raise ValueError("weights to divide by are not negative, and one is above 0")
    given: dict[State, int] = {}
    remainders: dict[State, int | Fraction] = {}
    for state, weight in weights.items():
        given[state], remainders[state] = divmod(total * weight, whole)
    left = total - sum(given.values())
    for state in sorted(weights, key=remainders.__getitem__, reverse=True)[:left]:
        given[state] += 1
    return given


def apportion_energy(
    ticks: int, idle_ticks: int | None, shares: Mapping[State, int]
) -> dict[State, int]:
    """Divide what an accelerator drew over the states of its slices, exactly.

    What it would have drawn in idleness goes to all slices alike, and the rest to those that
    compute, or of which that is not known. Without ``idle_ticks`` all goes by slices.
    """
    at_work = {state: slices for state, slices in shares.items() if state in _AT_WORK}
    if idle_ticks is None or not at_work:
        return apportion(ticks, shares)
    idle = apportion(min(idle_ticks, ticks), shares)
    above = apportion(max(0, ticks - idle_ticks), at_work)
    return {state: part + above.get(state, 0) for state, part in idle.items()}
