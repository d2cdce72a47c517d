"""Latencies from buckets: merged over replicas before anything is read off, with bounds."""

import itertools
import math
from collections import Counter
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi import latency
from meterhouse_collector.kpi.latency import Histogram

EDGES = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1)
COUNTS = (0, 0, 0, 13, 84, 26, 15, 2, 0)


def observed(values: list[float], edges: tuple[float, ...]) -> Histogram:
    """Return what an engine with these bucket edges says of some latencies."""
    counts = Counter(sum(edge < value for edge in edges) for value in values)
    return Histogram(edges, [counts[at] for at in range(len(edges) + 1)], sum(values))


LATENCIES = st.lists(st.floats(0, 20), max_size=30)
EDGE_SETS = st.sets(st.sampled_from((0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)), min_size=1).map(
    lambda edges: tuple(sorted(edges))
)


@given(st.lists(st.tuples(LATENCIES, EDGE_SETS), min_size=1, max_size=4), st.integers(0, 64))
def test_bounds_of_a_quantile_contain_the_true_one(
    replicas: list[tuple[list[float], tuple[float, ...]]], sixty_fourths: int
) -> None:
    found = latency.latency_quantile(
        replicas=[observed(*replica) for replica in replicas], quantile_ratio=sixty_fourths / 64
    )
    truth = sorted(itertools.chain.from_iterable(values for values, _ in replicas))

    if found.seconds is None:
        common = set.intersection(*(set(edges) for _, edges in replicas))
        assert not truth or not common
        return
    rank = max(1, math.ceil(Fraction(sixty_fourths, 64) * len(truth)))
    assert found.low_seconds is not None
    assert found.low_seconds <= truth[rank - 1] <= (found.high_seconds or math.inf)
    assert found.low_seconds <= found.seconds <= (found.high_seconds or math.inf)
    assert (found.high_seconds is None) == (found.reason is not None)


@given(
    st.lists(st.tuples(LATENCIES, EDGE_SETS), min_size=1, max_size=4),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_quantile_does_not_depend_on_the_order_of_replicas(
    replicas: list[tuple[list[float], tuple[float, ...]]],
    quantile: float,
    random: Random,
) -> None:
    histograms = [observed(*replica) for replica in replicas]
    shuffled = random.sample(histograms, len(histograms))

    found = latency.latency_quantile(replicas=histograms, quantile_ratio=quantile)
    assert latency.latency_quantile(replicas=shuffled, quantile_ratio=quantile) == found
    merged = latency.merge_histograms(replicas=histograms)
    assert latency.merge_histograms(replicas=shuffled) == merged


@given(LATENCIES, LATENCIES, EDGE_SETS)
def test_buckets_add_up_over_disjoint_windows(
    one: list[float], other: list[float], edges: tuple[float, ...]
) -> None:
    merged = latency.merge_histograms(replicas=[observed(one, edges), observed(other, edges)])
    whole = observed(one + other, edges)

    assert (merged.edges_seconds, merged.observed_count) == (edges, tuple(whole.observed_count))
    assert merged.sum_seconds == pytest.approx(whole.sum_seconds)


@given(LATENCIES, EDGE_SETS, st.floats(0, 20))
def test_share_within_a_threshold_lies_between_its_bounds(
    values: list[float], edges: tuple[float, ...], threshold: float
) -> None:
    found = latency.within_threshold(
        replicas=[observed(values, edges)], threshold_seconds=threshold
    )

    if not values:
        assert found == (None, None, None, "nothing was observed")
        return
    truth = sum(value <= threshold for value in values) / len(values)
    assert found.low_ratio is not None
    assert found.high_ratio is not None
    assert found.low_ratio <= truth <= found.high_ratio
    assert found.ratio in {None, truth}


def test_ttft_quantile_vector_at_a_threshold_that_is_an_edge() -> None:
    found = latency.within_threshold(
        replicas=[Histogram(EDGES, COUNTS)], threshold_seconds=EDGES[4]
    )

    assert found == (97 / 140, 97 / 140, 97 / 140, None)


def test_reference_1_5_percentiles_are_never_averaged() -> None:
    """Ninety fast requests on one replica and ten slow ones on another: the median is fast."""
    edges = (0.1, 1.0, 10.0)
    fast, slow = Histogram(edges, (90, 0, 0, 0)), Histogram(edges, (0, 0, 10, 0))
    each = [latency.latency_quantile(replicas=[one], quantile_ratio=0.5) for one in (fast, slow)]
    both = latency.latency_quantile(replicas=[fast, slow], quantile_ratio=0.5)

    assert [one.seconds for one in each] == [0.05, 5.5]
    assert both.seconds == pytest.approx(0.1 * 50 / 90)


def test_quantile_in_the_open_bucket_is_a_lower_bound_and_says_so() -> None:
    found = latency.latency_quantile(replicas=[Histogram((0.1,), (1, 9))], quantile_ratio=0.5)

    assert found == (0.1, 0.1, None, 10, "a lower bound: above the last edge, 0.1 s")


def test_reference_4_12_edges_that_differ_by_version_are_merged_where_both_have_them() -> None:
    found = latency.merge_histograms(
        replicas=[
            Histogram((0.1, 0.2, 0.4), (1, 2, 3, 4), 5.0),
            Histogram((0.1, 0.4, 0.8), (10, 20, 30, 40), 50.0),
        ]
    )

    assert found == ((0.1, 0.4), (11, 25, 74), 55, None)


def test_reference_4_12_edges_that_have_nothing_in_common_are_refused_with_a_reason() -> None:
    replicas = [Histogram((0.1,), (1, 2)), Histogram((0.2,), (1, 2))]
    found = latency.latency_quantile(replicas=replicas, quantile_ratio=0.5)

    assert found.seconds is None
    assert found.reason == "the replicas have no bucket edge in common"
    assert latency.within_threshold(replicas=replicas, threshold_seconds=0.1).low_ratio is None
    assert latency.merge_histograms(replicas=[]).reason == "no replica"


@pytest.mark.parametrize(
    ("histogram", "fault"),
    [
        (Histogram((0.2, 0.1), (1, 1, 1)), "each above the one before"),
        (Histogram((0.1, math.nan), (1, 1, 1)), "each above the one before"),
        (Histogram((0.1, math.inf), (1, 1, 1)), "edges_seconds is inf"),
        (Histogram((0.1,), (1, 1, 1)), "3 counts for 1 edges"),
        (Histogram((0.1,), (1, -1)), "observed_count is -1"),
        (Histogram((0.1,), (1, 1), math.nan), "sum_seconds is nan"),
    ],
)
def test_malformed_buckets_are_turned_down(histogram: Histogram, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        latency.merge_histograms(replicas=[histogram])
