"""Sensors of the Modbus source against a real gateway."""

import asyncio
import math
import time

import pytest
from pydantic import ValidationError
from pymodbus.constants import ExcCodes

from meterhouse_agent.samples import SensorSample
from meterhouse_agent.sources import SourceError, load
from meterhouse_agent.sources.modbus import ModbusSource
from meterhouse_agent.sources.modbus_config import Config
from meterhouse_agent.sources.modbus_profiles import RegisterType
from meterhouse_agent.sources.modbus_sensors import (
    LEAST_CELSIUS,
    MOST_CELSIUS,
    Contact,
    TemperatureRegister,
    temperature_celsius,
)
from tests.agent.test_modbus import entry, opened, stand_in
from tests.stand_ins.modbus_meter import ModbusGateway, StandInSensor

TENTHS = TemperatureRegister(function_code=4, address=3, type="int16", celsius_per_count=0.1)
LEAK = Contact(address=17)


def thermometer(unit_id: int = 1, count: float = 235.0) -> StandInSensor:
    return StandInSensor(unit_id=unit_id, temperature=TENTHS, count=count)


def detector(unit_id: int = 2, contact: Contact = LEAK) -> StandInSensor:
    return StandInSensor(unit_id=unit_id, contact=contact)


def section(gateway: ModbusGateway, **more: object) -> Config:
    sensors = [
        {"name": f"sensor-{unit_id}", "unit_id": unit_id}
        | ({"temperature": each.temperature.model_dump()} if each.temperature else {})
        | ({"contact": each.contact.model_dump()} if each.contact else {})
        for unit_id, each in gateway.sensors.items()
    ]
    table = {"kind": "modbus", "host": "127.0.0.1", "port": gateway.port, "sensors": sensors}
    return Config.model_validate(table | more)


async def read(source: ModbusSource) -> dict[str, SensorSample]:
    readings = await source.read(0)
    return {sample.sensor: sample for sample in readings.sensors}


@pytest.mark.parametrize(
    ("register", "count", "celsius"),
    [
        (TENTHS, 235, 23.5),
        (TENTHS, -55, -5.5),
        (TENTHS, 0, 0.0),
        (TemperatureRegister(address=40, type="float32", celsius_per_count=1.0), 18.25, 18.25),
        (
            TemperatureRegister(
                address=9, type="int32", word_order="little", celsius_per_count=0.01
            ),
            -1234,
            -12.34,
        ),
    ],
)
async def test_a_temperature_is_read_with_its_sign_and_scale(
    register: TemperatureRegister, count: float, celsius: float
) -> None:
    sensor = StandInSensor(unit_id=4, temperature=register, count=count)
    async with ModbusGateway(sensor) as gateway, opened(section(gateway)) as source:
        assert source.things().sensors == ("sensor-4",)
        before = time.time()
        sample = (await read(source))["sensor-4"]
        after = time.time()
    assert sample.temperature_celsius == pytest.approx(celsius)
    assert sample.alarmed is None
    assert before <= sample.at_milliseconds / 1000 + 0.001
    assert sample.at_milliseconds / 1000 <= after


@pytest.mark.parametrize("function_code", [1, 2])
@pytest.mark.parametrize("alarm_when", [True, False])
@pytest.mark.parametrize("address", [0, 17, 65535])
async def test_a_contact_means_alarm_in_the_state_that_is_given(
    function_code: int, address: int, *, alarm_when: bool
) -> None:
    contact = Contact.model_validate(
        {"function_code": function_code, "address": address, "alarm_when": alarm_when}
    )
    sensor = detector(7, contact)
    async with ModbusGateway(sensor) as gateway, opened(section(gateway)) as source:
        for closed in (False, True, False):
            sensor.closed = closed
            sample = (await read(source))["sensor-7"]
            assert sample.alarmed == (closed == alarm_when)
            assert sample.temperature_celsius is None


async def test_meters_and_sensors_of_one_gateway_are_read_in_one_round() -> None:
    async with ModbusGateway(stand_in(9, watts=5000.0), thermometer(), detector()) as gateway:
        config = section(gateway, meters=[entry(9)])
        async with opened(config) as source:
            readings = await source.read(0)
            things = source.things()
    assert [sample.meter for sample in readings.meters] == ["meter-9"]
    assert [sample.sensor for sample in readings.sensors] == ["sensor-1", "sensor-2"]
    assert (things.meters, things.sensors) == (("meter-9",), ("sensor-1", "sensor-2"))
    assert gateway.connections == 1


@pytest.mark.parametrize("kind", ["int16", "uint16", "float32", "int32"])
async def test_what_says_not_available_is_no_temperature(kind: RegisterType) -> None:
    register = TemperatureRegister(address=5, type=kind, celsius_per_count=0.001)
    sensor = StandInSensor(unit_id=1, temperature=register, not_available=True)
    async with ModbusGateway(sensor, detector()) as gateway, opened(section(gateway)) as source:
        assert set(await read(source)) == {"sensor-2"}
        sensor.not_available = False
        assert set(await read(source)) == {"sensor-1", "sensor-2"}


@pytest.mark.parametrize("count", [8500, -2420, 32000])
async def test_a_broken_wire_is_no_temperature(count: int) -> None:
    sensor = thermometer(count=count)
    async with ModbusGateway(sensor) as gateway, opened(section(gateway)) as source:
        with pytest.raises(
            SourceError, match=f"1 sensors, .* temperature register 3: {count} is no temperature"
        ):
            await source.read(0)


