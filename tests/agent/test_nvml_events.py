"""The driver's fault codes (XID): from the event set of the library to the samples."""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path

import pytest

from meterhouse_agent.readers.nvml_messages import Identity, Reading
from meterhouse_agent.samples import AcceleratorSample
from meterhouse_agent.sources import nvml
from meterhouse_agent.sources.nvml import Nvml
from tests.agent.nvml_source import opened, read, until
from tests.stand_ins import nvml as driver

FLOOD = 100
AT_ONCE = 32


async def _xids(source: Nvml, rounds: int = 1) -> dict[str, tuple[int, ...]]:
    """Read so often; return the codes of the devices that told any."""
    found: dict[str, tuple[int, ...]] = {}
    for _ in range(rounds):
        for name, sample in (await read(source)).items():
            if sample.xids:
                found[name] = (*found.get(name, ()), *sample.xids)
    return found


async def test_a_code_is_told_once_and_of_its_device_alone(stand_in: driver.Nvml) -> None:
    async with opened() as source:
        assert await _xids(source, 2) == {}
        stand_in.tell(1, 31, 79)
        stand_in.tell(2, 999)
        stand_in.tell(1, 79)
        assert await _xids(source, 2) == {
            stand_in.gpus[1].device: (31, 79, 79),
            stand_in.gpus[2].device: (999,),
        }
        assert await _xids(source, 3) == {}


async def test_while_nothing_happens_a_round_costs_one_call(stand_in: driver.Nvml) -> None:
    async with opened() as source:
        await read(source)
        before = stand_in.waits
        await _xids(source, 5)
        assert stand_in.waits - before == 5


async def test_what_happened_before_is_not_told(stand_in: driver.Nvml) -> None:
    stand_in.tell(0, 79)
    async with opened() as source:
        assert await _xids(source, 3) == {}


async def test_only_fault_codes_are_told(stand_in: driver.Nvml) -> None:
    async with opened() as source:
        await read(source)
        stand_in.tell(0, 5, kind=0x4)
        stand_in.tell(0, 48)
        assert await _xids(source, 2) == {stand_in.gpus[0].device: (48,)}


async def test_a_flood_is_taken_in_parts(stand_in: driver.Nvml) -> None:
    async with opened() as source:
        await read(source)
        stand_in.tell(0, *range(FLOOD))
        parts = [await _xids(source) for _ in range(5)]
    sizes = [len(part.get(stand_in.gpus[0].device, ())) for part in parts]
    assert sizes == [AT_ONCE, AT_ONCE, AT_ONCE, FLOOD - 3 * AT_ONCE, 0]
    assert [xid for part in parts for xids in part.values() for xid in xids] == [*range(FLOOD)]


async def test_a_device_that_is_not_there_is_noted_and_costs_nothing(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as source:
        await read(source)
        stand_in.tell(40, 79)
        stand_in.tell(0, 94)
        assert await _xids(source, 3) == {stand_in.gpus[0].device: (94,)}
        assert len(await read(source)) == 3
    about = [record.message for record in caplog.records if "not among those" in record.message]
    assert len(about) == 1
    assert "XID 79" in about[0]


async def test_one_device_without_events_does_not_silence_the_others(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.gpus[0].unsupported = {"events"}
    stand_in.gpus[1].unsupported = {"xid"}
    stand_in.apply()
    async with opened() as source:
        await read(source)
        for index in range(3):
            stand_in.tell(index, 79)
        assert await _xids(source, 3) == {stand_in.gpus[2].device: (79,)}
    assert not [record for record in caplog.records if "XID" in record.message]


async def test_a_set_that_one_device_spoils_is_made_anew_without_it(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.gpus[1].register_error = driver.UNKNOWN
    stand_in.apply()
    async with opened() as source:
        assert len(await read(source)) == 3
        await read(source)
        for index in range(3):
            stand_in.tell(index, 79)
        told = {stand_in.gpus[0].device: (79,), stand_in.gpus[2].device: (79,)}
        assert await _xids(source, 3) == told
    assert sum("XID events" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize(
    "missing",
    [
        ("nvmlDeviceGetSupportedEventTypes",),
        ("nvmlEventSetCreate",),
        ("nvmlDeviceRegisterEvents",),
        ("nvmlEventSetWait_v2", "nvmlEventSetFree"),
    ],
)
async def test_a_library_without_these_functions_reads_all_else(
    tmp_path: Path,
    use: Callable[[driver.Nvml], None],
    missing: tuple[str, ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    old = driver.Nvml(tmp_path / "nvml", count=2, missing=missing)
    use(old)
    async with opened() as source:
        await read(source)
        old.tell(0, 79)
        for _ in range(3):
            samples = await read(source)
            assert len(samples) == 2
            assert all(sample.energy_joules is not None for sample in samples.values())
            assert all(sample.xids == () for sample in samples.values())
    assert not [record for record in caplog.records if "XID" in record.message]


async def test_a_call_that_fails_costs_no_reading_and_is_tried_again(
    stand_in: driver.Nvml, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(lost_retry_every="100ms") as source:
        await read(source)
        stand_in.wait_error = driver.UNKNOWN
        stand_in.apply()
        for _ in range(3):
            assert {sample.health for sample in (await read(source)).values()} == {"ok"}
        stand_in.wait_error = 0
        stand_in.apply()
        gpu = stand_in.gpus[0]

        def _told(found: dict[str, AcceleratorSample]) -> bool:
            stand_in.tell(0, 62)
            return 62 in found[gpu.device].xids

        await until(source, _told)
    assert sum("XID events" in record.message for record in caplog.records) == 1


async def test_the_last_words_of_a_lost_gpu_and_all_of_the_others(stand_in: driver.Nvml) -> None:
    lost, other = stand_in.gpus[0], stand_in.gpus[2]
    async with opened(lost_retry_every="100ms") as source:
        await read(source)
        await read(source)
        lost.error = driver.GPU_IS_LOST
        stand_in.tell(0, 79)
        samples = await read(source)
        assert samples[lost.device].health == "lost"
        assert samples[lost.device].xids == (79,)
        # A set that failed is not made anew before.
        await asyncio.sleep(0.2)
        await read(source)
        await read(source)
        stand_in.tell(2, 63)
        assert await _xids(source, 2) == {other.device: (63,)}
        lost.error = 0
        stand_in.apply()
        await until(source, lambda found: found[lost.device].health == "ok")
        await read(source)
        stand_in.tell(0, 94)
        stand_in.tell(2, 94)
        assert await _xids(source, 2) == {lost.device: (94,), other.device: (94,)}


def test_a_code_beyond_all_codes_is_junk() -> None:
    junk: Tally[str] = Tally()
    reading = Reading(at_milliseconds=0, xids=[79, 2**63, -1, 0])

    sample = nvml.sample(Identity(uuid="GPU-1", name="x"), reading, "", junk)

    assert sample.xids == (79, 0)
    assert junk == {"xids": 2}
