"""The host source on built trees, and on this machine's own /proc."""

import asyncio
import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from meterhouse_agent.samples import Counter, HostSample
from meterhouse_agent.sources import SourceError, load
from meterhouse_agent.sources.host import Config, HostSource
from meterhouse_agent.sources.procfs import (
    cpu_seconds,
    memory_used_bytes,
    microjoules,
    temperature_celsius,
)
from meterhouse_agent.sources.sensors import MAX_HUNG, PACKAGE_WATTS_MAX

STAT = "cpu  1000 20 300 5000 400 50 60 70 80 90\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n"
MEMINFO = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    400 kB\nHugePages_Total: 0\n"
RANGE = 65_532_610_987


class Tree:
    """A /proc and a /sys to be read, in a folder that anyone may enter."""

    def __init__(self, folder: Path) -> None:
        self.proc = folder / "proc"
        self.sys = folder / "sys"
        self.write(self.proc / "stat", STAT)
        self.write(self.proc / "meminfo", MEMINFO)
        self.write(self.proc / "sys/kernel/random/boot_id", "boot-1\n")

    @staticmethod
    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
        return path

    def zone(self, zone: str, name: str, microjoules_text: str = "123456789") -> Path:
        folder = self.sys / "class/powercap" / zone
        self.write(folder / "name", f"{name}\n")
        self.write(folder / "max_energy_range_uj", f"{RANGE}\n")
        return self.write(folder / "energy_uj", f"{microjoules_text}\n")

    def sensor(self, hwmon: int, name: str, **inputs: str) -> Path:
        folder = self.sys / "class/hwmon" / f"hwmon{hwmon}"
        self.write(folder / "name", f"{name}\n")
        for key, text in inputs.items():
            self.write(folder / f"{key}_input", f"{text}\n")
        return folder

    def source(self, **more: object) -> HostSource:
        table = {"kind": "host", "procfs_root": self.proc, "sysfs_root": self.sys}
        return HostSource(Config.model_validate(table | more))


@pytest.fixture
def tree() -> Iterator[Tree]:
    folder = Path(tempfile.mkdtemp(prefix="meterhouse-host-"))
    folder.chmod(0o755)
    yield Tree(folder)
    release(folder)
    shutil.rmtree(folder)


def release(folder: Path) -> None:
    """Let every thread go that waits in one of the pipes below a folder."""
    for pipe in folder.rglob("*"):
        if pipe.is_fifo():
            with contextlib.suppress(OSError):  # nobody waits in it
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


def hanging_since(before: list[threading.Thread]) -> list[threading.Thread]:
    threads = [found for found in threading.enumerate() if found.name == "host-sensors"]
    found = [thread for thread in threads if thread not in before]
    for thread in found:
        # That of a round which is over may be about to end.
        thread.join(0.2)
    return [thread for thread in found if thread.is_alive()]


async def read(source: HostSource) -> HostSample:
    readings = await source.read(0)
    assert readings.host is not None
    return readings.host


async def read_once(tree: Tree, **more: object) -> HostSample:
    source = tree.source(**more)
    await source.open()
    sample = await read(source)
    await source.close()
    return sample


# ------------------------------------------------------------------ parsers


def test_busy_is_all_but_idle_and_waiting_and_guests_are_not_counted_twice() -> None:
    assert cpu_seconds(STAT, 100) == (15.0, 69.0)


@pytest.mark.parametrize(
    "text",
    ["", "cpu", "cpu  1 2 3", "cpu0 1 2 3 4 5 6 7 8", "cpu  1 2 3 -4 5 6 7 8", "cpu a b c d"],
)
def test_what_is_no_stat_is_no_reading(text: str) -> None:
    assert cpu_seconds(text, 100) is None


def test_memory_used_is_total_less_available() -> None:
    assert memory_used_bytes(MEMINFO) == 600 * 1024


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MemTotal: 1000 kB\n",
        "MemTotal: 1000 kB\nMemAvailable: 2000 kB\n",
        "MemTotal: 1000 MB\nMemAvailable: 20 kB\n",
        "MemTotal: x kB\nMemAvailable: 20 kB\n",
    ],
)
def test_what_is_no_meminfo_is_no_reading(text: str) -> None:
    assert memory_used_bytes(text) is None


