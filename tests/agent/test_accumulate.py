"""Samples in, reports out: complete intervals are exact, gaps become spans, nothing is lost."""

from collections.abc import Iterable, Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_agent.accumulate.amount import KeptReading
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.accumulate.timeline import SPANS_PER_REPORT
from meterhouse_agent.samples import (
    AcceleratorSample,
    Counter,
    EngineSample,
    HostSample,
    MeterSample,
    Readings,
)

GAP = 2500.0
INVENTORY = wire.Inventory(
    devices=[wire.Device(device="gpu-0", vendor="nvidia", accelerator_model="h100")]
)
BASE = 1_780_000_000


def _gpu(second: float, millijoules: int | None, **more: object) -> Readings:
    sample = AcceleratorSample(
        device="gpu-0",
        at_milliseconds=round((BASE + second) * 1000),
        energy_joules=None if millijoules is None else Counter(ticks=millijoules, unit=0.001),
        utilization_ratio=1.0,
        **more,  # type: ignore[arg-type] # keyword by keyword
    )
    return Readings(accelerators=(sample,))


def _sums(readings: Iterable[Readings] = ()) -> NodeSums:
    sums = NodeSums("site-a", "node-1", 5)
    sums.timeline.closed_until_milliseconds = BASE * 1000
    for reading in readings:
        sums.feed(reading, GAP)
    return sums


def _close(sums: NodeSums, second: int) -> wire.Report:
    report = sums.close(BASE + second, INVENTORY)
    assert report is not None
    return report


def _joules(report: wire.Report) -> float:
    columns = report.accelerators.state_joules if report.accelerators is not None else {}
    rows = sum(value for column in columns.values() for value in column if value is not None)
    return rows + sum(span.amount for span in report.spans)


def test_a_complete_interval_is_exact() -> None:
    sums = _sums(_gpu(second, 700_000 * second + 123) for second in range(6))

    report = _close(sums, 0)

    assert report.accelerators is not None
    assert report.accelerators.state_milliseconds == {"active": [5000]}
    assert report.accelerators.state_joules == {"active": [3500.0]}
    assert report.spans == []


def test_a_reading_past_the_edge_is_divided_over_it() -> None:
    sums = _sums(_gpu(second + 0.04, 1_000_000 * second) for second in range(11))

    first, second = _close(sums, 0), _close(sums, 5)

    assert first.accelerators is not None
    assert first.accelerators.state_milliseconds == {"active": [4960]}
    assert _joules(first) == pytest.approx(4960.0, abs=1e-9)
    assert _joules(second) == pytest.approx(5000.0, abs=1e-9)


def test_a_pause_is_not_covered_and_its_energy_is_a_span() -> None:
    readings = [_gpu(0, 0), _gpu(1, 100_000), _gpu(9, 900_000), _gpu(10, 1_000_000)]
    sums = _sums(readings)

    first, second = _close(sums, 0), _close(sums, 5)

    assert first.accelerators is not None
    assert first.accelerators.state_milliseconds == {"active": [1000]}
    spans = [*first.spans, *second.spans]
    assert [(s.amount, s.reason, s.method) for s in spans] == [(800.0, "gap", "interpolated")]
    assert _joules(first) + _joules(second) == 1000.0


def test_a_reading_that_comes_after_its_interval_was_closed_becomes_a_span() -> None:
    sums = _sums(
        [_gpu(0, 0), _gpu(1, 100_000), _gpu(2, 200_000), _gpu(3, 300_000), _gpu(4, 400_000)]
    )
    first = _close(sums, 0)
    sums.feed(_gpu(6, 600_000), GAP)
    for second in (7, 8, 9, 10):
        sums.feed(_gpu(second, second * 100_000), GAP)

    second_report = _close(sums, 5)

    assert _joules(first) == 400.0
    assert [(s.amount, s.reason) for s in second_report.spans] == [(100.0, "late_reading")]
    assert second_report.accelerators is not None
    assert second_report.accelerators.state_milliseconds == {"active": [5000]}
    assert _joules(second_report) == 600.0


def test_a_reading_that_comes_after_its_interval_was_passed_over_becomes_a_span() -> None:
    sums = _sums([_gpu(0, 0), _gpu(1, 100_000)])
    first = _close(sums, 0)
    sums.timeline.pass_over(20_000)
    for second in (2, 3, 20, 21, 22, 23, 24, 25):
        sums.feed(_gpu(second, second * 100_000), GAP)

    second_report = _close(sums, 20)

    assert _joules(first) + _joules(second_report) == 2500.0
    assert {span.reason for span in second_report.spans} == {"late_reading", "gap"}


