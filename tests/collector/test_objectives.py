"""Goodput of one objective at a time: the requests of a quarter within it, as points for boards."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_collector.kpi.latency import Histogram, within_count
from meterhouse_collector.quarters.objectives import objective_points
from meterhouse_collector.quarters.settle import settle_quarters
from meterhouse_collector.rows import Point
from meterhouse_collector.store import Store
from tests.collector.collecting import index
from tests.collector.settling import FIRST
from tests.collector.test_slo_windows import slo, told

TIMES = st.floats(0.0, 2.0, allow_nan=False)


async def points(store: Store) -> list[Point]:
    return await store.points("event", "objective", start_seconds=0, end_seconds=2**33)


def point(within: float, high: float, observed: float, *, told_seconds: float = 900.0) -> Point:
    """Return the point of the objective that ``slo`` makes, of the first quarter."""
    tags = {
        "metric": "time_to_first_token",
        "objective": "first-token",
        "served_model": "llama",
        "site": "site-a",
    }
    fields: dict[str, float | int | str | bool] = {
        "within_requests": within,
        "high_within_requests": high,
        "observed_requests": observed,
        "told_seconds": told_seconds,
        "installed_seconds": 900.0,
        "quarter_seconds": 900.0,
        "threshold_seconds": 0.5,
        "objective_ratio": 0.9,
    }
    return Point("event", "objective", tuple(tags.items()), fields, FIRST)


async def test_a_settled_quarter_says_how_many_requests_were_within(store: Store) -> None:
    assert await store.write([told(FIRST, (60, 20, 10, 0))]) == []
    await settle_quarters(store, index(slo()), [FIRST])
    assert await points(store) == [point(80.0, 80.0, 90.0)]


async def test_a_quarter_that_is_summed_again_takes_the_place_of_the_first(store: Store) -> None:
    known = index(slo())
    await settle_quarters(store, known, [FIRST])
    # Nobody told, which is known: no request, of none of the engine's seconds.
    assert await points(store) == [point(0.0, 0.0, 0.0, told_seconds=0.0)]
    assert await store.write([told(FIRST, (1, 0, 0, 3))]) == []
    await settle_quarters(store, known, [FIRST])
    assert await points(store) == [point(1.0, 1.0, 4.0)]


async def test_between_edges_there_is_an_at_least_and_an_at_most(store: Store) -> None:
    assert await store.write([told(FIRST, (60, 20, 10, 5))]) == []
    await settle_quarters(store, index(slo(threshold='"700ms"')), [FIRST])
    [found] = await points(store)
    assert found.fields["within_requests"] == 80.0
    assert found.fields["high_within_requests"] == 90.0
    await settle_quarters(store, index(slo(threshold='"3s"')), [FIRST])
    [found] = await points(store)
    assert found.fields["within_requests"] == 90.0
    assert found.fields["high_within_requests"] == 95.0


def test_what_no_engine_reports_and_what_is_over_has_no_point() -> None:
    of = index(
        slo("unreported", metric='"inter_token_latency"'), slo("over", valid_to="2020-01-01")
    )
    assert [*objective_points(of, FIRST, {})] == []


def test_requests_of_a_served_model_without_engine_are_of_the_time_that_was_told() -> None:
    of = index(slo(served_model='"phi"'))
    [found] = objective_points(of, FIRST, {})
    assert found.fields["installed_seconds"] == found.fields["told_seconds"] == 0.0


@given(
    st.lists(TIMES, max_size=50),
    st.sets(TIMES, min_size=1, max_size=6).map(sorted),
    TIMES,
    st.booleans(),
)
def test_the_truth_lies_between_at_least_and_at_most(
    seconds: list[float],
    edges: list[float],
    between: float,
    on_edge: bool,  # noqa: FBT001 - drawn
) -> None:
    threshold = edges[len(seconds) % len(edges)] if on_edge else between
    upto = [sum(each <= edge for each in seconds) for edge in edges]
    buckets = [b - a for a, b in zip([0, *upto], [*upto, len(seconds)], strict=True)]
    found = within_count(histogram=Histogram(edges, buckets), threshold_seconds=threshold)
    true = sum(each <= threshold for each in seconds)
    assert found.low <= true <= found.high
    assert found.observed == len(seconds)
    if threshold in edges:
        assert found.low == found.high == true


def test_buckets_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not cumulative"):
        within_count(histogram=Histogram((0.5,), (1.0,)), threshold_seconds=1.0)
    with pytest.raises(ValueError, match="threshold_seconds is -1"):
        within_count(histogram=Histogram((0.5,), (1.0, 0.0)), threshold_seconds=-1.0)
