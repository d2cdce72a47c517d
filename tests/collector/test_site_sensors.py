"""Sensors of the site model: what their temperatures may be, and what contradicts itself."""

import pytest

from meterhouse_collector.site.load import parse_site
from meterhouse_collector.site.sensors import Allowed, Sensor
from tests.collector.sites import BASE, faults, index


def sensor(**fields: object) -> Sensor:
    return Sensor.model_validate({"name": "one", **fields})


@pytest.mark.parametrize(
    ("name", "low", "high"), [("A1", 15, 32), ("A2", 10, 35), ("A3", 5, 40), ("A4", 5, 45)]
)
def test_inlet_air_may_be_what_its_class_allows(name: str, low: float, high: float) -> None:
    assert sensor(kind="inlet", **{"class": name}).allowed == Allowed(low, high)


@pytest.mark.parametrize(
    ("name", "high"), [("W17", 17), ("W27", 27), ("W32", 32), ("W40", 40), ("W45", 45)]
)
def test_coolant_may_be_as_warm_as_its_class_allows(name: str, high: float) -> None:
    assert sensor(kind="coolant", **{"class": name}).allowed == Allowed(None, high)


def test_bounds_take_the_place_of_the_class_s() -> None:
    narrow = {"class": "A2", "low_celsius": 18, "high_celsius": 27}
    assert sensor(kind="inlet", **narrow).allowed == Allowed(18, 27)
    assert sensor(kind="inlet", **{"class": "A2", "high_celsius": 27}).allowed == Allowed(10, 27)
    assert sensor(kind="coolant", **{"class": "W+", "high_celsius": 50}).allowed == Allowed(
        None, 50
    )
    assert sensor(kind="coolant", low_celsius=0).allowed == Allowed(0, None)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ('kind = "smoke"', "inlet"),
        ('kind = "inlet"', "a class that has a bound"),
        ('kind = "coolant"\nclass = "W+"', "a class that has a bound"),
        ('kind = "inlet"\nclass = "W32"', "a class of A1, A2, A3, A4"),
        ('kind = "coolant"\nclass = "A1"', "a class of W17"),
        ('kind = "inlet"\nclass = "A5"', "A1"),
        ('kind = "leak"\nclass = "A1"', "inlet, coolant only"),
        ('kind = "breaker"\nhigh_celsius = 30', "inlet, coolant only"),
        ('kind = "leak"\nlow_celsius = 0.0', "inlet, coolant only"),
        ('kind = "inlet"\nlow_celsius = 27\nhigh_celsius = 18', "27 is not below 18"),
        ('kind = "inlet"\nlow_celsius = 20\nhigh_celsius = 20', "20 is not below 20"),
        ('kind = "inlet"\nclass = "A1"\nlow_celsius = 32', "32 is not below 32"),
        ('kind = "inlet"\nhigh_celsius = nan', "high_celsius"),
        ('kind = "inlet"\nhigh_celsius = 151', "high_celsius"),
        (
            'kind = "inlet"\nclass = "A1"\nvalid_from = 2027-01-01\nvalid_to = 2026-01-01',
            "valid_to",
        ),
    ],
)
def test_a_sensor_that_contradicts_itself_is_a_fault(line: str, text: str) -> None:
    [fault] = faults(f'{BASE}[[sensor]]\nname = "one"\n{line}\n')
    assert fault.startswith("site.toml: sensor.0")
    assert text in fault


def test_two_sensors_of_one_name_are_a_fault() -> None:
    one = '[[sensor]]\nname = "one"\nkind = "leak"\n'
    [fault] = faults(BASE + one + one)
    assert "each name once" in fault


def test_a_sensor_in_a_cluster_that_is_not_there_is_a_fault() -> None:
    [fault] = faults(f'{BASE}[[sensor]]\nname = "one"\nkind = "leak"\ncluster = "c9"\n')
    assert fault == "site.toml: sensor.0.cluster: found 'c9', allowed: c1"


def test_a_threshold_below_of_temperatures_is_a_fault() -> None:
    table = '[[threshold]]\nname = "t"\nkind = "temperature_out_of_class"\n'
    [fault] = faults(f"{BASE}{table}below = 3.0\n")
    assert fault.startswith("site.toml: threshold.0.below: found 3, allowed: above")
    assert parse_site(f"{BASE}{table}above = 3.0\nclear = -1.0\n", "s").threshold[0].above == 3.0


def test_only_its_readers_may_speak_for_a_sensor_and_anybody_without() -> None:
    site = index(
        f'{BASE}[[sensor]]\nname = "one"\nkind = "leak"\nreaders = ["facility"]\n'
        '[[sensor]]\nname = "two"\nkind = "leak"\n'
    )
    assert site.may_read_sensor("one", "facility")
    assert not site.may_read_sensor("one", "n1")
    assert site.may_read_sensor("two", "n1")
    assert site.may_read_sensor("stranger", "n1")
