"""The Modbus source against a real gateway."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pymodbus.constants import ExcCodes

from meterhouse_agent.samples import Counter, MeterSample
from meterhouse_agent.sources import SourceError
from meterhouse_agent.sources.modbus import ModbusSource
from meterhouse_agent.sources.modbus_config import Config
from meterhouse_agent.sources.modbus_profiles import (
    PROFILES,
    EnergyRegister,
    RegisterType,
)
from tests.servers import Port
from tests.stand_ins.modbus_meter import ModbusGateway, StandInMeter

KNOWN = tuple(PROFILES)


def stand_in(unit_id: int, profile: str = "schneider_pm5000", watts: float = 0.0) -> StandInMeter:
    table = PROFILES[profile]
    return StandInMeter(unit_id=unit_id, energy=table.energy, power=table.power, watts=watts)


def section(gateway: ModbusGateway, meters: list[dict[str, object]], **more: object) -> Config:
    table = {"kind": "modbus", "host": "127.0.0.1", "port": gateway.port, "meters": meters}
    return Config.model_validate(table | more)


def entry(unit_id: int, profile: str = "schneider_pm5000", **more: object) -> dict[str, object]:
    return {"name": f"meter-{unit_id}", "unit_id": unit_id, "profile": profile} | more


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[ModbusSource]:
    source = ModbusSource(config)
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def read(source: ModbusSource) -> dict[str, MeterSample]:
    readings = await source.read(0)
    return {sample.meter: sample for sample in readings.meters}


def energy_of(sample: MeterSample) -> Counter:
    assert sample.energy_joules is not None
    return sample.energy_joules


@pytest.mark.parametrize("profile", KNOWN)
async def test_every_profile_reads_what_was_served(profile: str) -> None:
    meter = stand_in(1, profile, watts=125_000.0)
    meter.preset(8.64e9)
    async with (
        ModbusGateway(meter) as gateway,
        opened(section(gateway, [entry(1, profile, power_max_watts=2e6)])) as source,
    ):
        before = time.time()
        first = (await read(source))["meter-1"]
        await asyncio.sleep(0.1)
        second = (await read(source))["meter-1"]
        after = time.time()
    counter, later = energy_of(first), energy_of(second)
    served = gateway.served_by(1, "energy")
    energy = PROFILES[profile].energy
    assert energy is not None
    if energy.is_float:
        written = struct.unpack(">f", struct.pack(">f", served[0].count))[0]
        assert (counter.ticks, counter.unit) == (round(written * energy.joules_per_count), 1.0)
    else:
        assert (counter.ticks, counter.unit) == (served[0].count, energy.joules_per_count)
        assert later.ticks == served[1].count
    assert counter.rate_max == 2e6
    assert counter.ticks * counter.unit == pytest.approx(8.64e9, rel=1e-4)
    assert later.ticks >= counter.ticks
    assert first.power_watts == pytest.approx(125_000.0)
    assert before <= first.at_milliseconds / 1000 + 0.001
    assert abs(first.at_milliseconds / 1000 - served[0].at_seconds) < 0.05
    assert second.at_milliseconds / 1000 <= after


async def test_a_custom_meter_with_swapped_words_wraps_at_its_modulus() -> None:
    energy = EnergyRegister(
        function_code=4, address=16, type="uint32", word_order="little", joules_per_count=360.0
    )
    meter = StandInMeter(unit_id=9, energy=energy)
    meter.preset((2**32 + 5) * 360.0)
    custom = entry(9, "custom", energy=energy.model_dump(exclude_none=True))
    async with (
        ModbusGateway(meter) as gateway,
        opened(section(gateway, [custom])) as source,
    ):
        sample = (await read(source))["meter-9"]
    assert sample.energy_joules == Counter(ticks=5, unit=360.0, modulus_ticks=2**32)
    assert sample.power_watts is None


@pytest.mark.parametrize(
    ("kind", "counter"),
    [
        ("uint32", Counter(ticks=1234, unit=10.0, modulus_ticks=2**32)),
        ("float32", Counter(ticks=12_345_000, unit=0.001)),
    ],
)
async def test_a_volume_is_read_as_litres_per_count(kind: RegisterType, counter: Counter) -> None:
    # To the wire it is a register like any other; only the config says what a count is.
    meter = StandInMeter(
        unit_id=5, energy=EnergyRegister(address=8, type=kind, joules_per_count=1.0)
    )
    meter.preset(1234.5)
    volume = {"address": 8, "type": kind, "litres_per_count": 10.0}
    async with (
        ModbusGateway(meter) as gateway,
        opened(section(gateway, [entry(5, "custom", volume=volume)])) as source,
    ):
        sample = (await read(source))["meter-5"]
        meter.not_available = True
        with pytest.raises(SourceError, match="volume register 8: holds no value"):
            await source.read(0)
    assert sample.volume_litres == counter
    assert (sample.energy_joules, sample.power_watts) == (None, None)
    assert abs(sample.at_milliseconds / 1000 - gateway.served[0].at_seconds) < 0.05


async def test_zero_is_a_reading_and_not_available_is_none() -> None:
    meter = stand_in(1)
    async with ModbusGateway(meter) as gateway, opened(section(gateway, [entry(1)])) as source:
        sample = (await read(source))["meter-1"]
        assert energy_of(sample).ticks == 0
        assert sample.power_watts == 0.0
        meter.not_available = True
        with pytest.raises(SourceError, match="energy register 3203: holds no value"):
            await source.read(0)


async def test_a_reset_and_a_jump_back_are_passed_on_as_they_are() -> None:
    meter = stand_in(1)
    async with ModbusGateway(meter) as gateway, opened(section(gateway, [entry(1)])) as source:
        ticks = []
        for joules in (7.2e6, 3.6e6, 0.0):
            meter.preset(joules)
            ticks.append(energy_of((await read(source))["meter-1"]).ticks)
    assert ticks == [2000, 1000, 0]
    assert ticks == [served.count for served in gateway.served_by(1, "energy")]


@pytest.mark.parametrize(
    "exception",
    [ExcCodes.ILLEGAL_ADDRESS, ExcCodes.DEVICE_FAILURE, ExcCodes.GATEWAY_NO_RESPONSE],
)
async def test_an_exception_leaves_out_its_meter_only(exception: ExcCodes) -> None:
    bad, good = stand_in(1), stand_in(2, watts=5000.0)
    async with (
        ModbusGateway(bad, good) as gateway,
        opened(section(gateway, [entry(1), entry(2)])) as source,
    ):
        bad.exception = exception
        assert set(await read(source)) == {"meter-2"}
        bad.exception = None
        assert list(await read(source)) == ["meter-1", "meter-2"]
        assert gateway.connections == 1


async def test_an_exception_of_one_register_leaves_the_other() -> None:
    meter = stand_in(1, watts=5000.0)
    meter.energy_exception = ExcCodes.ILLEGAL_ADDRESS
    async with ModbusGateway(meter) as gateway, opened(section(gateway, [entry(1)])) as source:
        sample = (await read(source))["meter-1"]
    assert sample.energy_joules is None
    assert sample.power_watts == 5000.0


async def test_a_unit_that_is_not_there_leaves_out_itself_only() -> None:
    async with (
        ModbusGateway(stand_in(2)) as gateway,
        opened(section(gateway, [entry(1), entry(2)])) as source,
    ):
        assert set(await read(source)) == {"meter-2"}


async def test_a_late_answer_is_never_taken_for_another() -> None:
    late, good = stand_in(1), stand_in(2)
    late.preset(3.6e9)
    good.preset(7.2e9)
    config = [entry(1), entry(2)]
    async with (
        ModbusGateway(late, good) as gateway,
        opened(section(gateway, config, timeout="400ms")) as source,
    ):
        late.delay_seconds = 0.5
        for _ in range(4):
            samples = await read(source)
            assert {name: energy_of(sample).ticks for name, sample in samples.items()} == {
                "meter-2": 2_000_000
            }
            await asyncio.sleep(0.2)
        assert any(served.late for served in gateway.served)
        late.delay_seconds = 0.0
        samples = await read(source)
        assert energy_of(samples["meter-1"]).ticks == 1_000_000
        assert gateway.connections > 1


async def test_slow_meters_do_not_take_the_time_of_the_others() -> None:
    meters = [stand_in(unit_id) for unit_id in range(1, 9)]
    config = [entry(meter.unit_id) for meter in meters]
    async with (
        ModbusGateway(*meters) as gateway,
        opened(section(gateway, config, timeout="400ms", deadline="1500ms")) as source,
    ):
        for meter in meters[:5]:
            meter.delay_seconds = 5.0
        await read_or_nothing(source)
        seen: set[str] = set()
        for _ in range(3):
            begun = time.monotonic()
            seen |= set(await read_or_nothing(source))
            assert time.monotonic() - begun < 1.5
        assert seen == {"meter-6", "meter-7", "meter-8"}
        # One of the five comes back: it is tried within two rounds, though four still hang.
        meters[4].delay_seconds = 0.0
        for _ in range(2):
            seen |= set(await read_or_nothing(source))
        assert "meter-5" in seen


async def read_or_nothing(source: ModbusSource) -> dict[str, MeterSample]:
    try:
        return await read(source)
    except SourceError:
        return {}


async def test_garbage_is_no_reading() -> None:
    async with (
        ModbusGateway(stand_in(1)) as gateway,
        opened(section(gateway, [entry(1)], timeout="400ms")) as source,
    ):
        gateway.garbage = True
        with pytest.raises(SourceError, match="none could be read"):
            await source.read(0)
        gateway.garbage = False
        assert set(await read(source)) == {"meter-1"}


@pytest.mark.parametrize(
    "pdu",
    [
        b"\x03\x08" + b"\x11" * 8,  # the truth, to know that the others fail for their own reason
        b"\x03\x04" + b"\x11" * 4,  # fewer words than asked for
        b"\x03\x0c" + b"\x11" * 12,  # more words than asked for
        b"\x04\x08" + b"\x11" * 8,  # another function
        b"\x03\x08",  # a length without its words
        b"\x03",
        b"\x83",
        b"\xff\xff\xff\xff",
        b"",
    ],
)
async def test_a_damaged_answer_is_no_reading(pdu: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(request := await reader.read(260)) == 12:
            head = request[:4] + (len(pdu) + 1).to_bytes(2, "big") + request[6:7]
            writer.write(head + pdu)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    energy = {"address": 7, "type": "uint64", "joules_per_count": 1e-9}
    config = Config.model_validate(
        {
            "kind": "modbus",
            "host": "127.0.0.1",
            "port": port,
            "timeout": "400ms",
            "meters": [entry(1, "custom", energy=energy)],
        }
    )
    async with server, opened(config) as source:
        if pdu == b"\x03\x08" + b"\x11" * 8:
            assert energy_of((await read(source))["meter-1"]).ticks == 0x1111111111111111
        else:
            with pytest.raises(SourceError, match="meter-1"):
                await source.read(0)


async def test_an_unreachable_gateway_says_what_to_do() -> None:
    port = Port()
    config = Config.model_validate(
        {
            "kind": "modbus",
            "host": "127.0.0.1",
            "port": port.number,
            "timeout": "200ms",
            "meters": [entry(1)],
        }
    )
    source = ModbusSource(config)
    with pytest.raises(SourceError, match=rf"127\.0\.0\.1, port {port.number}.*Check that"):
        await source.open()
    await source.close()
    port.release()


async def test_a_gateway_that_went_away_is_found_again() -> None:
    meter = stand_in(1)
    async with (
        ModbusGateway(meter) as gateway,
        opened(section(gateway, [entry(1)], timeout="1s")) as source,
    ):
        await read(source)
        await gateway.stop()
        with pytest.raises(SourceError, match="none could be read"):
            await source.read(0)
        await gateway.start()
        assert set(await read(source)) == {"meter-1"}


async def test_a_cancelled_round_leaves_no_answer_behind() -> None:
    meter, other = stand_in(1), stand_in(2)
    meter.preset(3.6e9)
    meter.delay_seconds = 0.2
    async with (
        ModbusGateway(meter, other) as gateway,
        opened(section(gateway, [entry(1), entry(2)])) as source,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await source.read(0)
        meter.delay_seconds = 0.0
        samples = await read(source)
        assert energy_of(samples["meter-1"]).ticks == 1_000_000
        assert energy_of(samples["meter-2"]).ticks == 0


async def test_a_silent_meter_is_said_once_and_so_is_its_return(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "meterhouse_agent")
    bad, good = stand_in(1), stand_in(2)
    async with (
        ModbusGateway(bad, good) as gateway,
        opened(section(gateway, [entry(1), entry(2)])) as source,
    ):
        for exception in (ExcCodes.DEVICE_BUSY, ExcCodes.DEVICE_BUSY, None, None):
            bad.exception = exception
            await read(source)
    silent = "gateway 127.0.0.1: meter meter-1"
    assert [record.message for record in caplog.records] == [
        f"{silent} is left out: energy register 3203: exception 6 (device busy)",
        f"{silent} reads again",
    ]


async def test_an_unverified_profile_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    profile = "schneider_iem3x55"
    async with (
        ModbusGateway(stand_in(1, profile)) as gateway,
        opened(section(gateway, [entry(1, profile)])) as source,
    ):
        await read(source)
        await source.close()
        await source.open()
        await read(source)
    said = [record.message for record in caplog.records if "unverified" in record.message]
    assert len(said) == 1
    assert said[0].startswith("meter meter-1: profile schneider_iem3x55 is unverified")
