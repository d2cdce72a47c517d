"""Latencies: of single requests, and means and quantiles of what replicas observed in buckets."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import fsum
from typing import Final, Literal, NamedTuple

from meterhouse_collector.kpi.catalogue import Kpi
from meterhouse_collector.kpi.numbers import not_negative, share
from meterhouse_collector.kpi.parts import not_above, reasoned
from meterhouse_collector.kpi.value import Reasoned


class Histogram(NamedTuple):
    """Observations of one replica: the count of each bucket alone, the last above the last edge."""

    edges_seconds: Sequence[float]
    observed_count: Sequence[float]
    sum_seconds: float = 0.0


class Merged(NamedTuple):
    """The observations of all replicas on the edges that all have, or a reason why not."""

    edges_seconds: tuple[float, ...]
    observed_count: tuple[float, ...]
    sum_seconds: float
    reason: str | None = None


def merge_histograms(*, replicas: Sequence[Histogram]) -> Merged:
    """Return the summed buckets of replicas; quantiles come after this and are never averaged.

    Where edges differ (they differ by version and by option, reference 4.12) only those that all
    replicas have are kept: there each cumulative count is known exactly. Without a common edge
    nothing but the total could be said, and the reason says so. Raises ``ValueError`` for edges
    that do not rise and for counts that are not one more than edges.
    """
    for replica in replicas:
        _check(replica)
    if not replicas:
        return Merged((), (), 0.0, "no replica")
    common = sorted(
        set(replicas[0].edges_seconds).intersection(*(r.edges_seconds for r in replicas))
    )
    if not common:
        return Merged((), (), 0.0, "the replicas have no bucket edge in common")
    upto = [fsum(column) for column in zip(*(_upto(r, common) for r in replicas), strict=True)]
    counts = (after - before for before, after in pairwise([0.0, *upto]))
    return Merged(tuple(common), tuple(counts), fsum(r.sum_seconds for r in replicas))


def _upto(replica: Histogram, edges: Sequence[float]) -> list[float]:
    """Return the cumulative counts at some of the edges, and in all."""
    cumulative = list(accumulate(replica.observed_count))
    at = dict(zip(replica.edges_seconds, cumulative, strict=False))
    return [*(at[edge] for edge in edges), cumulative[-1]]


def _check(replica: Histogram) -> None:
    edges, counts = replica.edges_seconds, replica.observed_count
    if len(counts) != len(edges) + 1:
        raise ValueError(
            f"{len(counts)} counts for {len(edges)} edges: one of each bucket, not cumulative, and"
            " one of what lies above the last edge"
        )
    if any(not after > before for before, after in pairwise(edges)):
        raise ValueError(f"edges_seconds is {list(edges)}: each above the one before it")
    not_negative(sum_seconds=replica.sum_seconds)
    for edge in edges:
        not_negative(edges_seconds=edge)
    for count in counts:
        not_negative(observed_count=count)


class Quantile(NamedTuple):
    """A quantile with the bucket that holds it; in the open last bucket only ``low`` is known."""

    seconds: float | None
    low_seconds: float | None
    high_seconds: float | None
    observed_count: float
    reason: str | None = None


def latency_quantile(*, replicas: Sequence[Histogram], quantile_ratio: float) -> Quantile:
    """Return a quantile of the summed buckets of all replicas (vector TTFT-QUANTILE).

    ``observed_count`` is of each bucket alone, not cumulative as Prometheus serves it, and one more
    for what lies above the last edge. Linear interpolation inside the bucket that the rank falls
    into, the first beginning at 0 (Prometheus, histogram_quantile). In the open last bucket the
    value is the last edge, a lower bound, and the reason says so. Raises ``ValueError`` for a
    quantile outside 0 to 1 and for malformed buckets.
    """
    share(quantile_ratio=quantile_ratio)
    merged = merge_histograms(replicas=replicas)
    total = fsum(merged.observed_count)
    if merged.reason is not None or total == 0:
        return Quantile(None, None, None, total, merged.reason or "nothing was observed")
    rank = quantile_ratio * total
    before, low = 0.0, 0.0
    for edge, count in zip(merged.edges_seconds, merged.observed_count, strict=False):
        if count > 0 and before + count >= rank:
            part = max(0.0, rank - before) / count
            return Quantile(low + (edge - low) * part, low, edge, total)
        before, low = before + count, edge
    return Quantile(low, low, None, total, f"a lower bound: above the last edge, {low:g} s")


class WithinThreshold(NamedTuple):
    """The share of observations within a threshold: exact on a bucket edge, else two bounds."""

    ratio: float | None
    low_ratio: float | None
    high_ratio: float | None
    reason: str | None = None


def within_threshold(*, replicas: Sequence[Histogram], threshold_seconds: float) -> WithinThreshold:
    """Return the share of observations of at most a threshold, from summed buckets.

    On a bucket edge it is exact. Between two edges the count is between those at both, and there
    is no value inside to be believed (definitions: Cost per task). Raises ``ValueError`` for a
    negative threshold and for malformed buckets.
    """
    not_negative(threshold_seconds=threshold_seconds)
    merged = merge_histograms(replicas=replicas)
    whole = Histogram(merged.edges_seconds, merged.observed_count)
    if merged.reason is not None or fsum(whole.observed_count) == 0:
        return WithinThreshold(None, None, None, merged.reason or "nothing was observed")
    low, high, total = within_count(histogram=whole, threshold_seconds=threshold_seconds)
    if threshold_seconds in whole.edges_seconds:
        return WithinThreshold(low / total, low / total, low / total)
    reason = f"{threshold_seconds:g} s is no bucket edge that all replicas have"
    return WithinThreshold(None, low / total, high / total, reason)


class WithinCount(NamedTuple):
    """Observations within a threshold, at least and at most, and all of them."""

    low: float
    high: float
    observed: float


def within_count(*, histogram: Histogram, threshold_seconds: float) -> WithinCount:
    """Return how many observations of a histogram were within a threshold.

    On a bucket edge both bounds are the same; else they are the counts at the edges around it.
    Raises ``ValueError`` for a negative threshold and for malformed buckets.
    """
    not_negative(threshold_seconds=threshold_seconds)
    _check(histogram)
    counts = [*accumulate(histogram.observed_count)]
    upto = dict(zip(histogram.edges_seconds, counts, strict=False))
    low = max((n for edge, n in upto.items() if edge <= threshold_seconds), default=0.0)
    high = min((n for edge, n in upto.items() if edge >= threshold_seconds), default=counts[-1])
    return WithinCount(low, high, counts[-1])


def mean_latency_seconds(*, sum_seconds: float, observed_count: float) -> Reasoned:
    """Return sum / count, both over the same window.

    Sums and counts add up over replicas, means do not (vector TRITON-MEAN, in microseconds there).
    Raises ``ValueError`` for an amount that is negative or no number.
    """
    not_negative(sum_seconds=sum_seconds, observed_count=observed_count)
    return reasoned(sum_seconds, observed_count, "nothing was observed")


def mean_time_per_output_token_seconds(
    *, sum_seconds: float, observed_count: float, single_token_count: float
) -> Reasoned:
    """Return sum / (count - requests of one token): vLLM observes 0 for these, undefined as it is.

    Reference 1.5, TPOT. Raises ``ValueError`` for more single-token requests than were observed.
    """
    not_negative(
        sum_seconds=sum_seconds,
        observed_count=observed_count,
        single_token_count=single_token_count,
    )
    not_above(observed_count, "observed_count", single_token_count=single_token_count)
    return reasoned(
        sum_seconds, observed_count - single_token_count, "no request had two output tokens"
    )


class RequestLatency(NamedTuple):
    """The three latencies of one request; what it never reached or cannot have is None."""

    time_to_first_token_seconds: float | None
    time_per_output_token_seconds: float | None
    end_to_end_seconds: float | None


def request_latency(
    *,
    sent_seconds: float,
    first_token_seconds: float | None,
    finished_seconds: float | None,
    output_tokens: int,
) -> RequestLatency:
    """Return the latencies of one request from instants of one clock.

    TTFT = first non-empty token - sent (NVIDIA NIM benchmarking); end to end = finished - sent;
    TPOT = (end to end - TTFT) / (output tokens - 1), undefined for one token (AIPerf, vLLM).
    Raises ``ValueError`` for instants out of order.
    """
    not_negative(output_tokens=output_tokens)
    first = None if first_token_seconds is None else first_token_seconds - sent_seconds
    whole = None if finished_seconds is None else finished_seconds - sent_seconds
    not_negative(first_token_after_seconds=first, finished_after_seconds=whole)
    if first is None or whole is None or output_tokens <= 1:
        return RequestLatency(first, None, whole)
    not_above(whole, "finished_after_seconds", first_token_after_seconds=first)
    return RequestLatency(first, max(0.0, whole - first) / (output_tokens - 1), whole)


class RoleHistogram(NamedTuple):
    """What one worker observed, and whether it prefills, decodes, or does both."""

    role: Literal["whole", "prefill", "decode"]
    edges_seconds: Sequence[float]
    observed_count: Sequence[float]
    sum_seconds: float = 0.0


def first_token_histograms(*, workers: Sequence[RoleHistogram]) -> tuple[Histogram, ...]:
    """Return the TTFT histograms that count: of disaggregated workers only those that decode.

    A prefill worker sees the request too, but not the token that reaches the user (reference
    4.11). Raises ``ValueError`` for malformed buckets.
    """
    found = [(worker.role, Histogram(*worker[1:])) for worker in workers]
    for _, histogram in found:
        _check(histogram)
    return tuple(histogram for role, histogram in found if role != "prefill")


KPIS: Final = (
    Kpi(
        "merge_histograms",
        "by name",
        "observed_count by bucket",
        "1",
        "buckets summed over replicas on the edges that all have",
        "Prometheus, aggregation of histograms; reference 1.5",
    ),
    Kpi(
        "latency_quantile",
        "by name",
        "rank in the summed buckets",
        "observed_count",
        "linear interpolation inside the bucket of the rank",
        "Prometheus, histogram_quantile",
    ),
    Kpi(
        "within_threshold",
        "by name",
        "observed_count up to threshold_seconds",
        "observed_count",
        "exact on a bucket edge, else bounds",
        "definitions of this project, cost per task",
    ),
    Kpi(
        "mean_latency_seconds",
        "seconds",
        "sum_seconds",
        "observed_count",
        "sum / count",
        "Triton, metrics in its user guide",
    ),
    Kpi(
        "mean_time_per_output_token_seconds",
        "seconds",
        "sum_seconds",
        "observed_count - single_token_count",
        "sum / count without requests of one token",
        "AIPerf; vLLM, request_time_per_output_token_seconds",
    ),
    Kpi(
        "request_latency",
        "by name",
        "end to end - time to first token",
        "output_tokens - 1",
        "TTFT, TPOT and end-to-end time of one request",
        "NVIDIA NIM benchmarking; AIPerf",
    ),
    Kpi(
        "first_token_histograms",
        "by name",
        "histograms of workers that decode",
        "1",
        "prefill workers left out",
        "SGLang, disaggregated workers; reference 4.11",
    ),
)
