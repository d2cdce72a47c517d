"""What served, in the rollup: tokens, requests, latencies, and what they cost and drew."""

from math import fsum

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.kpi.compute import Window, kpi
from meterhouse_collector.kpi.pue import energy_basis
from meterhouse_collector.rollup.observed import add_observed, observed
from meterhouse_collector.rollup.points import live_point
from meterhouse_collector.rollup.pricing import zero_sums
from meterhouse_collector.rollup.roll_up import roll_up
from meterhouse_collector.rows import EngineRow, Served
from meterhouse_collector.site.index import GroupKey
from tests.collector.rollups import (
    DAY_RATE,
    HARDWARE,
    KWH,
    LENGTH,
    MILLISECONDS,
    START,
    TARIFF,
    UTILITY,
    asset,
    engine,
    index,
    interval,
    matrix,
    meter,
    node,
    served,
    share,
    telling,
    total,
)

HAS_ENGINE = energy_basis(index(asset("n1", 1), engine("e1", 'served_model = "m"', "n1/*")))
SERVE = (HARDWARE, UTILITY, TARIFF)
CHAT = GroupKey("site", "c1", "chat", "acme", "nvidia", "M", "llama")


@pytest.mark.parametrize(
    ("rest_milliseconds", "rest_joules"),
    [
        ((10000, 0, 0), (400.0, None, None)),
        ((0, 10000, 0), (None, 400.0, None)),
        ((0, 0, 10000), (None, None, 400.0)),
        ((2000, 5000, 3000), (100.0, 200.0, 100.0)),
    ],
)
def test_cost_follows_the_engine_s_devices_and_its_share_of_the_pool_s_rest(
    rest_milliseconds: tuple[int, int, int],
    rest_joules: tuple[float | None, float | None, float | None],
) -> None:
    # The rest is what is free, unhealthy or unknown.
    known = index(asset("n1", 4), engine("e1", 'served_model = "llama"', "n1/a"), *SERVE)
    row = node(
        share("engine:e1", (5000, 0, 0, 0, 0), (300.0, None, None, None, None)),
        share("tenant:acme", (5000, 0, *rest_milliseconds), (300.0, None, *rest_joules)),
    )
    rows = interval({"n1": row}, {"utility": meter(KWH)}, {"e1": served("llama", 10, 30, 20)})
    groups = roll_up(rows, known)
    second = DAY_RATE / 86400
    mine = 5 * second + 0.108
    rest = 10 * second + 0.144
    assert groups[CHAT]["serving_money"] == pytest.approx(mine + rest / 2)
    assert groups[CHAT]["serving_output_tokens"] == 10
    assert groups[CHAT]["serving_input_tokens"] == 30
    assert groups[CHAT]["serving_computed_tokens"] == 20
    assert groups[CHAT]["serving_computed_money"] == groups[CHAT]["serving_money"]
    assert groups[CHAT]["requests_succeeded"] == 3
    assert groups[CHAT]["engine_covered_seconds"] == groups[CHAT]["engine_installed_seconds"] == 5


@pytest.mark.parametrize(
    "row", [None, served("llama", None), served("llama", 5, None), served("other", 5)]
)
def test_engine_without_token_coverage_leaves_both_sides(row: EngineRow | None) -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), *SERVE)
    engines = {} if row is None else {"e1": row}
    sums = total(roll_up(interval({}, {"utility": meter(KWH)}, engines), known))
    assert sums["serving_money"] == sums["serving_output_tokens"] == 0
    assert (sums["engine_installed_seconds"], sums["engine_covered_seconds"]) == (5, 0)


def test_engine_without_a_price_leaves_both_sides() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), UTILITY, TARIFF)
    rows = interval({}, {"utility": meter(KWH)}, {"e1": served("llama", 5)})
    sums = total(roll_up(rows, known))
    assert (sums["serving_output_tokens"], sums["output_tokens"]) == (0, 5)


def test_partly_covered_engine_leaves_the_rest_of_its_money() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"), *SERVE)
    rows = [
        interval({}, {"utility": meter(0.0)}, {"e1": served("llama", 5, 1, None, covered=covered)})
        for covered in (5000, 2500)
    ]
    whole, half = (total(roll_up(row, known)) for row in rows)
    assert half["serving_money"] == pytest.approx(whole["serving_money"] / 2)
    assert half["engine_covered_seconds"] == 2.5
    assert whole["serving_computed_tokens"] == whole["engine_computed_covered_seconds"] == 0


def test_declared_weights_split_an_engine_of_several_models() -> None:
    weights = 'served_models = { "a" = 0.25, "b" = 0.75 }'
    known = index(asset("n1", 1), engine("e1", weights, "n1/*"), *SERVE)
    both = EngineRow(
        MILLISECONDS,
        tuple(Served(model, MILLISECONDS, 0, 0, 10) for model in ("a", "b")),
    )
    groups = roll_up(interval({}, {"utility": meter(0.0)}, {"e1": both}), known)
    money = {g.served_model: s["serving_money"] for g, s in groups.items() if s["serving_money"]}
    assert money["b"] == pytest.approx(3 * money["a"])
    assert fsum(money.values()) == pytest.approx(matrix(total(groups), "capital"))


def test_engine_across_pools_and_nodes_keeps_its_tokens() -> None:
    serve = engine("e1", 'served_model = "llama"', "n1/*", "n2/*")
    known = index(asset("n1", 1), asset("n2", 3, "spare"), serve, *SERVE)
    groups = roll_up(interval({}, {"utility": meter(0.0)}, {"e1": served("llama", 100)}), known)
    tokens = {group.pool: sums["output_tokens"] for group, sums in groups.items()}
    assert tokens == {"none": 0, "chat": 25, "spare": 75}