def test_what_no_inlet_and_no_coolant_can_have_is_not_taken() -> None:
    one = TemperatureRegister(address=0, type="float32", celsius_per_count=1.0)
    assert temperature_celsius(LEAST_CELSIUS, one) == LEAST_CELSIUS
    assert temperature_celsius(MOST_CELSIUS, one) == MOST_CELSIUS
    assert temperature_celsius(math.nextafter(LEAST_CELSIUS, -math.inf), one) is None
    assert temperature_celsius(math.nextafter(MOST_CELSIUS, math.inf), one) is None
    assert temperature_celsius(math.nan, one) is None


@pytest.mark.parametrize(
    "exception",
    [ExcCodes.ILLEGAL_ADDRESS, ExcCodes.DEVICE_FAILURE, ExcCodes.GATEWAY_NO_RESPONSE],
)
async def test_an_exception_leaves_out_its_sensor_only(
    exception: ExcCodes, caplog: pytest.LogCaptureFixture
) -> None:
    warm, leak = thermometer(), detector()
    async with ModbusGateway(warm, leak) as gateway, opened(section(gateway)) as source:
        for bad, good in ((warm, "sensor-2"), (leak, "sensor-1")):
            bad.exception = exception
            assert set(await read(source)) == {good}
            bad.exception = None
            assert list(await read(source)) == ["sensor-1", "sensor-2"]
        assert gateway.connections == 1
    assert "sensor sensor-2 is left out: contact 17: exception" in caplog.text


async def test_a_late_contact_is_never_taken_for_another() -> None:
    late, good = detector(1), detector(2)
    late.closed = True
    async with (
        ModbusGateway(late, good) as gateway,
        opened(section(gateway, timeout="400ms")) as source,
    ):
        late.delay_seconds = 0.5
        for _ in range(2):
            found = await read(source)
            assert {name: sample.alarmed for name, sample in found.items()} == {"sensor-2": False}
            await asyncio.sleep(0.2)
        late.delay_seconds = 0.0
        assert (await read(source))["sensor-1"].alarmed is True
        assert gateway.connections > 1


@pytest.mark.parametrize(
    ("pdu", "alarmed"),
    [
        (b"\x02\x01\x01", True),
        (b"\x02\x01\x00", False),
        (b"\x02\x01\xfe", False),  # only the first bit was asked for
        (b"\x01\x01\x01", None),  # another function
        (b"\x02\x02\x01\x00", None),  # more than was asked for
        (b"\x02\x01", None),  # a length without its byte
        (b"\x02", None),
        (b"\x82", None),
        (b"", None),
    ],
)
async def test_a_damaged_contact_is_no_reading(pdu: bytes, *, alarmed: bool | None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(request := await reader.read(260)) == 12:
            head = request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7]
            writer.write(head + pdu)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    config = Config.model_validate(
        {
            "kind": "modbus",
            "host": "127.0.0.1",
            "port": server.sockets[0].getsockname()[1],
            "timeout": "400ms",
            "sensors": [{"name": "leak", "unit_id": 1, "contact": LEAK.model_dump()}],
        }
    )
    async with server, opened(config) as source:
        if alarmed is None:
            with pytest.raises(SourceError, match="sensor leak"):
                await source.read(0)
        else:
            assert (await read(source))["leak"].alarmed is alarmed


TEMPERATURE = {"address": 1, "type": "int16", "celsius_per_count": 0.1}
CONTACT = {"address": 1}


@pytest.mark.parametrize(
    ("sensor", "text"),
    [
        ({}, "either temperature"),
        ({"temperature": TEMPERATURE, "contact": CONTACT}, "either temperature"),
        ({"temperature": TEMPERATURE | {"celsius_per_count": 0.0}}, "celsius_per_count"),
        ({"temperature": TEMPERATURE | {"celsius_per_count": math.nan}}, "celsius_per_count"),
        ({"temperature": TEMPERATURE | {"function_code": 2}}, "function_code"),
        ({"contact": CONTACT | {"function_code": 3}}, "function_code"),
        ({"contact": CONTACT | {"address": 65536}}, "address"),
        ({"contact": CONTACT | {"alarm_when": "shut"}}, "alarm_when"),
        ({"contact": CONTACT, "unit_id": 256}, "unit_id"),
        ({"contact": CONTACT, "name": "Leak One"}, "name"),
        ({"contact": CONTACT, "profile": "custom"}, "profile"),
    ],
)
def test_a_wrong_sensor_is_refused(sensor: dict[str, object], text: str) -> None:
    sensors = [{"name": "one", "unit_id": 1} | sensor]
    with pytest.raises(ValidationError, match=text):
        Config.model_validate({"kind": "modbus", "host": "gateway", "sensors": sensors})


def test_a_sensor_and_a_meter_of_one_name_are_refused() -> None:
    sensor = {"name": "meter-1", "unit_id": 1, "contact": CONTACT}
    table = {"kind": "modbus", "host": "gateway", "meters": [entry(1)], "sensors": [sensor]}
    with pytest.raises(ValidationError, match="same name"):
        Config.model_validate(table)


def test_a_gateway_may_have_sensors_alone() -> None:
    module = load("modbus")
    sensor = {"name": "leak", "unit_id": 1, "contact": CONTACT}
    config = module.Config.model_validate({"kind": "modbus", "host": "h", "sensors": [sensor]})
    things = module.create(config, node="n1").things()
    assert (things.meters, things.sensors) == ((), ("leak",))