def test_readings_of_passed_over_time_become_spans_that_lie_end_to_end() -> None:
    sums = _sums(_gpu(second, 700_000 * second) for second in range(6))
    _close(sums, 0)
    sums.timeline.pass_over((BASE + 20) * 1000)
    for second in range(6, 23):
        sums.feed(_gpu(second, 3_500_000 + 1000 * (second - 5) ** 3), GAP)

    report = _close(sums, 20)

    spans = [span for span in report.spans if span.quantity == "energy_joules"]
    assert {span.reason for span in spans} == {"late_reading"}
    edges = [(s.from_milliseconds, s.to_milliseconds) for s in spans]
    assert edges == [((BASE + n) * 1000, (BASE + n + 1) * 1000) for n in range(5, 20)]
    assert sum(span.amount for span in spans) == 15**3
    assert _joules(report) == 17**3


def test_a_restart_goes_on_where_the_last_report_ended() -> None:
    sums = _sums(_gpu(second + 0.1, 100_000 * second) for second in range(8))
    first = _close(sums, 0)
    kept = sums.kept()

    again = _sums()
    again.timeline.closed_until_milliseconds = (BASE + 5) * 1000
    again.restore(kept)
    for second in range(12, 17):
        again.feed(_gpu(second, 100_000 * second), GAP)
    reports = [first, _close(again, 10)]

    assert [s.reason for s in reports[1].spans] == ["restart"]
    assert reports[1].spans[0].from_milliseconds == (BASE + 5) * 1000
    assert reports[1].accelerators is not None
    assert reports[1].accelerators.state_milliseconds == {"active": [3000]}
    last = 100_000 * 15 / 1000
    assert sum(map(_joules, reports)) == pytest.approx(last, rel=1e-9)


def test_more_spans_than_a_report_holds_wait_and_outlive_a_restart() -> None:
    devices = [f"gpu-{n}" for n in range(SPANS_PER_REPORT + 50)]
    sums = _sums()
    for second, ticks in ((0, 0), (4, 4000)):
        for device in devices:
            sample = AcceleratorSample(
                device=device,
                at_milliseconds=(BASE + second) * 1000,
                energy_joules=Counter(ticks=ticks, unit=0.001),
                utilization_ratio=1.0,
            )
            sums.feed(Readings(accelerators=(sample,)), GAP)
    first = _close(sums, 0)

    again = _sums()
    again.timeline.closed_until_milliseconds = (BASE + 5) * 1000
    again.restore(sums.kept())
    again.timeline.restore_spans(sums.timeline.waiting_spans)
    second_report = _close(again, 5)

    assert len(first.spans) == SPANS_PER_REPORT
    assert {s.device for s in [*first.spans, *second_report.spans]} == set(devices)
    assert _joules(first) + _joules(second_report) == 4.0 * len(devices)


def test_a_clock_step_makes_one_span_and_no_coverage() -> None:
    sums = _sums([_gpu(0, 0), _gpu(1, 100_000)])
    sums.timeline.steps += 1
    sums.feed(_gpu(2, 5_000_000), GAP)
    sums.feed(_gpu(3, 5_100_000), GAP)

    report = _close(sums, 0)

    assert [(s.reason, s.amount) for s in report.spans] == [("clock_step", 4900.0)]
    assert report.accelerators is not None
    assert report.accelerators.state_milliseconds == {"active": [2000]}
    assert _joules(report) == 5100.0


def test_power_is_integrated_only_where_there_is_no_counter() -> None:
    sums = _sums(_gpu(second, None, power_watts=100.0 * second) for second in range(6))

    report = _close(sums, 0)

    assert report.accelerators is not None
    assert report.accelerators.energy_method == "integrated"
    assert report.accelerators.state_joules == {"active": [100.0 * 12.5]}

    missing = _sums([_gpu(0, 0), _gpu(1, None, power_watts=900.0), _gpu(2, 200_000)])
    assert _joules(_close(missing, 0)) == 200.0


def test_energy_that_cannot_be_read_is_missing_and_not_zero() -> None:
    report = _close(_sums(_gpu(second, None) for second in range(6)), 0)

    assert report.accelerators is not None
    assert report.accelerators.state_joules == {"active": [None]}
    assert report.accelerators.power_watts == []


def test_zero_is_a_reading() -> None:
    readings = (
        Readings(
            accelerators=(
                AcceleratorSample(
                    device="gpu-0",
                    at_milliseconds=(BASE + second) * 1000,
                    utilization_ratio=0.0,
                    power_watts=0.0,
                    memory_used_bytes=0.0,
                    ecc_corrected_errors=0,
                    throttled=False,
                    throttled_thermal=False,
                    held=False,
                ),
            )
        )
        for second in range(6)
    )
    columns = _close(_sums(readings), 0).accelerators

    assert columns is not None
    assert columns.state_milliseconds == {"free": [5000]}
    assert columns.state_joules == {"free": [0.0]}
    assert columns.utilization_ratio == [0.0]
    assert columns.memory_used_bytes == [0]
    assert columns.ecc_corrected_errors == [0]
    assert columns.throttled_milliseconds == [0]
    assert columns.throttled_thermal_milliseconds == [0]
    assert columns.throttled_power_milliseconds == []


