"""Faults of a simulated fleet are seen when and where they were asked for; bad specs are not."""

import math

import pytest
from pydantic import ValidationError

from meterhouse_agent.simulation.fleet import FleetSpec, device_names
from meterhouse_agent.sources import Source, SourceError, load
from meterhouse_agent.states import PowerRange, state_of
from tests.agent.simulated_fleets import NOON, ORIGIN, fault, fleet, node_model, opened, read


class TestFaults:
    async def test_lost_is_seen_after_its_start_up_to_its_end(self) -> None:
        spec = fleet(fault("lost", NOON, NOON + 2, node="sim-000", device="d1"))
        health = [
            (await read(spec, "sim-000", NOON + second)).accelerators[1].health
            for second in range(4)
        ]
        assert health == ["ok", "lost", "lost", "ok"]
        lost = (await read(spec, "sim-000", NOON + 1)).accelerators[1]
        assert lost.energy_joules is None
        assert (await read(spec, "sim-001", NOON + 1)).accelerators[1].health == "ok"

    async def test_silent_is_missing_and_the_others_are_not(self) -> None:
        spec = fleet(
            fault("silent", NOON, NOON + 2, device="d1"), fault("lost", NOON, NOON + 2, device="d1")
        )
        names = [s.device for s in (await read(spec, "sim-001", NOON + 1)).accelerators]
        assert names == [name for name in device_names(spec) if name != "d1"]

    async def test_contradict_shows_work_without_activity(self) -> None:
        spec = fleet(fault("contradict", NOON, NOON + 2))
        sample = (await read(spec, "sim-000", NOON + 1)).accelerators[0]
        assert (sample.utilization_ratio, sample.sm_activity_ratio) == (0.99, 0.0)
        assert state_of(sample, PowerRange()) == "unknown"

    async def test_idle_pool_holds_every_device_idle(self) -> None:
        spec = fleet(fault("idle_pool", NOON, NOON + 60, node="sim-000"))
        samples = (await read(spec, "sim-000", NOON + 30)).accelerators
        assert {state_of(sample, PowerRange()) for sample in samples} == {"held_idle"}
        assert {sample.power_watts for sample in samples} == {90.0}

    async def test_a_reset_counter_counts_from_zero(self) -> None:
        spec, sound = fleet(fault("counter_reset", NOON, node="sim-000", device="d0")), fleet()
        ticks = []
        for second in (0, 1):
            counter = (await read(spec, "sim-000", NOON + second)).accelerators[0].energy_joules
            assert counter is not None
            ticks.append(counter.ticks)
        energy = node_model(sound).devices[0].energy_microjoules
        assert ticks[0] == energy(NOON * 1000) // 1000
        assert ticks[1] == (energy((NOON + 1) * 1000) - energy(NOON * 1000)) // 1000

    async def test_a_restarted_engine_counts_from_zero_in_a_new_epoch(self) -> None:
        spec = fleet(fault("engine_restart", NOON, node="sim-000"))
        before = (await read(spec, "sim-000", NOON)).engines[0]
        after = (await read(spec, "sim-000", NOON + 1)).engines[0]
        assert (before.epoch, after.epoch) == (str(ORIGIN), str(NOON))
        assert (after.output_tokens or 0) < 10_000 < (before.output_tokens or 0)

    async def test_meters_fall_silent_and_talk_nonsense(self) -> None:
        spec = fleet(
            fault("meter_silent", NOON, NOON + 2, device="cooling"),
            fault("meter_nan", NOON, NOON + 2, device="utility"),
            fault("meter_nan", NOON, NOON + 2, device="water"),
        )
        meters = {meter.meter: meter for meter in (await read(spec, "facility", NOON + 1)).meters}
        assert set(meters) == {"utility", "it-pdu", "ups-output", "water"}
        assert meters["utility"].energy_joules is None
        assert math.isnan(meters["utility"].power_watts or 0)
        assert meters["it-pdu"].energy_joules is not None
        assert (meters["water"].volume_litres, meters["water"].power_watts) == (None, None)


class TestConfig:
    @pytest.mark.parametrize(
        ("values", "word"),
        [
            ({"held_power_watts": 200}, "held_power_watts"),
            ({"max_power_watts": 75}, "max_power_watts"),
            ({"engine_devices": 9}, "engine_devices"),
            ({"facility_node": "sim-001"}, "facility_node"),
            ({"block_seconds": 7}, "block"),
            ({"faults": [fault("lost", NOON)]}, "to_seconds"),
            ({"faults": [fault("lost", NOON, NOON)]}, "to_seconds"),
            ({"faults": [fault("counter_reset", NOON, NOON + 1)]}, "to_seconds"),
            ({"faults": [fault("lost", NOON, NOON + 1, node="sim-009")]}, "sim-009"),
            ({"faults": [fault("lost", NOON, NOON + 1, device="d8")]}, "d8"),
            ({"faults": [fault("lost", ORIGIN - 1, NOON)]}, "origin_seconds"),
            ({"faults": [fault("meter_nan", NOON, NOON + 1, device="d0")]}, "utility"),
            ({"faults": [fault("meter_nan", NOON, NOON + 1, node="sim-000")]}, "facility"),
            ({"colour": "green"}, "colour"),
        ],
    )
    def test_a_spec_that_cannot_be_is_refused(self, values: dict[str, object], word: str) -> None:
        with pytest.raises(ValidationError, match=word):
            FleetSpec.model_validate({"nodes": 2, **values})

    async def test_a_node_outside_of_the_fleet_is_an_error_that_names_it(self) -> None:
        for name in ("rack-1", "sim-002", "sim-0000", "sim-01"):
            with pytest.raises(SourceError, match=name):
                await opened(fleet(), name)

    async def test_a_tick_before_the_origin_is_an_error(self) -> None:
        with pytest.raises(SourceError, match="origin_seconds"):
            await read(fleet(), "sim-000", ORIGIN - 1)

    async def test_it_is_a_source_like_the_others(self) -> None:
        module = load("simulated")
        source: Source = module.create(module.Config(kind="simulated"), node="sim-003")
        assert source.replayable
        assert source.things().devices == ()
        await source.open()
        assert [device.device for device in source.things().devices] == list(
            device_names(FleetSpec())
        )
        assert source.things().engines == ("engine-sim-003",)
        await source.close()
        with pytest.raises(SourceError, match="open"):
            await source.read(NOON * 1000)

    async def test_the_facility_has_meters_only(self) -> None:
        things = (await opened(fleet(), "facility")).things()
        assert things.meters == ("utility", "it-pdu", "ups-output", "cooling", "water")
        assert things.devices == ()
