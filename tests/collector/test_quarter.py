"""The sums of a quarter: exact, in any order, and no amount lost or counted twice."""

import random
from collections.abc import Mapping
from math import fsum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_collector.rollup.exact import Mean, Sum, exact_parts
from meterhouse_collector.rollup.expected import latest_known, power_of
from meterhouse_collector.rollup.quarter import (
    is_summed,
    sum_engine_quarter,
    sum_meter_quarter,
    sum_node_quarter,
)
from meterhouse_collector.rollup.quarter_node import NodeQuarter
from meterhouse_collector.rollup.site_energy import Expected
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Served, Share
from tests.collector.quarters import (
    BEGINS,
    LENGTH,
    QUARTER,
    STARTS,
    STEP,
    WHOLE,
    engine,
    exact,
    joules,
    meter,
    node,
    span,
)

FLOATS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200)
DEVICES = {"gpu-0": ("M", "none"), "gpu-1": ("L", "tenant:acme")}
QUARTERS = [QUARTER + k * 900 for k in range(-3, 4)]


def meter_sum(rows: Mapping[int, MeterRow], *spans: wire.Span, at: int = QUARTER) -> MeterRow:
    found = sum_meter_quarter({s: {"n1": r} for s, r in rows.items()}, spans, at)
    assert found is not None
    return found


def node_sum(rows: Mapping[int, NodeRow], *spans: wire.Span, at: int = QUARTER) -> NodeRow:
    readings = {s: {"n1": r} for s, r in rows.items()}
    found = sum_node_quarter(readings, spans, at, devices=DEVICES)
    assert found is not None
    return found


def engine_sum(rows: Mapping[int, EngineRow], *spans: wire.Span, at: int = QUARTER) -> Served:
    found = sum_engine_quarter({s: {"n1": r} for s, r in rows.items()}, spans, at)
    assert found is not None
    [served] = found.served
    return served


@given(st.lists(FLOATS), st.integers(1, 7))
def test_a_sum_does_not_depend_on_how_it_is_cut(values: list[float], cut: int) -> None:
    parts = exact_parts(values)
    assert fsum(parts) == fsum(values)
    total = Sum()
    assert total.value is None
    for position, value in enumerate(values):
        total.add(value)
        if position % cut == 0:
            total.compress()
    assert total.value == (fsum(values) if values else None)


def test_a_mean_weighs_by_time_and_is_none_of_nothing() -> None:
    mean = Mean()
    mean.add(None, 5000)
    mean.add(7.0, 0)
    assert mean.value is None
    mean.add(100.0, 1000)
    mean.add(400.0, 2000)
    mean.compress()
    assert mean.value == 300.0


@given(st.lists(joules, min_size=1, max_size=180), st.randoms(use_true_random=False))
def test_a_quarter_is_the_exact_sum_of_its_intervals(
    energies: list[float], chance: random.Random
) -> None:
    starts = chance.sample(STARTS, len(energies))
    by_start = dict(zip(starts, energies, strict=True))
    found = meter_sum({s: meter(e, power_watts=e) for s, e in by_start.items()})
    assert found.energy_joules == exact(energies)
    assert found.covered_milliseconds == len(energies) * STEP
    assert found.length_milliseconds == WHOLE
    assert found.power_watts == pytest.approx(fsum(energies) / len(energies))
    whole = node_sum({s: node(e, e / 3, energy=e * 3) for s, e in by_start.items()})
    assert whole.energy_joules == exact([e * 3 for e in energies])
    [share] = whole.shares
    assert share.joules[0] == exact([fsum([e, e / 3]) for e in energies])
    assert share.milliseconds == (2 * STEP * len(energies), 0, 0, 0, 0)


@given(
    st.lists(st.tuples(st.sampled_from(STARTS), st.sampled_from("ab"), joules), max_size=40),
    st.lists(
        st.tuples(st.integers(-900, 1800), st.integers(0, 1200), st.integers(0, 10**6)), max_size=6
    ),
    st.randoms(use_true_random=False),
)
def test_order_and_repetition_of_what_arrives_change_nothing(
    readings: list[tuple[int, str, float]],
    stretches: list[tuple[int, int, int]],
    chance: random.Random,
) -> None:
    latest = {(start, reader): energy for start, reader, energy in readings}
    spans = [span(b, b + n, a, kind="node", device="gpu-0") for b, n, a in stretches]
    results = []
    for _ in range(3):
        order = list(latest.items())
        chance.shuffle(order)
        chance.shuffle(spans)
        rows: dict[int, dict[str, NodeRow]] = {}
        for (start, reader), energy in [*order, *order[:3]]:
            rows.setdefault(start, {})[reader] = node(energy, energy=energy)
        twice = [*spans, *spans[:2]]
        results.append(sum_node_quarter(rows, twice, QUARTER, devices=DEVICES))
    assert results[0] == results[1] == results[2]


