"""Service: tokens, latencies of requests, success, and goodput at an SLO."""

import pytest

from meterhouse_collector.kpi import latency, slo, success, throughput
from meterhouse_collector.kpi.latency import Histogram, RoleHistogram
from meterhouse_collector.kpi.slo import LoadPoint, Request
from meterhouse_collector.kpi.success import Finished
from meterhouse_collector.kpi.throughput import Worker


def test_requests_of_one_token_do_not_drag_the_mean_time_per_token_down() -> None:
    found = latency.mean_time_per_output_token_seconds(
        sum_seconds=3.0, observed_count=100, single_token_count=40
    )

    assert found.value == 0.05
    none = latency.mean_time_per_output_token_seconds(
        sum_seconds=0.0, observed_count=40, single_token_count=40
    )
    assert none == (None, "no request had two output tokens")


def test_one_token_has_no_time_per_output_token() -> None:
    def of(tokens: int) -> latency.RequestLatency:
        return latency.request_latency(
            sent_seconds=10, first_token_seconds=10.5, finished_seconds=12.5, output_tokens=tokens
        )

    assert of(1) == (0.5, None, 2.5)
    assert of(2) == (0.5, 2.0, 2.5)
    assert of(101) == (0.5, 0.02, 2.5)


def test_instants_out_of_order_are_turned_down() -> None:
    with pytest.raises(ValueError, match="first_token_after_seconds is -1"):
        latency.request_latency(
            sent_seconds=10, first_token_seconds=9, finished_seconds=None, output_tokens=1
        )
    with pytest.raises(ValueError, match="first_token_after_seconds is 3"):
        latency.request_latency(
            sent_seconds=10, first_token_seconds=13, finished_seconds=12, output_tokens=5
        )


def test_reference_4_9_cached_tokens_are_part_of_the_prompt() -> None:
    found = throughput.token_kinds(input_tokens=8000, cached_input_tokens=6400, output_tokens=1000)

    assert (found.all_tokens, found.computed_tokens) == (9000, 2600)


def test_reference_4_9_cached_tokens_nobody_told_apart_are_not_none() -> None:
    assert throughput.token_kinds(input_tokens=8000, output_tokens=1).computed_tokens is None


def test_reference_4_9_reasoning_tokens_are_inside_output() -> None:
    found = throughput.token_kinds(input_tokens=0, output_tokens=1000, reasoning_tokens=700)

    assert (found.output_tokens, found.answer_tokens, found.all_tokens) == (1000, 300, 1000)


def test_reference_4_9_speculative_drafts_are_not_output() -> None:
    found = throughput.token_kinds(
        input_tokens=0, output_tokens=1000, draft_tokens=900, accepted_draft_tokens=600
    )

    assert (found.output_tokens, found.all_tokens) == (1000, 1000)
    assert found.draft_accepted_ratio == pytest.approx(2 / 3)


def test_reference_4_9_counters_that_jump_at_completion_need_a_window_as_long_as_requests() -> None:
    def at(seconds: float, p99: float | None) -> object:
        return throughput.token_throughput(
            counted_tokens=1200,
            measured_seconds=seconds,
            counted_at="completion",
            request_p99_seconds=p99,
        ).value

    assert (at(60, 90), at(90, 90), at(60, None)) == (None, 1200 / 90, None)


def test_reference_4_4_throughput_is_over_measured_seconds_and_not_extrapolated() -> None:
    found = throughput.token_throughput(counted_tokens=144, measured_seconds=36)
    nothing = throughput.token_throughput(counted_tokens=0, measured_seconds=0)

    assert found.value == 4
    assert nothing == (None, "nothing was measured")
    assert throughput.token_throughput(counted_tokens=0, measured_seconds=36).value == 0


def test_reference_4_10_success_is_stop_and_length_and_nothing_else() -> None:
    finished = [
        Finished("stop", 80),
        Finished("length", 10),
        Finished("abort", 5),
        Finished("error", 3),
        Finished("repetition", 1),
        Finished("a_reason_of_next_year", 1),
    ]

    assert success.success_ratio(finished=finished) == (0.9, 90, 100, None)
    assert success.success_ratio(finished=finished, truncation_fails=True).ratio == 0.8
    assert success.success_ratio(finished=finished, rejected_requests=20).ratio == 0.75
    assert success.success_ratio(finished=[]) == (None, 0, 0, "no request finished")


