"""The simulated source is a pure function of the tick, and its instruments obey their laws."""

import math
import subprocess
import sys
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent.simulation.facility import FacilityModel
from meterhouse_agent.simulation.fleet import FleetSpec
from meterhouse_agent.simulation.node import NodeModel
from meterhouse_agent.simulation.pattern import Tables
from meterhouse_agent.states import PowerRange, state_of
from tests.agent.simulated_fleets import NOON, ORIGIN, fault, fleet, node_model, opened, read

DAYS_MILLISECONDS = 200 * 86_400_000

PURITY = """
import asyncio, hashlib
from meterhouse_agent.sources.simulated import Config, create
async def main():
    found = hashlib.sha256()
    for node in ("sim-001", "facility"):
        source = create(Config(), node=node)
        await source.open()
        for second in range(0, 50_000, 997):
            found.update(repr(await source.read((1_780_056_000 + second) * 1000)).encode())
    print(found.hexdigest())
asyncio.run(main())
"""


def digest_of_a_fresh_process() -> str:
    found = subprocess.run(
        [sys.executable, "-c", PURITY], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()


class TestPurity:
    def test_fresh_processes_agree(self) -> None:
        first, second = digest_of_a_fresh_process(), digest_of_a_fresh_process()
        assert first == second
        assert len(first) == 64

    async def test_the_order_of_reading_does_not_matter(self) -> None:
        ticks = [NOON * 1000 + step * 7_331 for step in range(300)]
        forward, backward = await opened(fleet(), "sim-000"), await opened(fleet(), "sim-000")
        seen = [await forward.read(tick) for tick in ticks]
        assert seen == [await backward.read(tick) for tick in reversed(ticks)][::-1]

    async def test_seed_node_and_device_each_change_what_happens(self) -> None:
        tick = NOON
        base = await read(fleet(), "sim-000", tick)
        assert base.host != (await read(fleet(seed=2), "sim-000", tick)).host
        assert base.host != (await read(fleet(), "sim-001", tick)).host
        counters = [sample.energy_joules for sample in base.accelerators]
        assert len({counter.ticks for counter in counters if counter}) == 8

    async def test_every_sample_carries_the_tick(self) -> None:
        readings = await read(fleet(), "sim-000", NOON)
        times = {sample.at_milliseconds for sample in readings.accelerators + readings.engines}
        assert times == {NOON * 1000}
        assert readings.host is not None
        assert readings.host.at_milliseconds == NOON * 1000


class TestIntegrals:
    @settings(deadline=None)
    @given(st.integers(0, DAYS_MILLISECONDS), st.integers(0, 3_000_000), st.integers(0, 90_000_000))
    def test_energy_of_adjacent_windows_adds_up(self, start: int, first: int, second: int) -> None:
        model = node_model(fleet(fault("idle_pool", ORIGIN + 900, ORIGIN + 10_000_000)))
        a = model.spec.origin_milliseconds + start
        b, c = a + first, a + first + second
        for device in model.devices[3:5]:
            energy = device.energy_microjoules
            assert (energy(b) - energy(a)) + (energy(c) - energy(b)) == energy(c) - energy(a)
            assert (b - a) * 75_000 <= energy(b) - energy(a) <= (b - a) * 700_000

    def test_the_integral_is_the_sum_of_what_power_shows(self) -> None:
        model = node_model(fleet(fault("idle_pool", NOON + 100, NOON + 200, device="d5")))
        for device in model.devices:
            powers = [
                device.power_milliwatts((NOON + second) * 1000 + 500) for second in range(3600)
            ]
            energy = device.energy_microjoules((NOON + 3600) * 1000)
            assert energy - device.energy_microjoules(NOON * 1000) == 1000 * sum(powers)

    def test_counters_are_zero_at_the_origin(self) -> None:
        model = node_model(fleet())
        assert model.energy_microjoules(ORIGIN * 1000) == 0
        readings = model.read(ORIGIN * 1000)
        assert all(s.energy_joules and s.energy_joules.ticks == 0 for s in readings.accelerators)

    def test_the_facility_sees_what_the_nodes_draw(self) -> None:
        spec = fleet(
            fault("idle_pool", NOON, NOON + 500, node="sim-001"),
            fault("idle_pool", NOON + 200, NOON + 900, device="d2"),
            nodes=5,
        )
        tables = Tables(spec)
        nodes = [NodeModel(spec, tables, f"sim-00{index}") for index in range(5)]
        facility = FacilityModel(spec, tables)
        for at in range(NOON * 1000, (NOON + 1000) * 1000, 77_777):
            network = spec.network_power_watts * 1000 * (at - spec.origin_milliseconds)
            drawn = sum(node.energy_microjoules(at) for node in nodes)
            assert facility.it_microjoules(at) == drawn + network

    @settings(deadline=None, max_examples=50)
    @given(st.integers(0, DAYS_MILLISECONDS), st.integers(1, 100_000_000))
    def test_the_facility_draws_more_than_its_it(self, start: int, length: int) -> None:
        model = FACILITY
        at = model.spec.origin_milliseconds + start
        first, last = model.registers_ticks(at), model.registers_ticks(at + length)
        drawn = {name: last[name] - first[name] for name in first}
        assert drawn["utility"] >= drawn["ups-output"] + drawn["cooling"] >= drawn["it-pdu"] >= 0

    def test_tokens_of_adjacent_windows_add_up(self) -> None:
        engine = node_model(fleet(fault("engine_restart", NOON + 100))).engine
        assert engine is not None
        a, b, c = (
            engine.served((NOON + second) * 1000).plus(engine.served(NOON * 1000), -1)
            for second in (60, 100, 300)
        )
        rest = engine.served((NOON + 300) * 1000).plus(engine.served((NOON + 100) * 1000), -1)
        assert b.plus(rest) == c
        assert 0 < a.output_tokens < b.output_tokens < c.output_tokens


FACILITY = FacilityModel(fleet(), Tables(fleet()))


class TestInstruments:
    def test_a_second_of_whole_milliwatts_is_whole_millijoules(self) -> None:
        device = node_model(fleet()).devices[0]
        for second in range(NOON, NOON + 200):
            assert device.energy_microjoules(second * 1000) % 1000 == 0
            assert device.counter_millijoules(second * 1000 + 1) * 1000 <= (
                device.energy_microjoules(second * 1000 + 1)
            )

    def test_every_counter_only_grows(self) -> None:
        model = node_model(fleet())
        before: list[int] = []
        for step in range(2000):
            readings = model.read(NOON * 1000 + step * 333)
            assert readings.host is not None
            assert readings.host.energy_joules is not None
            engine = readings.engines[0]
            histogram = engine.latency["ttft"]
            cumulative = (0, *histogram.cumulative_counts)
            buckets = [b - a for a, b in pairwise(cumulative)]
            now = [
                *(s.energy_joules.ticks for s in readings.accelerators if s.energy_joules),
                readings.host.energy_joules.ticks,
                *(engine.output_tokens or 0, engine.input_tokens or 0),
                *(engine.cached_input_tokens or 0, *engine.requests.values(), *buckets),
            ]
            assert sum(engine.requests.values()) == histogram.cumulative_counts[-1]
            assert (engine.cached_input_tokens or 0) <= (engine.input_tokens or 0)
            assert all(a <= b for a, b in zip(before, now, strict=bool(before)))
            before = now
        assert histogram.edges_seconds[-1] == math.inf

    def test_a_tick_shows_the_block_before_its_edge(self) -> None:
        device = node_model(fleet()).devices[0]
        ticks = range(NOON * 1000, (NOON + 6 * 3600) * 1000, 1000)
        edges = [
            tick
            for tick in ticks
            if device.power_milliwatts(tick - 1) != device.power_milliwatts(tick)
        ]
        assert len(edges) > 300
        for tick in edges:
            sample = device.sample(tick)
            assert sample is not None
            assert sample.power_watts == device.power_milliwatts(tick - 1) / 1000

    def test_no_idle_state_contradicts_its_power(self) -> None:
        seen = set()
        for device in node_model(fleet()).devices:
            power = PowerRange()
            for second in range(0, 86_400, 20):
                sample = device.sample((NOON + second) * 1000)
                assert sample is not None
                assert sample.power_watts is not None
                power.learn(sample.power_watts)
                state = state_of(sample, power)
                seen.add((state, device.engine_held))
                assert sample.held is (state != "free")
        assert seen == {
            *(("active", True), ("held_idle", True)),
            *(("active", False), ("held_idle", False), ("free", False)),
        }

    def test_the_host_is_never_busier_than_its_processors(self) -> None:
        model = node_model(fleet(devices_per_node=16))
        first, last = model.read(NOON * 1000).host, model.read((NOON + 3600) * 1000).host
        assert first is not None
        assert last is not None
        assert first.cpu_busy_seconds is not None
        assert first.cpu_total_seconds is not None
        busy = (last.cpu_busy_seconds or 0) - first.cpu_busy_seconds
        assert 0 < busy < (last.cpu_total_seconds or 0) - first.cpu_total_seconds

    def test_without_an_engine_there_is_none(self) -> None:
        model = node_model(fleet(engine_devices=0))
        assert model.read(NOON * 1000).engines == ()
        assert model.things().engines == ()


class TestGolden:
    """Whoever changes these changes the past of every simulated fleet."""

    async def test_one_tick_of_one_node(self) -> None:
        readings = await read(FleetSpec(), "sim-000", NOON)
        shown = [
            (sample.energy_joules.ticks, sample.power_watts, sample.utilization_ratio, sample.held)
            for sample in readings.accelerators
            if sample.energy_joules
        ]
        assert shown == GOLDEN_DEVICES
        engine = readings.engines[0]
        tokens = (engine.output_tokens, engine.input_tokens, engine.cached_input_tokens)
        assert (*tokens, engine.requests) == GOLDEN_ENGINE
        assert engine.latency["ttft"].cumulative_counts == GOLDEN_TTFT

    async def test_one_tick_of_the_facility(self) -> None:
        meters = (await read(FleetSpec(), "facility", NOON)).meters
        registers = [meter.energy_joules.ticks for meter in meters if meter.energy_joules]
        assert registers == GOLDEN_REGISTERS


GOLDEN_DEVICES = [
    (3559900003060, 681.375, 0.98, True),
    (3382585126060, 90.0, 0.0, True),
    (3613514409719, 187.487, 0.281, True),
    (3275274722430, 514.49, 0.787, True),
    (3551897664560, 90.0, 0.0, True),
    (3511092989939, 182.637, 0.271, True),
    (3263236901420, 600.656, 0.89, True),
    (3393985332460, 90.0, 0.0, True),
]
GOLDEN_ENGINE = (27571336920, 110285347680, 33085604304, {"stop": 99256813, "length": 11028534})
GOLDEN_TTFT = (5514268, 38599872, 77199744, 93742546, 99256813, 104771080, 110285347)
GOLDEN_REGISTERS = [211293739860, 157377808620, 158951586707, 41158405551]