@given(st.lists(joules, min_size=1, max_size=60), st.integers(1, 20))
def test_batches_that_are_compressed_give_the_same_row(energies: list[float], cut: int) -> None:
    rows = {s: {"n1": node(e, energy=e)} for s, e in zip(STARTS, energies, strict=False)}
    quarter = NodeQuarter(QUARTER)
    for position, (start, readings) in enumerate(rows.items()):
        quarter.add(start, readings)
        if position % cut == 0:
            quarter.compress()
    assert quarter.row([], {}) == sum_node_quarter(rows, [], QUARTER)


@given(st.integers(-2700, 2700), st.integers(0, 2700), joules)
def test_a_span_keeps_its_amount_over_all_quarters(begins: int, length: int, amount: float) -> None:
    told = span(begins, min(begins + length, 3600), amount)
    rows = [sum_meter_quarter({}, [told], start) for start in QUARTERS]
    found = [row.energy_joules for row in rows if row is not None]
    assert fsum(part for part in found if part is not None) == pytest.approx(amount, rel=1e-12)
    covered = sum(row.covered_milliseconds for row in rows if row is not None)
    assert covered == max(1, told.to_milliseconds - told.from_milliseconds)


@given(st.integers(-2_000_000, 2_000_000), st.integers(0, 3_000_000), st.integers(0, 10**9))
def test_tokens_of_a_span_add_up_exactly(begins: int, length: int, tokens: int) -> None:
    told = span(
        begins / 1000,
        min(begins + length, 3_500_000) / 1000,
        float(tokens),
        "output_tokens",
        kind="engine",
        served_model="llama",
    )
    rows = [sum_engine_quarter({}, [told], start) for start in QUARTERS]
    counts = [row.served[0].output_tokens for row in rows if row is not None]
    assert sum(count for count in counts if count is not None) == tokens


def test_a_whole_row_wins_over_the_span_around_it() -> None:
    rows = {QUARTER + k * LENGTH: meter(50.0) for k in range(60)}
    found = meter_sum(rows, span(0, 600, 1200.0))
    assert found.energy_joules == 60 * 50.0 + 600.0
    assert found.covered_milliseconds == 600_000
    assert found.energy_method == "interpolated"


def test_rows_at_the_ends_of_a_gap_do_not_win_over_its_span() -> None:
    # The last reading came 2 s into one interval, the next one 3 s into another.
    ends = {QUARTER: meter(20.0, 2000), QUARTER + 10: meter(20.0, 2000), QUARTER + 15: meter(50.0)}
    found = meter_sum(ends, span(2, 13, 110.0))
    assert found.energy_joules == 200.0
    assert found.covered_milliseconds == 20_000


def test_a_row_that_covers_a_part_does_not_win() -> None:
    found = meter_sum({QUARTER + 5: meter(10.0, 1000)}, span(0, 20, 200.0))
    assert (found.energy_joules, found.covered_milliseconds) == (210.0, 20_000)


def test_of_spans_that_overlap_the_shorter_wins() -> None:
    found = meter_sum({}, span(0, 600, 6000.0), span(100, 200, 5.0), span(150, 250, 70.0))
    assert found.energy_joules == pytest.approx(5.0 + 35.0 + 6000.0 * 450 / 600)
    assert found.covered_milliseconds == 600_000
    apart = node_sum(
        {}, *(span(0, 60, 6.0, kind="node", device=device) for device in ("gpu-0", "gpu-1"))
    )
    assert [share.joules[4] for share in apart.shares] == [6.0, 6.0]


