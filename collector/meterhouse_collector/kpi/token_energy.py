"""Formulas of energy and tokens."""

from typing import Final

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative
from meterhouse_collector.kpi.value import Reasoned

JOULES_PER_MEGAJOULE: Final = 1e6
NO_TOKENS: Final = "no tokens"


def joules_per_output_token(*, energy_joules: float, output_tokens: float) -> Reasoned:
    """Return the energy of what served, its idle time included, / output tokens.

    Raise ValueError for amounts below zero (definition: ratio of sums).
    """
    not_negative(energy_joules=energy_joules, output_tokens=output_tokens)
    return _over(energy_joules, output_tokens)


def joules_per_token(
    *, energy_joules: float, input_tokens: float, output_tokens: float
) -> Reasoned:
    """Return the energy of what served, its idle time included, / all tokens, cached included.

    Raise ValueError for amounts below zero (definition: ratio of sums).
    """
    not_negative(
        energy_joules=energy_joules, input_tokens=input_tokens, output_tokens=output_tokens
    )
    return _over(energy_joules, input_tokens + output_tokens)


def tokens_per_second_per_megawatt(*, output_tokens: float, energy_joules: float) -> Reasoned:
    """Return output tokens / energy in MJ, which is tokens per second for each megawatt.

    With the energy of the facility it is of the feed, with that of IT it is of IT. Raise
    ValueError for amounts below zero (definition: the seconds of both rates cancel).
    """
    not_negative(output_tokens=output_tokens, energy_joules=energy_joules)
    if energy_joules == 0:
        return Reasoned(None, "no energy")
    return Reasoned(output_tokens / (energy_joules / JOULES_PER_MEGAJOULE))


def _over(joules: float, tokens: float) -> Reasoned:
    return Reasoned(joules / tokens) if tokens > 0 else Reasoned(None, NO_TOKENS)


KPIS: Final = (
    Kpi(
        "joules_per_token",
        "joules per token",
        "energy_joules",
        "input_tokens + output_tokens",
        "energy of what served / tokens, cached input included",
        "definition: ratio of sums",
    ),
)
