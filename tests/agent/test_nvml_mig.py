"""GPUs in MIG mode against a driver of ours: what they are divided into, and what fails of it."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from meterhouse_agent.check import check
from meterhouse_agent.config import validate
from meterhouse_agent.partitions import shares_of
from meterhouse_agent.samples import AcceleratorSample, Partition, Partitioning
from meterhouse_agent.sources.nvml import Nvml
from meterhouse_agent.states import PowerRange
from meterhouse_agent.wire import State
from tests.agent.nvml_source import opened, read, until
from tests.stand_ins import nvml as driver
from tests.stand_ins.nvml import Gpu, MigDevice

GIB = 2**30


def divide(gpu: Gpu) -> None:
    """Put a GPU into MIG mode: 3 slices compute, 2 are held, 1 is not, and 1 nobody was given."""
    gpu.mig_mode, gpu.sm_activity_percent = True, 99.0
    busy = {"process_bytes": 9 * GIB, "sm_activity_percent": 80.0}
    gpu.mig_devices = {
        0: MigDevice(slices=3, instance=1, uuid="MIG-1", **busy),  # type: ignore[arg-type] # keyword by keyword
        2: MigDevice(slices=2, instance=5, uuid="MIG-5", process_bytes=GIB),
        3: MigDevice(slices=1, instance=9, uuid="MIG-9"),
    }


def told(sample: AcceleratorSample) -> list[tuple[int, bool | None, float | None]]:
    assert sample.partitioning is not None
    parts = sample.partitioning.partitions
    return [(part.slices, part.held, part.sm_activity_ratio) for part in parts]


def shares(sample: AcceleratorSample) -> dict[State, int]:
    return dict(shares_of(sample, PowerRange()))


async def later(source: Nvml, gpu: Gpu) -> AcceleratorSample:
    """Read twice, as far apart as it takes to compare activity, and return the second."""
    await read(source)
    await asyncio.sleep(0.15)
    return (await read(source))[gpu.device]


async def test_a_gpu_in_mig_mode_is_told_by_its_mig_devices(stand_in: driver.Nvml) -> None:
    gpu, whole = stand_in.gpus[0], stand_in.gpus[1]
    divide(gpu)
    whole.utilization_percent = 50
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
        other = (await read(source))[whole.device]
        assert len(source.things().devices) == 3
    assert sample.partitioning == Partitioning(
        slices=7,
        partitions=(
            Partition(slices=3, instance=1, held=True, sm_activity_ratio=0.8),
            Partition(slices=2, instance=5, held=True, sm_activity_ratio=0.0),
            Partition(slices=1, instance=9, held=False, sm_activity_ratio=0.0),
        ),
    )
    assert shares(sample) == {"active": 3, "held_idle": 2, "free": 2}
    assert (sample.utilization_ratio, sample.sm_activity_ratio, sample.held) == (None, None, None)
    assert sample.energy_joules is not None
    assert (other.partitioning, other.utilization_ratio) == (None, 0.5)
    assert shares(other) == {"active": 1}


async def test_without_mig_devices_it_is_free(stand_in: driver.Nvml) -> None:
    stand_in.gpus[0].mig_mode = True
    stand_in.apply()
    async with opened() as source:
        sample = (await read(source))[stand_in.gpus[0].device]
    assert sample.partitioning == Partitioning(slices=7)
    assert shares(sample) == {"free": 7}


async def test_without_gpm_what_is_held_may_compute(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    gpu.unsupported, gpu.mig_slices = {"gpm"}, 8
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
    assert told(sample) == [(3, True, None), (2, True, None), (1, False, None)]
    assert shares(sample) == {"unknown": 5, "free": 3}


async def test_compute_instances_of_one_gpu_instance_share_its_activity(
    stand_in: driver.Nvml,
) -> None:
    gpu = stand_in.gpus[0]
    gpu.mig_mode = True
    gpu.mig_devices = {
        place: MigDevice(slices=1 + place, instance=4, uuid=f"MIG-{place}") for place in range(2)
    }
    gpu.mig_devices[0].sm_activity_percent = 40.0
    gpu.mig_devices[1].process_bytes = GIB
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
    assert told(sample) == [(1, False, 0.4), (2, True, 0.4)]
    assert shares(sample) == {"active": 2, "free": 5}


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ("hidden", driver.NO_PERMISSION),
        ("error", driver.NO_PERMISSION),
        # Of a handle that is not the GPU's own this says nothing of the GPU.
        ("error", driver.GPU_IS_LOST),
        ("error", driver.RESET_REQUIRED),
    ],
)
async def test_a_mig_device_that_cannot_be_read_is_missing_alone(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture, code: int, where: str
) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    setattr(gpu.mig_devices[0], where, code)
    stand_in.apply()
    async with opened(processes_every="100ms") as source:
        for _ in range(3):
            sample = await later(source, gpu)
    assert sample.health == "ok"
    assert sample.energy_joules is not None
    assert sample.partitioning is not None
    assert not sample.partitioning.complete
    assert told(sample) == [(2, True, 0.0), (1, False, 0.0)]
    assert shares(sample) == {"held_idle": 2, "free": 1, "unknown": 4}
    about = [record.message for record in caplog.records if "no permission" in record.message]
    assert len(about) == (code == driver.NO_PERMISSION)


async def test_where_processes_cannot_be_listed_memory_says_who_holds(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    gpu.forbidden = {"mig_processes"}
    gpu.mig_devices[2].memory_used_bytes = 9 * GIB
    gpu.mig_devices[3].memory_used_bytes = 11 * 2**20
    stand_in.apply()
    async with opened(processes_every="100ms") as source:
        for _ in range(3):
            sample = await later(source, gpu)
    assert [held for _, held, _ in told(sample)] == [None] * 3
    assert shares(sample) == {"active": 3, "held_idle": 2, "free": 2}
    assert sum("no permission" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        ({"mig_gpm"}, {"unknown": 5, "free": 2}),
        ({"mig_instance"}, {"unknown": 5, "free": 2}),
        ({"mig_processes", "mig_memory"}, {"active": 3, "free": 4}),
        ({"mig_attributes"}, {"unknown": 7}),
        ({"mig_handle"}, {"unknown": 7}),
        ({"mig_count"}, {"unknown": 1}),
        ({"mig"}, {"unknown": 1}),
    ],
)
@pytest.mark.parametrize("how", ["unsupported", "forbidden"])
async def test_what_is_refused_is_not_known_and_nothing_else(
    stand_in: driver.Nvml, refused: set[str], expected: dict[State, int], how: str
) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    gpu.sm_activity_percent = 0.0
    setattr(gpu, how, {*refused, "gpm"} if refused == {"mig"} else refused)
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
        others = await read(source)
    assert shares(sample) == expected
    assert sample.health == "ok"
    assert sample.energy_joules is not None
    assert [shares(others[other.device]) for other in stand_in.gpus[1:]] == [{"free": 1}] * 2


async def test_a_mig_device_that_is_gone_is_noticed_at_once(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    stand_in.apply()
    async with opened(processes_every="1h") as source:
        assert shares(await later(source, gpu)) == {"active": 3, "held_idle": 2, "free": 2}
        del gpu.mig_devices[0]
        stand_in.apply()
        await asyncio.sleep(0.15)
        gone = (await read(source))[gpu.device]
        assert shares(gone) == {"unknown": 3, "held_idle": 2, "free": 2}
        assert gone.health == "ok"
        assert shares((await read(source))[gpu.device]) == {"held_idle": 2, "free": 5}


async def test_mig_devices_made_anew_are_found_and_begin_anew(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    stand_in.apply()
    async with opened(processes_every="100ms") as source:
        await later(source, gpu)
        gpu.mig_devices = {
            0: MigDevice(slices=4, instance=1, uuid="MIG-new", process_bytes=GIB),
            1: MigDevice(slices=3, instance=5, uuid="MIG-too", process_bytes=GIB),
        }
        stand_in.apply()
        await asyncio.sleep(0.15)
        # Under the numbers of others: what these did before is not theirs.
        assert told((await read(source))[gpu.device]) == [(4, True, None), (3, True, None)]
        assert told(await later(source, gpu)) == [(4, True, 0.0), (3, True, 0.0)]


async def test_readings_that_come_too_soon_keep_what_was_told(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    stand_in.apply()
    async with opened() as source:
        await later(source, gpu)
        for _ in range(3):
            sample = (await read(source))[gpu.device]
            assert shares(sample) == {"active": 3, "held_idle": 2, "free": 2}


async def test_mig_mode_comes_and_goes_while_the_agent_runs(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    gpu.utilization_percent = 90
    stand_in.apply()
    async with opened(processes_every="100ms") as source:
        assert (await read(source))[gpu.device].utilization_ratio == 0.9
        divide(gpu)
        stand_in.apply()
        sample = (await read(source))[gpu.device]
        assert [slices for slices, _, _ in told(sample)] == [3, 2, 1]
        gpu.mig_mode, gpu.sm_activity_percent = False, 25.0
        stand_in.apply()
        found = await until(source, lambda found: found[gpu.device].sm_activity_ratio == 0.25)
        assert found[gpu.device].utilization_ratio == 0.9
        assert found[gpu.device].partitioning is None
        assert found[gpu.device].held is False


async def test_a_gpu_that_comes_back_in_mig_mode(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    gpu.unsupported = {"utilization"}
    stand_in.apply()
    async with opened(lost_retry_every="100ms") as source:
        assert (await read(source))[gpu.device].partitioning is None
        gpu.error = driver.GPU_IS_LOST
        stand_in.apply()
        assert (await read(source))[gpu.device].health == "lost"
        gpu.error = 0
        divide(gpu)
        stand_in.apply()
        found = await until(source, lambda found: found[gpu.device].partitioning is not None)
        assert found[gpu.device].health == "ok"
        gpu.error = driver.GPU_IS_LOST
        stand_in.apply()
        lost = (await read(source))[gpu.device]
        assert (lost.health, shares(lost)) == ("lost", {"unhealthy": 1})
        gpu.error = 0
        stand_in.apply()
        await until(
            source,
            lambda found: shares(found[gpu.device]) == {"active": 3, "held_idle": 2, "free": 2},
        )


async def test_outside_mig_mode_it_costs_one_call_in_all(stand_in: driver.Nvml) -> None:
    async with opened(processes_every="100ms") as source:
        for _ in range(4):
            await later(source, stand_in.gpus[0])
    assert stand_in.mig_mode_calls == len(stand_in.gpus)


async def test_a_driver_that_does_not_know_mig(
    tmp_path: Path, use: Callable[[driver.Nvml], None]
) -> None:
    old = driver.Nvml(tmp_path / "nvml", count=1, missing=("nvmlDeviceGetMigMode",))
    use(old)
    async with opened() as source:
        for _ in range(2):
            assert shares((await read(source))[old.gpus[0].device]) == {"free": 1}


@pytest.mark.parametrize(
    ("percent", "ratio", "junk"), [(float("nan"), None, 1), (129.4, 1.0, 0), (1e9, None, 1)]
)
async def test_activity_out_of_range(
    stand_in: driver.Nvml, percent: float, ratio: float | None, junk: int
) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    gpu.mig_devices[0].sm_activity_percent = percent
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
        assert source.junk["sm_activity_ratio"] == junk
    assert told(sample)[0] == (3, True, ratio)


async def test_more_slices_than_there_can_be_are_not_known(stand_in: driver.Nvml) -> None:
    gpu = stand_in.gpus[0]
    divide(gpu)
    gpu.mig_devices[0].slices = 2**31
    stand_in.apply()
    async with opened() as source:
        sample = await later(source, gpu)
        assert source.junk["slices"] == 2
    assert shares(sample) == {"held_idle": 2, "free": 1, "unknown": 4}


async def test_check_says_what_is_partitioned_and_into_what(
    stand_in: driver.Nvml, tmp_path: Path
) -> None:
    first, second, third = stand_in.gpus
    divide(first)
    divide(second)
    third.mig_mode, third.forbidden = True, {"mig_count"}
    second.mig_devices[0].hidden = driver.NO_PERMISSION
    stand_in.apply()
    table = {
        "site": "site-a",
        "node": "node-1",
        "socket": {"path": str(tmp_path / "socket")},
        "spool": {"directory": str(tmp_path)},
        "source": [{"kind": "nvml", "deadline": "20s", "sample_every": "20s"}],
    }
    rows, good = await check(validate(table, "test"))

    assert good
    assert "3 of 3 accelerators read" in rows[1]
    assert f"{first.device} partitioned: 3 + 2 + 1 of 7 compute slices;" in rows[1]
    left = "2 + 1 of 7 compute slices, and some that could not be read"
    assert f"{second.device} partitioned: {left};" in rows[1]
    assert f"{third.device} partitioned: none of unknown compute slices" in rows[1]
