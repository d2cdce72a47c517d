"""Sensors summed per interval: known truth in, equality out."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterhouse_agent import wire
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.samples import Readings, SensorSample

GAP = 15_000.0
START = 1_700_000_100
MS = START * 1000
INVENTORY = wire.Inventory(sensors=["inlet", "leak"])


def fed(*samples: SensorSample) -> NodeSums:
    sums = NodeSums("site", "node", 5)
    for sample in samples:
        sums.feed(Readings(sensors=(sample,)), GAP)
    return sums


def warm(at: int, celsius: float) -> SensorSample:
    return SensorSample(sensor="inlet", at_milliseconds=MS + at, temperature_celsius=celsius)


def leak(at: int, *, alarmed: bool) -> SensorSample:
    return SensorSample(sensor="leak", at_milliseconds=MS + at, alarmed=alarmed)


def sensors(sums: NodeSums, start: int = START) -> list[wire.Sensor]:
    report = sums.close(start, INVENTORY)
    return [] if report is None else report.sensors


def test_a_temperature_is_the_mean_of_the_time_that_each_reading_stands_for() -> None:
    sums = fed(warm(0, 20.0), warm(1000, 22.0), warm(5000, 27.0), warm(7500, 21.0))
    # 22 for one second and 27 for four; then 21 for the half of the next that was read.
    assert sensors(sums) == [
        wire.Sensor(
            sensor="inlet",
            covered_milliseconds=5000,
            temperature_celsius=26.0,
            temperature_celsius_max=27.0,
        )
    ]
    assert sensors(sums, START + 5) == [
        wire.Sensor(
            sensor="inlet",
            covered_milliseconds=2500,
            temperature_celsius=21.0,
            temperature_celsius_max=21.0,
        )
    ]


def test_a_contact_is_how_long_it_meant_alarm() -> None:
    sums = fed(leak(0, alarmed=True), leak(2000, alarmed=False), leak(7000, alarmed=True))
    assert sensors(sums) == [
        wire.Sensor(sensor="leak", covered_milliseconds=5000, contact_milliseconds=3000)
    ]
    assert sensors(sums, START + 5) == [
        wire.Sensor(sensor="leak", covered_milliseconds=2000, contact_milliseconds=2000)
    ]


def test_a_quiet_contact_is_zero_and_one_that_was_not_read_is_not_there() -> None:
    sums = fed(leak(0, alarmed=False), leak(5000, alarmed=False))
    assert sensors(sums) == [
        wire.Sensor(sensor="leak", covered_milliseconds=5000, contact_milliseconds=0)
    ]
    assert sums.close(START + 5, INVENTORY) is None


def test_a_pause_longer_than_the_gap_is_not_covered() -> None:
    sums = fed(warm(0, 20.0), warm(1000, 20.0), warm(20_000, 40.0), warm(21_000, 24.0))
    assert [s.covered_milliseconds for s in sensors(sums)] == [1000]
    for start in (START + 5, START + 10, START + 15):
        assert sensors(sums, start) == []
    assert sensors(sums, START + 20) == [
        wire.Sensor(
            sensor="inlet",
            covered_milliseconds=1000,
            temperature_celsius=24.0,
            temperature_celsius_max=24.0,
        )
    ]


def test_each_sensor_of_a_node_has_its_own() -> None:
    sums = fed(warm(0, 20.0), leak(0, alarmed=False), warm(5000, 30.0), leak(5000, alarmed=True))
    found = {each.sensor: each for each in sensors(sums)}
    assert found["inlet"].temperature_celsius == 30.0
    assert found["inlet"].contact_milliseconds is None
    assert found["leak"].contact_milliseconds == 5000
    assert found["leak"].temperature_celsius is None


@given(
    readings=st.lists(
        st.tuples(
            st.integers(1, 5000),
            st.integers(-60_000, 150_000).map(lambda n: n / 1000),
            st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_what_is_reported_is_what_the_readings_say(
    readings: list[tuple[int, float, bool]],
) -> None:
    at, samples = 0, [warm(0, 0.0), leak(0, alarmed=False)]
    for step, celsius, alarmed in readings:
        at += step
        samples += [warm(at, celsius), leak(at, alarmed=alarmed)]
    sums = fed(*samples)
    reports = [sums.close(start, INVENTORY) for start in range(START, START + at // 1000 + 5, 5)]
    inlets = [s for r in reports if r is not None for s in r.sensors if s.sensor == "inlet"]
    leaks = [s for r in reports if r is not None for s in r.sensors if s.sensor == "leak"]
    assert sum(s.covered_milliseconds for s in inlets) == at
    assert sum(s.contact_milliseconds or 0 for s in leaks) == sum(s for s, _, a in readings if a)
    means = [(s.temperature_celsius, s.covered_milliseconds) for s in inlets]
    whole = sum(Fraction(mean) * covered for mean, covered in means if mean is not None)
    truth = sum(Fraction(celsius) * step for step, celsius, _ in readings)
    assert float(whole / at) == pytest.approx(float(truth / at), abs=0.001)
    most = [s.temperature_celsius_max for s in inlets if s.temperature_celsius_max is not None]
    assert max(most) == max(celsius for _, celsius, _ in readings)
