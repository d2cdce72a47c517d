"""The NVML source against a driver of ours: real binding, real child process."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from meterhouse_agent.samples import AcceleratorSample, Readings
from meterhouse_agent.sources import SourceAbsentError, SourceError, SourceUnresponsiveError, nvml
from meterhouse_agent.sources.nvml import Config, Nvml
from tests.stand_ins import nvml as driver

PATIENCE_SECONDS = 60.0
# A round that waits for a hanging device lasts so long; nothing here depends on it being kept.
SHORT = "1s"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[driver.Nvml], None]:
    """Lead children of this process to a driver."""

    def _use(stand_in: driver.Nvml) -> None:
        for name, value in stand_in.environment().items():
            monkeypatch.setenv(name, value)

    return _use


@pytest.fixture
def stand_in(tmp_path: Path, use: Callable[[driver.Nvml], None]) -> driver.Nvml:
    made = driver.Nvml(tmp_path / "nvml", count=3)
    use(made)
    return made


@asynccontextmanager
async def opened(**settings: str) -> AsyncIterator[Nvml]:
    source = nvml.create(Config.model_validate({"deadline": "20s", **settings}), node="node-1")
    try:
        await source.open()
        yield source
    finally:
        await source.close()


async def read(source: Nvml) -> dict[str, AcceleratorSample]:
    readings: Readings = await source.read(0)
    return {sample.device: sample for sample in readings.accelerators}


async def until(
    source: Nvml, good: Callable[[dict[str, AcceleratorSample]], bool]
) -> dict[str, AcceleratorSample]:
    """Read until the samples are good, passing over rounds that failed."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if good(samples := await read(source)):
                return samples
        except SourceError:
            pass
        assert time.monotonic() < give_up, "it never became so"
        await asyncio.sleep(0.1)


def child_of(source: Nvml) -> int:
    process = source._child._process
    assert process is not None
    return process.pid


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_gone(pid: int) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while is_alive(pid):
        assert time.monotonic() < give_up, f"process {pid} is still there"
        time.sleep(0.05)


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
    assert sample.throttled is True
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
    assert sample.throttled is False
    assert sample.held is False
    assert sample.energy_joules is not None
    assert sample.energy_joules.ticks == 0


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


async def test_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not an empty folder: where there is a real driver, that would find the real one.
    (tmp_path / driver.LIBRARY).write_text("no library", encoding="ascii")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    with pytest.raises(
        SourceAbsentError, match=r"install the NVIDIA driver.*remove the nvml source"
    ):
        async with opened():
            pass


async def test_no_driver(stand_in: driver.Nvml) -> None:
    stand_in.init_error = driver.DRIVER_NOT_LOADED
    stand_in.apply()
    with pytest.raises(SourceAbsentError, match="modprobe nvidia"):
        async with opened():
            pass


async def test_no_gpu(stand_in: driver.Nvml) -> None:
    stand_in.gpus.clear()
    stand_in.apply()
    with pytest.raises(SourceAbsentError, match="finds no GPU"):
        async with opened():
            pass


async def test_the_deprecated_binding_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pynvml"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(SourceError, match="pip uninstall pynvml"):
        async with opened():
            pass


async def test_a_lost_gpu_is_lost_alone_and_found_again(stand_in: driver.Nvml) -> None:
    stand_in.set_power(0, 250.0)
    lost, other = stand_in.gpus[1], stand_in.gpus[0]
    async with opened(lost_retry_every="100ms") as source:
        assert (await read(source))[lost.device].health == "ok"
        lost.error = driver.GPU_IS_LOST
        stand_in.apply()
        samples = await read(source)
        assert samples[lost.device].health == "lost"
        assert "lost" in samples[lost.device].health_reason
        assert samples[lost.device].energy_joules is None
        assert samples[other.device].energy_joules is not None
        assert samples[other.device].health == "ok"
        lost.error = 0
        stand_in.apply()
        found = await until(source, lambda found: found[lost.device].health == "ok")
        assert found[lost.device].energy_joules is not None


async def test_a_lost_gpu_is_left_alone(stand_in: driver.Nvml) -> None:
    async with opened(lost_retry_every="1h") as source:
        stand_in.gpus[1].error = driver.GPU_IS_LOST
        stand_in.apply()
        assert (await read(source))[stand_in.gpus[1].device].health == "lost"
        # Well again, but nobody asks: that it still counts as lost shows that it is not called.
        stand_in.gpus[1].error = 0
        stand_in.apply()
        assert (await read(source))[stand_in.gpus[1].device].health == "lost"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"error": driver.RESET_REQUIRED}, "restart"),
        ({"recovery_action": 1}, "GPU reset required"),
        ({"recovery_action": 2}, "node reboot required"),
        ({"remap_failure": 1}, "row remapping failed"),
        ({"remap_pending": 1, "ecc_uncorrected_volatile": 1}, "uncorrectable memory error"),
    ],
)
async def test_a_failed_gpu_says_why(
    stand_in: driver.Nvml, changes: dict[str, int], reason: str
) -> None:
    async with opened() as source:
        for name, value in changes.items():
            setattr(stand_in.gpus[2], name, value)
        stand_in.apply()
        samples = await read(source)
    assert samples[stand_in.gpus[2].device].health == "failed"
    assert reason in samples[stand_in.gpus[2].device].health_reason
    assert samples[stand_in.gpus[0].device].health == "ok"