def test_energy_of_devices_from_spans_is_in_unknown_with_the_time_no_row_tells() -> None:
    rows = {s: node(100.0) for s in STARTS if not QUARTER + 100 <= s < QUARTER + 160}
    told = span(100, 160, 900.0, kind="node", device="gpu-0")
    found = node_sum(rows, told)
    assert found.shares == (
        Share(
            "M",
            "none",
            (168 * STEP, 0, 0, 0, 60_000),
            (168 * 100.0, None, None, None, 900.0),
            "interpolated",
            "ok",
        ),
    )
    assert found.spanned_milliseconds == 60_000
    other = node_sum(rows, span(100, 160, 9.0, kind="node", device="gpu-9"))
    assert [(share.holder, share.joules[4]) for share in other.shares] == [
        ("none", None),
        ("unregistered", 9.0),
    ]


def test_a_silent_device_beside_one_that_reports_gets_its_span() -> None:
    rows = {s: node(100.0, unknown=1) for s in STARTS}
    found = node_sum(rows, span(0, 900, 900.0, kind="node", device="gpu-0"))
    [share] = found.shares
    assert share.milliseconds == (180 * STEP, 0, 0, 0, 180 * STEP)
    assert (share.joules[0], share.joules[4], share.energy_quality) == (18_000.0, 900.0, "missing")
    busy = node_sum(
        {s: node(100.0) for s in STARTS}, span(0, 900, 9.0, kind="node", device="gpu-0")
    )
    assert busy.shares[0].joules[4] is None


def test_a_lost_device_beside_one_that_reports_gets_its_span() -> None:
    times = (STEP, 0, 0, STEP, 0)
    share = Share("M", "none", times, (100.0, None, None, None, None), "counter", "missing")
    rows = {s: NodeRow(STEP, (share,), STEP) for s in STARTS}
    found = node_sum(rows, span(0, 900, 900.0, kind="node", device="gpu-0"))
    [share] = found.shares
    assert share.milliseconds == (180 * STEP, 0, 0, 180 * STEP, 0)
    assert share.joules == (18_000.0, None, None, None, 900.0)


def test_energy_of_a_node_and_its_processors_from_spans() -> None:
    rows = {s: node(energy=50.0) for s in STARTS[:90]}
    found = node_sum(
        rows,
        span(400, 900, 5000.0, kind="node"),
        span(450, 900, 450.0, "cpu_energy_joules", kind="node", device="package-0"),
        span(450, 900, 90.0, "cpu_energy_joules", kind="node", device="package-1"),
        span(450, 900, 3.0, "ecc_corrected_errors", kind="node", device="gpu-0"),
    )
    assert found.energy_joules == 90 * 50.0 + 4500.0
    assert (found.energy_method, found.host_covered_milliseconds) == ("interpolated", WHOLE)
    assert found.cpu_energy_joules == 540.0


def test_devices_without_energy_stay_apart() -> None:
    rows = {s: node(100.0, unknown=s % 10 == 0) for s in STARTS}
    found = node_sum(rows)
    assert [(share.energy_quality, sum(share.milliseconds)) for share in found.shares] == [
        ("missing", 180 * STEP),
        ("ok", 90 * STEP),
    ]


def test_a_meter_tells_the_worst_of_what_carries_energy() -> None:
    rows = {
        QUARTER: meter(1.0, energy_method="counter", power_watts_max=3.0),
        QUARTER + 5: meter(2.0, 4000, energy_method="integrated", quality="estimated"),
        QUARTER + 10: meter(100.0, quality="stale", power_watts_max=9.0),
        QUARTER + 15: meter(None, quality="missing"),
    }
    found = meter_sum(rows)
    assert (found.energy_joules, found.covered_milliseconds) == (3.0, 9000)
    assert (found.energy_method, found.quality) == ("integrated", "estimated")
    assert found.power_watts_max == 9.0
    stale = meter_sum({QUARTER: rows[QUARTER + 10]})
    assert (stale.energy_joules, stale.quality, stale.covered_milliseconds) == (100.0, "stale", 0)
    missing = meter_sum({QUARTER: rows[QUARTER + 15]})
    assert (missing.energy_joules, missing.quality) == (None, "missing")


def test_a_volume_is_summed_like_energy() -> None:
    rows = {s: meter(None, volume_litres=2.0) for s in STARTS[:60]}
    found = meter_sum(rows, span(300, 900, 30.0, "volume_litres"))
    assert (found.volume_litres, found.energy_joules) == (150.0, None)
    assert (found.covered_milliseconds, found.quality) == (WHOLE, "ok")