def _xids(report: wire.Report) -> dict[int, list[int]]:
    assert report.accelerators is not None
    return report.accelerators.xids


def test_fault_codes_stand_in_the_interval_in_which_they_were_told() -> None:
    told = {2: (31, 31), 4: (79,), 7: (94,)}
    sums = _sums(_gpu(second, None, xids=told.get(second, ())) for second in range(11))

    first, second = _close(sums, 0), _close(sums, 5)

    assert (_xids(first), _xids(second)) == ({0: [31, 31, 79]}, {0: [94]})
    assert b"xids" not in wire.encode(_close(_sums(_gpu(s, None) for s in range(6)), 0))


def test_fault_codes_of_an_interval_without_a_report_are_told_in_the_next() -> None:
    sums = _sums([_gpu(4, None, xids=(79,))])
    assert sums.close(BASE, INVENTORY) is None
    # Of an interval that is closed by now.
    sums.feed(_gpu(4.9, None, xids=(48,)), GAP)
    for second in range(6, 11):
        sums.feed(_gpu(second, None), GAP)

    assert _xids(_close(sums, 5)) == {0: [79, 48]}


def test_a_flood_of_fault_codes_is_bounded_counted_and_hides_no_new_code() -> None:
    flood = [_gpu(second, None, xids=(13,) * 20) for second in range(1, 4)]
    sums = _sums([_gpu(0, None), *flood, _gpu(4, None, xids=(79,)), _gpu(5, None)])

    codes = _xids(_close(sums, 0))[0]

    assert codes == [13] * (wire.MAX_XIDS - 1) + [79]
    assert sums.timeline.events == {"xid_dropped": 3 * 20 + 1 - wire.MAX_XIDS}


def test_throttling_is_summed_by_cause_and_only_where_it_was_read() -> None:
    causes = [(True, True, False), (True, False, False), (True, True, True), (False, False, False)]
    readings = [
        Readings(
            accelerators=tuple(
                AcceleratorSample(
                    device=device,
                    at_milliseconds=(BASE + second) * 1000,
                    utilization_ratio=1.0,
                    throttled=throttled,
                    throttled_power=power,
                    throttled_thermal=thermal if device == "gpu-0" else None,
                )
                for device in ("gpu-0", "gpu-1")
            )
        )
        for second, (throttled, power, thermal) in enumerate([(True, True, True), *causes])
    ]
    devices = [msgspec.structs.replace(INVENTORY.devices[0], device=f"gpu-{n}") for n in (0, 1)]
    report = _sums(readings).close(BASE, wire.Inventory(devices=devices))

    assert report is not None
    columns = report.accelerators
    assert columns is not None
    # The first reading stands for nothing, each other for the second before it.
    assert columns.state_milliseconds == {"active": [4000, 4000]}
    assert columns.throttled_milliseconds == [3000, 3000]
    assert columns.throttled_power_milliseconds == [2000, 2000]
    assert columns.throttled_thermal_milliseconds == [1000, None]


def test_an_interval_without_readings_has_no_report() -> None:
    assert _sums().close(BASE, INVENTORY) is None


def _water(second: float, ticks: int | None) -> Readings:
    volume = None if ticks is None else Counter(ticks=ticks, unit=0.5)
    at = round((BASE + second) * 1000)
    return Readings(meters=(MeterSample(meter="water", at_milliseconds=at, volume_litres=volume),))


def test_a_volume_is_counted_as_energy_is() -> None:
    quarter = -BASE % 900
    sums = _sums([_water(0, 1000), _water(2, 1003), _water(4, 1005), _water(6, 1009)])
    meter = _close(sums, 0).meters[0]

    assert (meter.meter, meter.covered_milliseconds) == ("water", 5000)
    # Four ticks over the edge, two on each side of it; half a litre each.
    assert (meter.volume_litres, meter.energy_joules) == (3.5, None)
    assert (meter.quality, meter.power_watts) == ("ok", None)
    assert [(r.register_litres, r.register_joules, r.epoch) for r in meter.registers] == [
        (500.0, None, 0)
    ]

    sums.feed(_water(quarter, 1020), GAP)
    late = _close(sums, quarter - 5)
    assert [(s.thing, s.quantity, s.amount, s.reason) for s in late.spans] == [
        ("water", "volume_litres", 5.5, "gap")
    ]


def test_a_volume_that_cannot_be_read_is_missing_and_not_zero() -> None:
    meter = _close(_sums([_water(0, 1000), _water(2, None), _water(4, None)]), 0).meters[0]
    assert (meter.volume_litres, meter.covered_milliseconds) == (None, 4000)
    assert meter.quality == "missing"