def test_memory_all_available_is_zero_used() -> None:
    assert memory_used_bytes("MemTotal: 8 kB\nMemAvailable: 8 kB\n") == 0.0


@pytest.mark.parametrize(
    ("text", "value"),
    [("0\n", 0), ("65532610987", 65532610987), ("-1", None), ("", None), ("1e3", None)],
)
def test_microjoules(text: str, value: int | None) -> None:
    assert microjoules(text) == value


def test_no_counter_is_that_large() -> None:
    assert microjoules("9" * 30) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("45500\n", 45.5),
        ("0", 0.0),
        ("-12000", -12.0),
        ("-273150", None),
        ("255000", None),
        ("", None),
        ("N/A", None),
        ("--5", None),
    ],
)
def test_temperature(text: str, value: float | None) -> None:
    assert temperature_celsius(text) == value


# ------------------------------------------------------------------ built trees


async def test_a_whole_host(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-1", "987654321")
    tree.sensor(0, "nvme", temp1="99000")
    tree.sensor(1, "coretemp", temp1="51000", temp2="63500", temp10="40000")
    before = time.time()
    sample = await read_once(tree)
    after = time.time()
    ticks = os.sysconf("SC_CLK_TCK")
    assert before - 0.001 <= sample.at_milliseconds / 1000 <= after
    assert (sample.cpu_busy_seconds, sample.cpu_total_seconds) == (1500 / ticks, 6900 / ticks)
    assert sample.memory_used_bytes == 600 * 1024
    assert sample.temperature_celsius == 63.5
    assert sample.energy_joules is None
    assert sample.cpu_energy_joules == {
        f"package-{number}": Counter(
            ticks=microjoules_read,
            unit=1e-6,
            epoch="boot-1",
            modulus_ticks=RANGE + 1,
            rate_max=PACKAGE_WATTS_MAX,
        )
        for number, microjoules_read in enumerate((123456789, 987654321))
    }


async def test_energy_is_counted_once(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:0:0", "core")
    tree.zone("intel-rapl:0:1", "dram")
    tree.zone("intel-rapl:1", "psys")
    tree.zone("intel-rapl-mmio:0", "package-0", "5")
    tree.zone("dtpm", "package-9")
    sample = await read_once(tree)
    assert {name: counter.ticks for name, counter in sample.cpu_energy_joules.items()} == {
        "package-0": 123456789
    }


async def test_a_counter_that_stands_at_zero_is_not_driven(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0", "0")
    assert (await read_once(tree)).cpu_energy_joules == {}


async def test_without_sensors_of_cpus_the_hottest_counts(tree: Tree) -> None:
    tree.sensor(0, "nvme", temp1="41000", temp2="39000")
    tree.sensor(1, "acpitz", temp1="-273150")
    assert (await read_once(tree)).temperature_celsius == 41.0


async def test_no_sysfs_leaves_the_rest(tree: Tree) -> None:
    sample = await read_once(tree)
    assert sample.cpu_energy_joules == {}
    assert sample.temperature_celsius is None
    assert sample.memory_used_bytes == 600 * 1024


async def test_each_broken_file_is_left_out_alone(tree: Tree) -> None:
    tree.zone("intel-rapl:0", "package-0")
    tree.zone("intel-rapl:1", "package-1").unlink()
    folder = tree.sensor(0, "k10temp", temp1="garbage", temp2="50000", temp3="60000")
    (folder / "temp4_input").symlink_to("/proc/self/mem")  # an I/O error
    (folder / "temp5_input").symlink_to("nowhere")
    (folder / "temp6_input").mkdir()
    (tree.proc / "meminfo").unlink()
    sample = await read_once(tree)
    assert set(sample.cpu_energy_joules) == {"package-0"}
    assert sample.temperature_celsius == 60.0
    assert sample.memory_used_bytes is None
    assert sample.cpu_busy_seconds is not None


async def test_what_only_root_may_read_is_said_once(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    energy = tree.zone("intel-rapl:0", "package-0")
    energy.chmod(0o400 if os.geteuid() == 0 else 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        source = tree.source()
        await source.open()
        samples = [await read(source) for _ in range(3)]
    finally:
        os.seteuid(user)
    assert [sample.cpu_energy_joules for sample in samples] == [{}, {}, {}]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(energy) in caplog.text
    assert "CAP_DAC_READ_SEARCH" in caplog.text


async def test_a_sensor_that_hangs_stops_nobody(
    tree: Tree, caplog: pytest.LogCaptureFixture
) -> None:
    tree.zone("intel-rapl:0", "package-0")
    folder = tree.sensor(0, "coretemp", temp1="95000", temp3="99000")
    hanging = folder / "temp2_input"
    os.mkfifo(hanging)
    tree.sensor(1, "coretemp", temp1="70000")
    before = threading.enumerate()
    source = tree.source(deadline="1s")
    await source.open()
    begun = time.monotonic()
    first = await read(source)
    assert 0.7 < time.monotonic() - begun < 1.0
    # What was read before the hang is there, and the next round passes the device by.
    assert set(first.cpu_energy_joules) == {"package-0"}
    assert first.temperature_celsius == 95.0
    for _ in range(5):
        begun = time.monotonic()
        sample = await read(source)
        assert time.monotonic() - begun < 0.7
        assert set(sample.cpu_energy_joules) == {"package-0"}
        assert sample.temperature_celsius == 70.0
    assert len([record for record in caplog.records if "hangs" in record.message]) == 1
    # It answers at last, and is read again.
    waiting = hanging_since(before)
    assert len(waiting) == 1
    with hanging.open("w", encoding="ascii") as end:
        end.write("80000\n")
    await asyncio.to_thread(waiting[0].join, 5.0)
    hanging.unlink()
    hanging.write_text("80000\n", encoding="ascii")
    assert (await read(source)).temperature_celsius == 99.0


async def test_hanging_threads_are_bounded(tree: Tree) -> None:
    for number in range(2 * MAX_HUNG):
        os.mkfifo(tree.sensor(number, "coretemp") / "temp1_input")
    before = threading.enumerate()
    source = tree.source(deadline="100ms")
    await source.open()
    for _ in range(3 * MAX_HUNG):
        assert (await read(source)).cpu_busy_seconds is not None
    assert len(hanging_since(before)) == MAX_HUNG


async def test_a_cancelled_round_is_not_hung_on_twice(tree: Tree) -> None:
    fifo = tree.sensor(0, "coretemp") / "temp1_input"
    os.mkfifo(fifo)
    source = tree.source()
    await source.open()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await source.read(0)
    begun = time.monotonic()
    assert (await read(source)).temperature_celsius is None
    assert time.monotonic() - begun < 0.5


async def test_a_wrong_root_says_so(tree: Tree) -> None:
    (tree.proc / "stat").unlink()
    with pytest.raises(SourceError, match=r"No such file or directory; check procfs_root"):
        await tree.source().open()


async def test_files_of_another_format_are_an_error(tree: Tree) -> None:
    source = tree.source()
    await source.open()
    tree.write(tree.proc / "stat", "nothing\n")
    tree.write(tree.proc / "meminfo", "")
    with pytest.raises(SourceError, match="nothing in it is of the kernel's format"):
        await source.read(0)


# ------------------------------------------------------------------ this machine


async def test_this_machine() -> None:
    source = HostSource(Config(kind="host"))
    await source.open()
    first = await read(source)
    await asyncio.sleep(0.05)
    sum(number * number for number in range(2_000_000))
    second = await read(source)
    await source.close()
    assert first.cpu_busy_seconds is not None
    assert first.cpu_total_seconds is not None
    assert second.cpu_busy_seconds is not None
    assert second.cpu_total_seconds is not None
    assert 0.0 < first.cpu_busy_seconds < second.cpu_busy_seconds
    assert first.cpu_total_seconds < second.cpu_total_seconds
    assert first.memory_used_bytes is not None
    assert 0.0 < first.memory_used_bytes < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"procfs_root": "proc"}, "absolute"),
        ({"sysfs_root": "../sys"}, "absolute"),
        ({"deadline": "0s"}, "deadline"),
        ({"proc_root": "/proc"}, "proc_root"),
    ],
)
def test_a_wrong_section_is_refused(more: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Config.model_validate({"kind": "host"} | more)


def test_the_module_is_a_source_module() -> None:
    module = load("host")
    config = module.Config.model_validate({"kind": "host"})
    things = module.create(config, node="n1").things()
    assert (things.devices, things.meters, things.engines) == ((), (), ())
