"""The NVML source when drivers, GPUs and its own child fail."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meterhouse_agent.sources import SourceAbsentError, SourceError, SourceUnresponsiveError, nvml
from meterhouse_agent.sources.nvml import Config
from tests.agent.nvml_source import (
    PATIENCE_SECONDS,
    SHORT,
    child_of,
    is_alive,
    opened,
    read,
    until,
    wait_gone,
)
from tests.stand_ins import nvml as driver


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


async def test_a_gpu_lost_before_it_has_a_name(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.gpus[1].error = driver.GPU_IS_LOST
    stand_in.apply()
    async with opened() as source:
        assert len(source.things().devices) == 2
        for _ in range(3):
            assert len(await read(source)) == 2
    about = [record.message for record in caplog.records if "GPU is lost" in record.message]
    assert len(about) == 1
    assert "index 1 has no name yet" in about[0]


async def test_a_driver_that_is_unloaded_needs_a_new_child(stand_in: driver.Nvml) -> None:
    async with opened() as source:
        first = child_of(source)
        for gpu in stand_in.gpus:
            gpu.error = driver.DRIVER_NOT_LOADED
        stand_in.apply()
        with pytest.raises(SourceError, match="Driver Not Loaded"):
            await source.read(0)
        for gpu in stand_in.gpus:
            gpu.error = 0
        stand_in.apply()
        await until(source, lambda found: len(found) == 3)
        assert child_of(source) != first
    wait_gone(first)


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