def test_a_volume_goes_on_after_a_restart_where_the_last_report_ended() -> None:
    before = _sums([_water(0, 10), _water(2.5, 13), _water(5, 16)])
    first = _close(before, 0)
    kept = before.kept()
    after = _sums()
    after.restore(kept)
    after.feed(_water(9, 20), GAP)
    after.feed(_water(10, 21), GAP)
    second = _close(after, 5)

    assert first.meters[0].volume_litres == 3.0
    assert [(s.quantity, s.amount, s.reason) for s in second.spans] == [
        ("volume_litres", 2.0, "restart")
    ]
    assert second.meters[0].volume_litres == 0.5


def test_a_meter_says_its_register_each_quarter_and_after_a_reset() -> None:
    def meter(second: int, ticks: int) -> Readings:
        counter = Counter(ticks=ticks, unit=3600.0)
        at = (BASE + second) * 1000
        return Readings(
            meters=(MeterSample(meter="utility", at_milliseconds=at, energy_joules=counter),)
        )

    quarter = -BASE % 900
    sums = _sums([meter(0, 1000), meter(1, 1001), meter(2, 3), meter(3, 4)])
    registers = _close(sums, 0).meters[0].registers
    sums.feed(meter(quarter, 9), GAP)
    registers += _close(sums, quarter).meters[0].registers

    found = [(r.at_milliseconds // 1000 - BASE, r.register_joules, r.epoch) for r in registers]
    assert found == [(0, 3.6e6, 0), (2, 10800.0, 1), (quarter, 32400.0, 1)]


def test_host_and_engine_are_counted_too() -> None:
    def reading(second: int) -> Readings:
        at = (BASE + second) * 1000
        return Readings(
            host=HostSample(
                at_milliseconds=at,
                energy_joules=Counter(ticks=second * 900, unit=1.0),
                cpu_energy_joules={"0": Counter(ticks=second * 100, unit=1.0)},
                cpu_busy_seconds=second * 0.5,
                cpu_total_seconds=float(second),
            ),
            engines=(
                EngineSample(
                    engine="chat",
                    served_model="m/x",
                    at_milliseconds=at,
                    epoch="1",
                    output_tokens=second * 10,
                    requests={"stop": second},
                ),
            ),
        )

    report = _close(_sums(map(reading, range(6))), 0)

    assert report.host == wire.Host(
        covered_milliseconds=5000,
        energy_joules=4500.0,
        cpu_energy_joules=500.0,
        cpu_utilization_ratio=0.5,
    )
    (engine,) = report.engines
    assert (engine.output_tokens, engine.requests, engine.input_tokens) == (50, {"stop": 5}, None)


@st.composite
def _lives(draw: st.DrawFn) -> list[list[tuple[int, int]]]:
    """Draw times in ms and ticks of one growing counter, cut into two lives of an agent."""
    times = sorted(draw(st.sets(st.integers(0, 60_000), min_size=2, max_size=60)))
    ticks = 0
    readings = []
    for at in times:
        ticks += draw(st.integers(0, 2000))
        readings.append((at, ticks))
    cut = draw(st.integers(0, len(readings)))
    return [readings[:cut], readings[cut:]]


def _live(
    sums: NodeSums, readings: list[tuple[int, int]], until: int
) -> Iterator[tuple[wire.Report, list[KeptReading]]]:
    """Feed a life, closing each interval a second after its end, as it would be committed."""
    closed = sums.timeline.closed_until_milliseconds // 1000
    for at, ticks in [*readings, (until, None)]:
        while BASE * 1000 + at >= (closed + 6) * 1000:
            report = sums.close(closed, INVENTORY)
            closed += 5
            if report is not None:
                yield report, sums.kept()
        if ticks is not None:
            sums.feed(_gpu(at / 1000, ticks), GAP)


@given(_lives())
def test_whatever_dies_the_ledger_is_the_last_reading_less_the_first(
    lives: list[list[tuple[int, int]]],
) -> None:
    first, second = lives
    committed = list(_live(_sums(), first, first[-1][0])) if first else []
    again = _sums()
    if committed:
        report, kept = committed[-1]
        again.timeline.closed_until_milliseconds = (report.start_seconds + 5) * 1000
        again.restore(kept)
        end = (report.start_seconds + 5 - BASE) * 1000
        second = [reading for reading in second if reading[0] >= end]
    begun = first[0][1] if committed else second[0][1] if second else 0
    reports = [*committed, *_live(again, second, 80_000)]

    if second:
        total = sum(_joules(report) for report, _ in reports)
        assert total == pytest.approx((second[-1][1] - begun) / 1000, abs=1e-6)
