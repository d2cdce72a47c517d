"""Register arithmetic against pymodbus's own, and what a config of meters may say."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pymodbus.client import AsyncModbusTcpClient

from meterhouse_agent.sources import load
from meterhouse_agent.sources.modbus_config import Config
from meterhouse_agent.sources.modbus_profiles import (
    PROFILES,
    EnergyRegister,
    PowerRegister,
    ProfileName,
    Register,
    RegisterType,
    VolumeRegister,
    WordOrder,
    decode,
    energy_ticks,
    power_watts,
    volume_ticks,
)
from tests.stand_ins.modbus_meter import nothing_there, to_words


def registers() -> st.SearchStrategy[Register]:
    return st.builds(
        Register,
        address=st.integers(0, 60000),
        type=st.sampled_from(get_args(RegisterType)),
        word_order=st.sampled_from(get_args(WordOrder)),
    )


@given(registers(), st.data())
def test_what_a_meter_encodes_is_what_is_decoded(register: Register, data: st.DataObject) -> None:
    bits = 16 * register.words
    if register.is_float:
        number: float = data.draw(
            st.floats(allow_nan=False, allow_infinity=False, width=32 if bits == 32 else 64)
        )
    elif register.type.startswith("u"):
        number = data.draw(st.integers(0, 2**bits - 2))
    else:
        number = data.draw(st.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 2))
    words = to_words(number, register)
    if not register.is_float and number in (2 ** (bits - 1) - 1, 2 ** (bits - 1)):
        assert decode(words, register) is None
        return
    got = decode(words, register)
    assert got == number
    assert isinstance(got, float) == register.is_float


@given(registers(), st.data())
def test_any_words_decode_as_pymodbus_does_or_to_nothing(
    register: Register, data: st.DataObject
) -> None:
    words = [data.draw(st.integers(0, 0xFFFF)) for _ in range(register.words)]
    got = decode(words, register)
    expected = AsyncModbusTcpClient.convert_from_registers(
        words, AsyncModbusTcpClient.DATATYPE[register.type.upper()], register.word_order
    )
    assert isinstance(expected, int | float)
    if got is None:
        edge = 2 ** (16 * register.words - 1)
        assert not math.isfinite(expected) or expected in (edge - 1, edge, -edge, 2 * edge - 1)
    else:
        assert got == expected


@pytest.mark.parametrize("order", get_args(WordOrder))
@pytest.mark.parametrize("kind", get_args(RegisterType))
def test_not_available_is_no_value(kind: RegisterType, order: WordOrder) -> None:
    register = Register(address=0, type=kind, word_order=order)
    assert decode(nothing_there(register), register) is None


@pytest.mark.parametrize("kind", ["int16", "int32", "int64"])
def test_minus_one_is_a_value_of_a_signed_register(kind: RegisterType) -> None:
    register = Register(address=0, type=kind)
    assert decode([0xFFFF] * register.words, register) == -1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_no_finite_number_is_no_value(number: float) -> None:
    register = Register(address=0, type="float32")
    assert decode(to_words(number, register), register) is None


def test_whole_counts_stay_whole_and_floats_become_joules() -> None:
    watt_hours = EnergyRegister(address=0, type="int64", joules_per_count=3600.0)
    assert energy_ticks(123_456_789_012, watt_hours) == (123_456_789_012, 3600.0)
    kilowatt_hours = EnergyRegister(address=0, type="float32", joules_per_count=3.6e6)
    assert energy_ticks(0.5, kilowatt_hours) == (1_800_000, 1.0)
    assert energy_ticks(0, watt_hours) == (0, 3600.0)


def test_whole_counts_of_a_volume_stay_whole_and_floats_become_millilitres() -> None:
    pulses = VolumeRegister(address=0, type="uint32", litres_per_count=10.0)
    assert volume_ticks(7, pulses) == (7, 10.0)
    cubic_metres = VolumeRegister(address=0, type="float32", litres_per_count=1000.0)
    assert volume_ticks(0.0625, cubic_metres) == (62_500, 0.001)
    assert [volume_ticks(count, cubic_metres) for count in (-1, 1e300)] == [None, None]


@pytest.mark.parametrize("count", [-1, 10**12, -0.5, 1e300])
def test_an_impossible_energy_is_no_value(count: float) -> None:
    register = EnergyRegister(address=0, type="int64", joules_per_count=3600.0)
    assert energy_ticks(count, register) is None


def test_an_impossible_power_is_no_value() -> None:
    register = PowerRegister(address=0, type="float64", watts_per_count=1000.0)
    assert power_watts(-2.5, register) == -2500.0
    assert power_watts(1e300, register) is None


def test_the_modulus_is_that_of_the_type_unless_it_is_given() -> None:
    def modulus(kind: RegisterType, given_modulus: int | None = None) -> int | None:
        return EnergyRegister(
            address=0, type=kind, joules_per_count=1.0, modulus=given_modulus
        ).modulus_ticks

    assert modulus("uint32") == 2**32
    assert modulus("int32") == 2**31
    assert modulus("uint16") == 2**16
    assert modulus("int64") is None
    assert modulus("uint32", 10**8) == 10**8


def test_every_name_of_a_profile_is_in_the_table() -> None:
    assert set(get_args(ProfileName)) == {*PROFILES, "custom"}


def entry(unit_id: int, profile: str = "schneider_pm5000", **more: object) -> dict[str, object]:
    return {"name": f"meter-{unit_id}", "unit_id": unit_id, "profile": profile} | more


VOLUME = {"address": 8, "type": "uint32", "litres_per_count": 10.0}


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        ({"profile": "custom"}, "needs energy"),
        ({"power": {"address": 1, "type": "int16", "watts_per_count": 1.0}}, "custom"),
        ({"profile": "siemens"}, "profile"),
        ({"unit_id": 256}, "unit_id"),
        ({"name": "Main Meter"}, "name"),
        ({"power_max_watts": 0.0}, "power_max_watts"),
        ({"volume": VOLUME}, "custom"),
        ({"profile": "custom", "volume": VOLUME, "power_max_watts": 1.0}, "no energy"),
        (
            {
                "profile": "custom",
                "volume": VOLUME,
                "power": {"address": 1, "type": "int16", "watts_per_count": 1.0},
            },
            "no energy",
        ),
        (
            {
                "profile": "custom",
                "power": {"address": 65535, "type": "float32", "watts_per_count": 1.0},
            },
            "ends beyond",
        ),
        (
            {
                "profile": "custom",
                "energy": {"address": 1, "type": "string", "joules_per_count": 1.0},
            },
            "type",
        ),
    ],
)
def test_a_wrong_meter_is_refused(meter: dict[str, object], text: str) -> None:
    table = {"kind": "modbus", "host": "gateway", "meters": [entry(1) | meter]}
    with pytest.raises(ValidationError, match=text):
        Config.model_validate(table)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"timeout": "4s"}, "below deadline"),
        ({"timeout": "0s"}, "positive"),
        ({"meters": []}, "at least one"),
        ({"meters": [entry(1), entry(1)]}, "same name"),
        ({"port": 0}, "port"),
        ({"hots": "typo"}, "hots"),
    ],
)
def test_a_wrong_section_is_refused(more: dict[str, object], text: str) -> None:
    table = {"kind": "modbus", "host": "gateway", "meters": [entry(1)]} | more
    with pytest.raises(ValidationError, match=text):
        Config.model_validate(table)


def test_the_module_is_a_source_module() -> None:
    module = load("modbus")
    config = module.Config.model_validate(
        {"kind": "modbus", "host": "gateway", "meters": [entry(7)]}
    )
    assert config.sample_every == 5.0
    assert module.create(config, node="n1").things().meters == ("meter-7",)
