"""The NVML source against a driver of ours: what it reads, and in which units."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from meterhouse_agent.samples import AcceleratorSample
from meterhouse_agent.sources import nvml
from tests.agent.nvml_source import opened, read, until
from tests.stand_ins import nvml as driver


def is_full(sample: AcceleratorSample) -> bool:
    return sample.sm_activity_ratio is not None and sample.power_watts != 0.0


async def test_each_metric_in_si_units(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[1]
    gpu.utilization_percent, gpu.memory_used_bytes = 87, 5 * 2**30
    gpu.temperature_celsius, gpu.memory_temperature_celsius = 61, 73
    gpu.clock_megahertz, gpu.throttle_reasons = 1410, 0x4 | 0x1
    gpu.ecc_corrected, gpu.ecc_uncorrected = 12, 3
    gpu.sm_activity_percent, gpu.tensor_activity_percent = 62.5, 31.25
    gpu.processes = [(4242, 5 * 2**30)]
    stand_in.set_power(1, 412.5)
    async with opened() as source:
        sample = (await until(source, lambda found: is_full(found[gpu.device])))[gpu.device]
    assert sample.power_watts == 412.5
    assert sample.utilization_ratio == 0.87
    assert (sample.sm_activity_ratio, sample.tensor_activity_ratio) == (0.625, 0.3125)
    assert sample.memory_used_bytes == 5 * 2**30
    assert (sample.temperature_celsius, sample.memory_temperature_celsius) == (61.0, 73.0)
    assert sample.sm_clock_hertz == 1.41e9
    assert (sample.ecc_corrected_errors, sample.ecc_uncorrected_errors) == (12, 3)
    assert (sample.throttled, sample.throttled_power, sample.throttled_thermal) == (
        *(True, True),
        False,
    )
    assert sample.held is True
    assert (sample.health, sample.health_reason) == ("ok", "")


async def test_idle_is_zero_and_not_missing(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    gpu.memory_used_bytes, gpu.temperature_celsius, gpu.throttle_reasons = 0, 0, 0x1 | 0x2
    stand_in.apply()
    async with opened() as source:
        sample = (await read(source))[gpu.device]
    assert sample.power_watts == 0.0
    assert sample.utilization_ratio == 0.0
    assert sample.memory_used_bytes == 0.0
    assert sample.temperature_celsius == 0.0
    assert (sample.throttled, sample.throttled_power) == (False, False)
    assert sample.throttled_thermal is False
    assert sample.held is False
    assert sample.energy_joules is not None
    assert sample.energy_joules.ticks == 0


BITS = {
    name.removeprefix("nvmlClocksThrottleReason"): value
    for name, value in vars(pynvml).items()
    if name.startswith("nvmlClocksThrottleReason") and not name.endswith(("All", "None"))
}
POWER = {"SwPowerCap", "HwPowerBrakeSlowdown"}
THERMAL = {"SwThermalSlowdown", "HwThermalSlowdown"}
# Nobody has anything to do, or somebody set these clocks.
UNLIMITED = {
    *("GpuIdle", "ApplicationsClocksSetting", "UserDefinedClocks"),
    "DisplayClockSetting",
}


async def test_each_throttle_reason_alone_and_with_others_says_its_cause(
    stand_in: driver.Nvml,
) -> None:
    gpu = stand_in.gpus[0]
    seen: dict[str, tuple[bool | None, ...]] = {}
    cases = {**BITS, "": 0, "all": sum(set(BITS.values()))}
    async with opened() as source:
        for name, reasons in cases.items():
            gpu.throttle_reasons = reasons
            stand_in.apply()
            sample = (await read(source))[gpu.device]
            seen[name] = (sample.throttled, sample.throttled_power, sample.throttled_thermal)
    expected = {name: (name not in UNLIMITED, name in POWER, name in THERMAL) for name in BITS}
    assert seen == {**expected, "": (False, False, False), "all": (True, True, True)}
    assert len(set(BITS.values())) == 11


async def test_devices_are_named_by_uuid_and_described(stand_in: driver.Nvml) -> None:
    stand_in.gpus.reverse()
    stand_in.gpus[0].unsupported = {"serial", "energy", "gpm"}
    stand_in.apply()
    async with opened() as source:
        devices = source.things().devices
    assert [device.device for device in devices] == sorted(gpu.device for gpu in stand_in.gpus)
    assert {device.vendor for device in devices} == {"nvidia"}
    assert {device.accelerator_model for device in devices} == {"nvidia-h100-80gb-hbm3"}
    assert {device.memory_total_bytes for device in devices} == {80.0 * 2**30}
    assert [device.serial for device in devices] == ["1650923000000", "1650923000001", ""]
    assert devices[0].capabilities == ["energy_counter", "gpm"]
    assert devices[2].capabilities == []


async def test_energy_is_what_was_served(stand_in: driver.Nvml) -> None:
    for index in range(3):
        stand_in.set_power(index, 100.0 * (index + 1))
    seen: dict[str, list[tuple[int, int]]] = {gpu.device: [] for gpu in stand_in.gpus}
    async with opened() as source:
        for _ in range(5):
            before = time.time_ns() // 1_000_000
            for name, sample in (await read(source)).items():
                assert sample.energy_joules is not None
                assert sample.energy_joules.unit == 0.001
                assert sample.energy_joules.rate_max == 1400.0
                assert before <= sample.at_milliseconds <= time.time_ns() // 1_000_000
                seen[name].append((sample.at_milliseconds, sample.energy_joules.ticks))
            await asyncio.sleep(0.05)
    for index, gpu in enumerate(stand_in.gpus):
        # The first reading of a process only finds out whether there is a counter.
        served = stand_in.served(index)[1:]
        assert [ticks for _, ticks in seen[gpu.device]] == [one.millijoules for one in served]
        for (at_milliseconds, _), one in zip(seen[gpu.device], served, strict=True):
            assert one.at_milliseconds <= at_milliseconds


async def test_without_an_energy_counter_power_remains(stand_in: driver.Nvml) -> None:
    stand_in.gpus[1].unsupported = {"energy"}
    stand_in.set_power(1, 300.0)
    async with opened() as source:
        samples = await until(
            source, lambda found: found[stand_in.gpus[1].device].power_watts == 300
        )
    assert samples[stand_in.gpus[1].device].energy_joules is None
    assert samples[stand_in.gpus[0].device].energy_joules is not None
    assert not stand_in.served(1)


async def test_power_falls_back_through_its_three_calls(stand_in: driver.Nvml) -> None:
    stand_in.gpus[1].unsupported = {"power_instant"}
    stand_in.gpus[2].unsupported = {"power_instant", "power_average"}
    for gpu in stand_in.gpus:
        gpu.power_reported_milliwatts = 123_000
    stand_in.apply()
    async with opened() as source:
        assert {sample.power_watts for sample in (await read(source)).values()} == {123.0}


async def test_functions_an_older_driver_does_not_have(
    tmp_path: Path, use: Callable[[driver.Nvml], None]
) -> None:
    missing = (
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetPowerManagementLimitConstraints",
        "nvmlGpmQueryDeviceSupport",
    )
    old = driver.Nvml(tmp_path / "nvml", count=1, missing=missing)
    use(old)
    gpu = old.gpus[0]
    gpu.throttle_reasons, gpu.processes, gpu.ecc_corrected = 0x8, [(7, 1)], 5
    gpu.power_reported_milliwatts = 200_000
    old.apply()
    async with opened() as source:
        for _ in range(2):
            sample = (await read(source))[gpu.device]
            assert sample.energy_joules is not None
            assert sample.energy_joules.rate_max == 1400.0
            assert sample.power_watts == 200.0
            assert sample.temperature_celsius == 40.0
            assert sample.memory_used_bytes == 2**20
            assert (sample.throttled, sample.held) == (True, True)
            assert (sample.ecc_corrected_errors, sample.ecc_uncorrected_errors) == (5, 0)
            assert sample.memory_temperature_celsius is None
            assert sample.sm_activity_ratio is None
        assert source.things().devices[0].capabilities == ["energy_counter"]


async def test_what_one_device_does_not_support(stand_in: driver.Nvml) -> None:
    poor, rich = stand_in.gpus[0], stand_in.gpus[1]
    poor.unsupported = {"utilization", "memory", "temperature", "memory_temperature", "clock"}
    poor.unsupported |= {"throttle", "ecc", "remap", "recovery", "processes", "gpm", "power_limit"}
    stand_in.apply()
    async with opened() as source:
        for _ in range(2):
            samples = await read(source)
    sample = samples[poor.device]
    assert sample.health == "ok"
    assert sample.power_watts == 0.0
    assert sample.energy_joules is not None
    assert sample.utilization_ratio is None
    assert sample.memory_used_bytes is None
    assert sample.temperature_celsius is None
    assert sample.memory_temperature_celsius is None
    assert sample.sm_clock_hertz is None
    assert (sample.throttled, sample.throttled_power) == (None, None)
    assert sample.throttled_thermal is None
    assert sample.held is None
    assert sample.ecc_corrected_errors is None
    assert sample.ecc_uncorrected_errors is None
    assert sample.sm_activity_ratio is None
    assert samples[rich.device].utilization_ratio == 0.0
    assert samples[rich.device].held is False


async def test_a_missing_permission_is_logged_once(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.gpus[0].forbidden = {"gpm"}
    stand_in.apply()
    async with opened() as source:
        for _ in range(4):
            samples = await read(source)
            await asyncio.sleep(0.15)
    assert samples[stand_in.gpus[0].device].sm_activity_ratio is None
    assert samples[stand_in.gpus[1].device].sm_activity_ratio == 0.0
    assert sum("no permission" in record.message for record in caplog.records) == 1


async def test_junk_is_dropped_and_counted(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    gpu.power_reported_milliwatts = 2**32 - 1
    gpu.energy_reported_millijoules = 2**64 - 1
    gpu.utilization_percent, gpu.memory_used_bytes = 255, 2**60
    gpu.temperature_celsius, gpu.memory_temperature_celsius = 2**31 - 1, 2**31 - 1
    gpu.clock_megahertz, gpu.ecc_corrected = 2**32 - 1, 2**64 - 1
    gpu.sm_activity_percent, gpu.tensor_activity_percent = float("nan"), 4711.0
    stand_in.apply()
    async with opened() as source:
        await read(source)
        await asyncio.sleep(0.2)
        samples = await read(source)
        sample = samples[gpu.device]
        assert source.junk == {
            "power_watts": 2,
            "energy_joules": 2,
            "utilization_ratio": 2,
            "memory_used_bytes": 2,
            "temperature_celsius": 2,
            "memory_temperature_celsius": 2,
            "sm_clock_hertz": 2,
            "ecc_corrected_errors": 2,
            "sm_activity_ratio": 1,
            "tensor_activity_ratio": 1,
        }
    assert sample.power_watts is None
    assert sample.energy_joules is None
    assert sample.utilization_ratio is None
    assert sample.memory_used_bytes is None
    assert sample.temperature_celsius is None
    assert sample.sm_clock_hertz is None
    assert sample.ecc_corrected_errors is None
    assert sample.sm_activity_ratio is None
    assert samples[stand_in.gpus[1].device].power_watts == 0.0


async def test_held_is_looked_at_now_and_then(stand_in: driver.Nvml) -> None:
    # The driver says 2^64 - 1 where it does not know how much a process holds.
    stand_in.gpus[0].processes = [(1, 2**64 - 1)]
    stand_in.gpus[1].processes = [(1, 0)]
    stand_in.apply()
    names = [gpu.device for gpu in stand_in.gpus]
    async with opened(processes_every="1h") as source:
        samples = await read(source)
        assert [samples[name].held for name in names] == [True, False, False]
        stand_in.gpus[0].processes, stand_in.gpus[2].processes = [], [(1, 5)]
        stand_in.apply()
        samples = await read(source)
        assert [samples[name].held for name in names] == [True, False, False]
    async with opened(processes_every="100ms") as source:
        stand_in.gpus[1].processes = [(1, 5)]
        stand_in.apply()
        samples = await until(source, lambda found: found[names[1]].held is True)
        assert [samples[name].held for name in names] == [False, True, True]


def test_the_child_imports_little() -> None:
    program = (
        "import sys, meterhouse_agent.readers.nvml, meterhouse_agent.readers.nvml_device;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(result.stdout.split())
    assert "pynvml" in loaded
    assert not loaded & {"pydantic", "aiomqtt", "asyncio", "prometheus_client", "logging"}


def test_the_agent_does_not_import_the_binding() -> None:
    program = "import sys, meterhouse_agent.sources.nvml; print('pynvml' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("uuid", "name"),
    [
        ("GPU-1B2C3D4E-0000-4000-8000-00000000abcd", "gpu-1b2c3d4e-0000-4000-8000-00000000abcd"),
        ("MIG-GPU-1/2", "mig-gpu-1-2"),
        ("-odd", "gpu-odd"),
        ("", "gpu"),
        ("x" * 200, "x" * 63),
    ],
)
def test_names(uuid: str, name: str) -> None:
    assert nvml.device_name(uuid) == name