async def test_a_pending_remap_alone_is_no_failure(stand_in: driver.Nvml) -> None:
    stand_in.gpus[0].remap_pending, stand_in.gpus[0].recovery_action = 1, 3
    stand_in.apply()
    async with opened() as source:
        assert (await read(source))[stand_in.gpus[0].device].health == "ok"


async def test_one_device_hangs_and_comes_back(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    hung = stand_in.gpus[1]
    with caplog.at_level(logging.INFO):
        async with opened(deadline=SHORT) as source:
            await until(source, lambda found: len(found) == 3)
            pid = child_of(source)
            hung.hang = True
            stand_in.apply()
            await until(source, lambda found: hung.device not in found and len(found) == 2)
            await until(source, lambda found: hung.device not in found and len(found) == 2)
            hung.hang = False
            stand_in.apply()
            await until(source, lambda found: len(found) == 3)
            assert child_of(source) == pid
            assert len(source.things().devices) == 3
    about = [record.message for record in caplog.records if hung.device in record.message]
    assert [text for text in about if "no answer in time" in text] == about[::2]
    assert [text for text in about if "answers again" in text] == about[1::2]
    assert len(about) >= 2


async def test_a_device_that_hangs_from_the_start_does_not_hide_the_others(
    stand_in: driver.Nvml,
) -> None:
    stand_in.gpus[0].hang = True
    stand_in.apply()
    async with opened(deadline=SHORT, open_deadline="3s") as source:
        await until(source, lambda found: len(found) == 2)
        assert len(source.things().devices) == 2
        stand_in.gpus[0].hang = False
        stand_in.apply()
        await until(source, lambda found: len(found) == 3)
        assert len(source.things().devices) == 3


async def test_all_devices_hang_and_nothing_else_does(stand_in: driver.Nvml) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0.01)

    async with opened(deadline=SHORT) as source:
        pid = child_of(source)
        heart = asyncio.create_task(beat(), name="beat")
        for gpu in stand_in.gpus:
            gpu.hang = True
        stand_in.apply()
        before = beats
        for _ in range(3):
            with pytest.raises(SourceUnresponsiveError, match="no device of NVML answers"):
                await source.read(0)
        assert beats > before + 1
        assert child_of(source) == pid, "restarted in a tight loop"
        heart.cancel()
        for gpu in stand_in.gpus:
            gpu.hang = False
        stand_in.apply()
        await until(source, lambda found: len(found) == 3)
        assert child_of(source) == pid
    wait_gone(pid)


async def test_a_lasting_hang_ends_in_a_new_child(stand_in: driver.Nvml) -> None:
    async with opened(deadline="200ms", restart_after="1s") as source:
        first = child_of(source)
        for gpu in stand_in.gpus:
            gpu.hang = True
        stand_in.apply()
        give_up = time.monotonic() + PATIENCE_SECONDS
        while source._child._process is None or child_of(source) == first:
            assert time.monotonic() < give_up
            with pytest.raises(SourceError):
                await source.read(0)
            await asyncio.sleep(0.05)
        wait_gone(first)
        for gpu in stand_in.gpus:
            gpu.hang = False
        stand_in.apply()
        await until(source, lambda found: len(found) == 3)


async def test_opening_that_hangs(stand_in: driver.Nvml) -> None:
    stand_in.init_hang = True
    stand_in.apply()
    source = nvml.create(Config.model_validate({"open_deadline": "2s"}), node="node-1")
    with pytest.raises(SourceUnresponsiveError, match="has not been opened yet"):
        await source.open()
    pid = child_of(source)
    stand_in.init_hang = False
    stand_in.apply()
    await until(source, lambda found: len(found) == 3)
    assert child_of(source) == pid
    await source.close()
    wait_gone(pid)


async def test_a_stopped_child_is_unresponsive_until_it_goes_on(stand_in: driver.Nvml) -> None:
    async with opened(deadline=SHORT) as source:
        pid = child_of(source)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(SourceUnresponsiveError, match="reader of NVML does not answer"):
            await source.read(0)
        os.kill(pid, signal.SIGCONT)
        await until(source, lambda found: len(found) == 3)
        assert stand_in.served()


async def test_a_killed_child_is_told_of_and_replaced(stand_in: driver.Nvml) -> None:
    stand_in.set_power(0, 100.0)
    async with opened() as source:
        before = (await read(source))[stand_in.gpus[0].device].energy_joules
        first = child_of(source)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(SourceError, match="signal 9"):
            await source.read(0)
        with pytest.raises(SourceError, match=r"signal 9.*(next try in|being ended)"):
            await source.read(0)
        samples = await until(source, lambda found: len(found) == 3)
        after = samples[stand_in.gpus[0].device].energy_joules
        assert child_of(source) != first
    assert before is not None
    assert after is not None
    assert after.ticks > before.ticks
    assert after.epoch == before.epoch != ""


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
    assert sample.throttled is None
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


def test_a_killed_agent_leaves_no_child(stand_in: driver.Nvml) -> None:
    program = """
import asyncio
from meterhouse_agent.sources.nvml import Config, create
async def main():
    source = create(Config(), node="node-1")
    await source.open()
    print(source._child._process.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        pid = int(agent.stdout.readline())
        assert is_alive(pid)
        stand_in.gpus[0].hang = True
        stand_in.apply()
        agent.kill()
    wait_gone(pid)


async def test_close_leaves_no_process_though_a_device_hangs(stand_in: driver.Nvml) -> None:
    async with opened(deadline=SHORT) as source:
        stand_in.gpus[0].hang = True
        stand_in.apply()
        await until(source, lambda found: len(found) == 2)
        pid = child_of(source)
    assert not is_alive(pid)
    await source.close()


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
