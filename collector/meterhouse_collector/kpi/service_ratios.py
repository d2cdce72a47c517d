"""Success, energy per token and latency of what served in a window."""

from collections.abc import Mapping
from typing import Final

from meterhouse_collector.kpi import success, token_energy
from meterhouse_collector.kpi.catalogue import LATENCIES, QUANTILES
from meterhouse_collector.kpi.latency import Histogram, latency_quantile
from meterhouse_collector.kpi.ratios import Ratio, kpi_of
from meterhouse_collector.kpi.value import KpiValue, Reasoned, below_floor, share

NO_TOKENS: Final = "no tokens whose energy is known"


def success_ratio(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return the part of finished requests that ended by a stop or by their length."""
    good, bad = sums["requests_succeeded"], sums["requests_failed"]

    def formula() -> Reasoned:
        ended = [success.Finished(success.STOP, good), success.Finished("failed", bad)]
        found = success.success_ratio(finished=ended)
        return Reasoned(found.ratio, found.reason)

    return kpi_of(
        Ratio(
            name="success_ratio",
            unit="ratio",
            label="finished requests that succeeded",
            numerator=good,
            denominator=good + bad,
            coverage=_coverage(sums, "engine_told_seconds"),
            formula=formula,
            nothing="no request finished",
        ),
        floor,
    )


def joules_per_output_token(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return the energy of what served, idle time and share of the pool included, per token."""
    joules, tokens = sums["served_drawn_joules"], sums["served_output_tokens"]
    return kpi_of(
        Ratio(
            name="joules_per_output_token",
            unit="joules per token",
            label="IT energy of what served per output token",
            numerator=joules,
            denominator=tokens,
            coverage=_coverage(sums, "served_covered_seconds"),
            formula=lambda: token_energy.joules_per_output_token(
                energy_joules=joules, output_tokens=tokens
            ),
            nothing=NO_TOKENS,
        ),
        floor,
    )


def tokens_per_second_per_megawatt(sums: Mapping[str, float], *, floor: float) -> KpiValue:
    """Return output tokens per second for each megawatt of the nodes that served."""
    joules, tokens = sums["served_drawn_joules"], sums["served_output_tokens"]
    return kpi_of(
        Ratio(
            name="tokens_per_second_per_megawatt",
            unit="tokens per second per megawatt",
            label="output tokens per IT energy of what served",
            numerator=tokens,
            denominator=joules,
            coverage=_coverage(sums, "served_covered_seconds"),
            formula=lambda: token_energy.tokens_per_second_per_megawatt(
                output_tokens=tokens, energy_joules=joules
            ),
            nothing=NO_TOKENS,
        ),
        floor,
    )


def latency(
    sums: Mapping[str, float],
    observed: Mapping[str, Histogram],
    *,
    metric: str,
    quantile: str,
    floor: float,
) -> KpiValue:
    """Return a quantile of a latency from the buckets of a window, summed over all replicas.

    The bounds are those of the bucket that holds it.
    """
    ratio = QUANTILES[quantile]
    replicas = [observed[metric]] if metric in observed else []
    found = latency_quantile(replicas=replicas, quantile_ratio=ratio)
    coverage = _coverage(sums, "engine_told_seconds")
    reason = below_floor(coverage, floor)
    if found.seconds is None:
        reason = "nothing was observed"
    return KpiValue(
        name=f"{metric}_{quantile}_seconds",
        unit="seconds",
        label=f"{ratio:.0%} of requests: {LATENCIES[metric]} at most",
        value=found.seconds if reason is None else None,
        numerator=ratio * found.observed_count,
        denominator=found.observed_count,
        coverage=coverage,
        reason=reason or found.reason,
        low=found.low_seconds,
        high=found.high_seconds,
    )


def _coverage(sums: Mapping[str, float], field: str) -> float:
    return share(sums[field], sums["engine_installed_seconds"])