def test_tokens_of_an_engine_that_no_model_names_are_counted_but_cost_nothing() -> None:
    groups = roll_up(interval({}, {}, {"e9": served("llama", 100)}), index(asset("n1", 1)))
    group = groups[GroupKey("site", served_model="llama")]
    assert (group["output_tokens"], group["serving_output_tokens"]) == (100, 0)


def test_requests_that_end_otherwise_have_failed() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"))
    sums = total(roll_up(interval({}, {}, {"e1": served("llama", 5)}), known))
    assert (sums["requests_succeeded"], sums["requests_failed"]) == (3, 7)
    found = kpi("success_ratio", sums, window=Window(LENGTH, energy_basis(known), "EUR"))
    assert found.value == pytest.approx(0.3)
    assert found.coverage == 1.0


def test_energy_per_token_needs_no_price_and_takes_idle_time_and_the_pools_rest() -> None:
    known = index(asset("n1", 4), engine("e1", 'served_model = "llama"', "n1/a"))
    row = node(
        share("engine:e1", (2500, 2500, 0, 0, 0), (250.0, 50.0, None, None, None)),
        share("tenant:acme", (5000, 0, 10000, 0, 0), (300.0, None, 400.0, None, None)),
    )
    groups = roll_up(interval({"n1": row}, {}, {"e1": served("llama", 10)}), known)
    assert groups[CHAT._replace(vendor="none")]["served_drawn_joules"] == 300 + 400 / 2
    sums, window = total(groups), Window(LENGTH, energy_basis(known), "EUR")
    assert sums["serving_drawn_joules"] == 0
    assert kpi("joules_per_output_token", sums, window=window).value == 50.0
    assert kpi("tokens_per_second_per_megawatt", sums, window=window).value == 1e6 / 50


def test_tokens_of_devices_without_energy_have_no_energy_per_token() -> None:
    known = index(asset("n1", 1), engine("e1", 'served_model = "llama"', "n1/*"))
    blind = msgspec.structs.replace(
        share("engine:e1", (5000, 0, 0, 0, 0)), energy_quality="missing"
    )
    rows = {"e1": served("llama", 9)}
    sums = total(roll_up(interval({"n1": node(blind)}, {}, rows), known))
    assert (sums["served_output_tokens"], sums["engine_told_seconds"]) == (0, 5)
    found = kpi("joules_per_output_token", sums, window=Window(LENGTH, energy_basis(known), "EUR"))
    assert found.value is None
    whole = roll_up(
        interval({"n1": node(blind, energy=90.0)}, {}, {"e1": served("llama", 9)}), known
    )
    assert total(whole)["served_drawn_joules"] == 90.0


def test_quantiles_are_of_the_summed_buckets_of_a_group() -> None:
    known = index(
        asset("n1", 2),
        engine("e1", 'served_model = "llama"', "n1/a"),
        engine("e2", 'served_model = "llama"', "n1/b"),
    )
    fast = wire.Histogram(edges_seconds=[0.5, 1.0], counts=[90, 0, 0], sum_seconds=9.0)
    slow = wire.Histogram(edges_seconds=[0.5, 1.0], counts=[0, 10, 0], sum_seconds=9.0)
    rows = {
        name: telling(served("llama", 1), {"ttft": histogram})
        for name, histogram in (("e1", fast), ("e2", slow))
    }
    group = roll_up(interval({}, {}, rows), known)[CHAT._replace(vendor="none")]
    assert group["time_to_first_token_observed_requests"] == 100
    assert group["time_to_first_token_p50_seconds"] == pytest.approx(0.5 * 50 / 90)
    assert group["time_to_first_token_p95_seconds"] == pytest.approx(0.75)
    # Nobody told of the others, and no sum has quantiles.
    assert "latency_p50_seconds" not in group
    assert "time_to_first_token_p95_seconds" not in total({CHAT: group})
    fields = live_point(CHAT, group, START).fields
    assert (fields["time_to_first_token_p95_seconds"], fields["latency_p50_seconds"]) == (0.75, 0.0)


COUNTS = st.lists(st.integers(0, 50), min_size=3, max_size=3)


@given(st.lists(st.tuples(COUNTS, st.booleans()), min_size=1, max_size=6), st.data())
def test_buckets_of_a_window_do_not_depend_on_its_cut(
    drawn: list[tuple[list[int], bool]], data: st.DataObject
) -> None:
    rows = [
        telling(
            served("llama", 1),
            {
                "e2e": wire.Histogram(
                    edges_seconds=[1.0, 4.0 if o else 2.0], counts=c, sum_seconds=1
                )
            },
        )
        for c, o in drawn
    ]
    cut = data.draw(st.integers(0, len(rows)))
    parts = [observed(rows[:cut]), observed(rows[cut:])]
    whole, found = observed(rows), add_observed(parts)
    assert found["latency"].edges_seconds == whole["latency"].edges_seconds
    assert list(found["latency"].observed_count) == list(whole["latency"].observed_count)
    window = Window(LENGTH, HAS_ENGINE, "EUR", observed=whole)
    value = kpi("latency_p99_seconds", zero_sums(), window=window, floor=0.0)
    assert value.denominator == sum(sum(counts) for counts, _ in drawn)
