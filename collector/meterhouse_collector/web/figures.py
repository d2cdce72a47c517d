"""Figures beside the KPIs, from the same sums; missing is not zero."""

from collections.abc import Mapping, Sequence
from math import fsum
from typing import Final

from meterhouse_agent import wire
from meterhouse_collector.kpi.value import share
from meterhouse_collector.money.kinds import KINDS
from meterhouse_collector.web.document import Money, Power, Tokens

# Shown also where they cost nothing; other kinds only where they cost something.
_ALWAYS: Final = ("capital", "energy")


def power_of(sums: Mapping[str, float]) -> Power:
    """Return the mean power of both sides over the time that counts for both, else IT's alone."""
    joint = sums["pue_joint_seconds"]
    if joint > 0:
        return Power(
            facility_watts=sums["facility_joint_joules"] / joint,
            it_watts=sums["it_joint_joules"] / joint,
            covered_seconds=joint,
        )
    reason = "no interval has both facility and IT energy"
    sized = sums["interval_seconds"] - sums["pue_unexpected_seconds"]
    if sized > 0:
        watts = sums["it_expected_joules"] / sized
        return Power(it_watts=watts, covered_seconds=sized, reason=reason)
    return Power(reason=reason)


def tokens_of(sums: Mapping[str, float]) -> Tokens:
    """Return the rates of tokens; none where no engine's tokens are known."""
    installed, seconds = sums["engine_installed_seconds"], sums["interval_seconds"]
    coverage = share(sums["engine_covered_seconds"], installed)
    if installed <= 0 and sums["output_tokens"] == 0:
        return Tokens(reason="no engine holds a device here")
    if (coverage == 0 and sums["output_tokens"] == 0) or seconds <= 0:
        return Tokens(reason="no engine's tokens are known")
    return Tokens(
        output_per_second=sums["output_tokens"] / seconds,
        input_per_second=sums["input_tokens"] / seconds,
        coverage=coverage,
    )


def money_of(sums: Mapping[str, float], currency: str) -> Money:
    """Return the matrix of kind and state."""
    every = {kind: {s: sums[f"{s}_{kind}_money"] for s in wire.STATES} for kind in KINDS}
    matrix = {k: row for k, row in every.items() if k in _ALWAYS or any(row.values())}
    return Money(
        currency=currency,
        matrix=matrix,
        total=fsum(part for row in matrix.values() for part in row.values()),
        estimated_energy=sums["estimated_energy_money"],
        unpriced_device_seconds=sums["unpriced_seconds"],
    )


def states_of(sums: Mapping[str, float]) -> dict[wire.State, float]:
    """Return the device-seconds in each state."""
    return {state: sums[f"{state}_seconds"] for state in wire.STATES}


def columns_of(rows: Sequence[Mapping[str, float]]) -> dict[wire.State, list[float]]:
    """Return the device-seconds in each state, row by row."""
    return {state: [row[f"{state}_seconds"] for row in rows] for state in wire.STATES}