def test_an_engine_adds_tokens_requests_and_latency() -> None:
    def seconds(*counts: int, edges: tuple[float, ...] = (0.1, 1.0)) -> dict[str, wire.Histogram]:
        return {
            "ttft": wire.Histogram(
                edges_seconds=[*edges], counts=[*counts], sum_seconds=0.1 * sum(counts)
            )
        }

    rows = {
        QUARTER: engine(5, requests={"stop": 1}, latency=seconds(1, 2, 3), running_requests=4.0),
        QUARTER + 5: engine(7, requests={"stop": 2, "length": 1}, latency=seconds(1, 0, 0)),
    }
    found = engine_sum(rows)
    assert (found.input_tokens, found.cached_input_tokens, found.output_tokens) == (20, 8, 12)
    assert found.requests == {"stop": 3, "length": 1}
    assert found.latency["ttft"].counts == [2, 2, 3]
    assert found.latency["ttft"].sum_seconds == pytest.approx(0.7)
    assert (found.covered_milliseconds, found.quality, found.running_requests) == (
        2 * STEP,
        "ok",
        4.0,
    )
    rows[QUARTER + 10] = engine(1, latency=seconds(5, 5, edges=(0.5,)))
    other = engine_sum(rows)
    assert other.latency["ttft"].counts == [5, 5]
    assert other.quality == "estimated"


def test_an_engine_covers_what_has_its_tokens() -> None:
    rows = {
        QUARTER: engine(5),
        QUARTER + 5: engine(None, quality="missing"),
        QUARTER + 10: engine(7, cached_input_tokens=None),
    }
    found = engine_sum(rows)
    assert (found.covered_milliseconds, found.output_tokens, found.quality) == (2 * STEP, 12, "ok")
    assert found.cached_input_tokens is None
    silent = engine_sum({QUARTER: engine(None, quality="missing")})
    assert (silent.output_tokens, silent.quality) == (None, "missing")


def test_tokens_of_spans_cover_their_time() -> None:
    rows = {s: engine(5) for s in STARTS[:60]}
    told = [
        span(290, 900, 610.0, quantity, kind="engine", served_model="llama")
        for quantity in ("output_tokens", "input_tokens", "cached_input_tokens", "requests:stop")
    ]
    found = engine_sum(rows, *told)
    # Two whole rows lie inside, so the span counts for 600 s of its 610.
    assert found.output_tokens == 60 * 5 + 600
    assert found.requests == {"stop": 610}
    assert (found.covered_milliseconds, found.quality) == (WHOLE, "estimated")
    assert found.cached_input_tokens == 60 * 4 + 600
    assert engine_sum(rows, *told[:2]).cached_input_tokens is None
    assert engine_sum(rows, told[0]).covered_milliseconds == 300_000


def test_nothing_known_is_no_row() -> None:
    after = span(900, 1000, 5.0)
    assert sum_meter_quarter({}, [after], QUARTER) is None
    assert sum_node_quarter({}, [span(0, 9, 1.0, "new", kind="node")], QUARTER) is None
    assert (
        sum_engine_quarter({}, [span(0, 9, 1.0, "output_tokens", kind="engine")], QUARTER) is None
    )


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (span(0, 1, 1.0, kind="node", device="gpu-0"), True),
        (span(0, 1, 1.0, "ecc_uncorrected_errors", kind="node", device="gpu-0"), True),
        (span(0, 1, 1.0, "volume_litres"), True),
        (span(0, 1, 1.0, "requests:stop", kind="engine", served_model="llama"), True),
        (span(0, 1, 1.0, "output_tokens", kind="engine"), False),
        (span(0, 1, 1.0, "colour"), False),
    ],
)
def test_quantities_that_nobody_sums_are_told_apart(
    told: wire.Span,
    *,
    known: bool,
) -> None:
    assert is_summed(told) == known


def test_a_gap_is_filled_with_the_latest_known_power() -> None:
    earlier = power_of({"u": meter(500.0), "v": meter(10.0)}, {"n1": node(energy=25.0)})
    later = power_of({"u": meter(1000.0, 2500), "v": meter(None)}, {"n1": node()})
    assert latest_known([later, earlier]) == Expected({"u": 400.0, "v": 2.0}, {"n1": 5.0})
    assert latest_known([]) == Expected({}, {})
    assert BEGINS == QUARTER * 1000