def test_reference_4_11_gateway_and_engine_count_the_same_tokens() -> None:
    near = throughput.reconcile_tokens(basis_tokens=1000, check_tokens=980, tolerance_ratio=0.02)
    far = throughput.reconcile_tokens(basis_tokens=1000, check_tokens=979, tolerance_ratio=0.02)
    lost = throughput.reconcile_tokens(basis_tokens=0, check_tokens=5, tolerance_ratio=0.02)

    assert near == (1000, -20, -0.02, False, None)
    assert far == (1000, -21, -0.021, True, None)
    assert lost == (0, 5, None, True, "the basis counted no tokens")


def test_reference_4_11_prompts_count_at_prefill_and_output_at_decode() -> None:
    found = throughput.served_tokens(
        workers=[Worker("prefill", 800, 10), Worker("decode", 800, 100), Worker("whole", 80, 20)]
    )

    assert found == (880, 120, None)
    seen = throughput.served_tokens(workers=[Worker("prefill", 800, 10)])
    assert seen == (800, None, "no worker that decodes")


def test_reference_4_11_time_to_first_token_is_that_of_decode_workers() -> None:
    found = latency.first_token_histograms(
        workers=[
            RoleHistogram("prefill", (0.1,), (9, 0)),
            RoleHistogram("decode", (0.1,), (1, 2), 0.5),
            RoleHistogram("whole", (0.1,), (3, 4), 0.25),
        ]
    )

    assert found == (Histogram((0.1,), (1, 2), 0.5), Histogram((0.1,), (3, 4), 0.25))


def request(ttft: float | None, e2e: float | None, tokens: int, *, ok: bool = True) -> Request:
    return Request(ok, 0.0, ttft, e2e, tokens)


def test_goodput_needs_every_slo_of_one_request_which_histograms_cannot_tell() -> None:
    """Half meet each of two SLOs, in one case the same half, in the other none both."""
    same = [request(0.1, 1.1, 101), request(0.9, 9.9, 101)]
    crossed = [request(0.1, 9.1, 101), request(0.9, 1.9, 101)]

    def of(requests: list[Request]) -> slo.Goodput:
        return slo.goodput(
            requests=requests,
            measured_seconds=10,
            first_token_slo_seconds=0.5,
            per_output_token_slo_seconds=0.05,
        )

    assert (of(same).ratio, of(crossed).ratio) == (0.5, 0)
    assert (of(same).good_per_second, of(crossed).good_per_second) == (0.1, 0)


def test_goodput_of_requests_with_missing_latencies_is_a_low_and_a_high() -> None:
    requests = [
        request(0.1, 1.0, 1),  # no time per output token to miss
        request(None, 1.0, 9),
        request(0.9, None, 9),  # late already
        request(0.1, 1.0, 9, ok=False),
    ]
    found = slo.goodput(
        requests=requests,
        measured_seconds=0,
        first_token_slo_seconds=0.5,
        per_output_token_slo_seconds=1.0,
    )

    assert (found.ratio, found.low_ratio, found.high_ratio) == (1 / 3, 0.25, 0.5)
    assert (found.good_per_second, found.unknown_count) == (None, 1)
    assert slo.goodput(requests=[], measured_seconds=1).reason == "no request with known latencies"


def test_capacity_at_slo_is_no_peak_and_no_lucky_run() -> None:
    points = [
        LoadPoint(4000, 0.4),  # a lucky run beyond a load that misses
        LoadPoint(3000, 0.6),
        LoadPoint(2500, 0.5),
        LoadPoint(1000, 0.2),
    ]

    assert slo.capacity_at_slo(points=points, slo_seconds=0.5).value == 2500
    assert slo.capacity_at_slo(points=[], slo_seconds=0.5) == (None, "no load was measured")


def test_token_capacity_may_be_passed_and_is_nothing_without_measured_time() -> None:
    def of(seconds: float) -> object:
        return slo.token_capacity_ratio(
            served_tokens=3000, measured_seconds=seconds, capacity_tokens_per_second=100
        ).value

    assert (of(20), of(60), of(0)) == (1.5, 0.5, None)
