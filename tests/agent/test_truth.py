"""The truth of a fleet is exact, adds up, and is what its instruments let one reconstruct."""

import hashlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterhouse_agent.samples import AcceleratorSample
from meterhouse_agent.simulation.fleet import Fault, FleetSpec
from meterhouse_agent.simulation.node import NodeModel
from meterhouse_agent.simulation.pattern import Tables
from meterhouse_agent.simulation.reckoning import FleetModel
from meterhouse_agent.simulation.truth import (
    DeviceTruth,
    NodeTruth,
    Truth,
    truth,
    truth_by_interval,
    truth_json,
    truth_of,
)
from meterhouse_agent.wire import STATES

NOON = 1_780_056_000
LENGTH = 5
KINDS = ("lost", "silent", "contradict", "idle_pool", "counter_reset", "engine_restart")

FAULTS = (
    Fault(kind="lost", node="sim-000", device="d1", from_seconds=NOON + 40, to_seconds=NOON + 61),
    Fault(kind="silent", node="sim-000", device="d2", from_seconds=NOON + 33, to_seconds=NOON + 47),
    Fault(kind="silent", node="sim-000", device="d1", from_seconds=NOON + 55, to_seconds=NOON + 70),
    Fault(kind="contradict", device="d6", from_seconds=NOON + 3, to_seconds=NOON + 88),
    Fault(kind="idle_pool", node="sim-001", from_seconds=NOON + 11, to_seconds=NOON + 71),
    Fault(kind="counter_reset", node="sim-000", device="d0", from_seconds=NOON + 22),
    Fault(kind="engine_restart", node="sim-001", from_seconds=NOON + 90),
    Fault(kind="meter_silent", device="cooling", from_seconds=NOON + 50, to_seconds=NOON + 60),
)
FAULTY = FleetSpec(nodes=2, faults=FAULTS)

steps = st.integers(0, 400)


@st.composite
def fleets(draw: st.DrawFn) -> FleetSpec:
    """Draw a small fleet with any faults in the first half hour after noon."""
    faults = []
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=5)):
        start = NOON + draw(st.integers(0, 1800))
        where = {
            "node": draw(st.sampled_from([None, "sim-000"])),
            "device": None if kind == "engine_restart" else draw(st.sampled_from([None, "d1"])),
        }
        end = (
            None
            if kind in {"counter_reset", "engine_restart"}
            else start + draw(st.integers(1, 600))
        )
        faults.append({"kind": kind, "from_seconds": start, "to_seconds": end, **where})
    return FleetSpec.model_validate(
        {
            "seed": draw(st.integers(0, 2**32)),
            "nodes": draw(st.integers(1, 2)),
            "devices_per_node": 3,
            "engine_devices": draw(st.integers(0, 3)),
            "block_seconds": draw(st.sampled_from([1, 3, 20])),
            "job_seconds": 60,
            "period_seconds": 3600,
            "meter_resolution_joules": draw(st.sampled_from([1, 3600])),
            "faults": faults,
        }
    )


def classify(sample: AcceleratorSample | None) -> str:
    """Tell a device's state from a sample by the definition, apart from any code of ours."""
    if sample is None:
        return "unknown"
    if sample.health != "ok":
        return "unhealthy"
    utilization, activity = sample.utilization_ratio or 0, sample.sm_activity_ratio or 0
    if utilization >= 0.5 and activity < 0.005:
        return "unknown"
    if utilization >= 0.05 or activity >= 0.01:
        return "active"
    return "held_idle" if sample.held else "free"


def causes(sample: AcceleratorSample | None) -> tuple[bool, bool, bool]:
    """Tell whether a device was throttled at all, for power, and for heat."""
    if sample is None:
        return False, False, False
    return (
        sample.throttled is True,
        sample.throttled_power is True,
        sample.throttled_thermal is True,
    )


class Reconstruction:
    """What a reader at 1 s makes of one node: states by tick, energy by counter differences."""

    def __init__(self, spec: FleetSpec, node: str, start: int, end: int) -> None:
        self.model = NodeModel(spec, Tables(spec), node)
        self.milliseconds: dict[str, dict[str, int]] = {}
        self.millijoules: dict[str, dict[str, int]] = {}
        self.last: dict[str, int] = {}
        self.output_tokens = 0
        self.requests: dict[str, int] = {"stop": 0, "length": 0}
        self.throttled: dict[str, list[int]] = {}
        self._before: dict[str, int] = {}
        self._epoch = ""
        self._look(start * 1000, count=False)
        for second in range(start + 1, end + 1):
            self._look(second * 1000, count=True)

    def _look(self, at: int, *, count: bool) -> None:
        readings = self.model.read(at)
        samples = {sample.device: sample for sample in readings.accelerators}
        for index in range(len(self.model.devices)):
            device = f"d{index}"
            sample = samples.get(device)
            state = classify(sample)
            before = self.last.get(device, 0)
            if sample is not None and sample.energy_joules is not None:
                self.last[device] = sample.energy_joules.ticks
            if not count:
                continue
            throttled = self.throttled.setdefault(device, [0, 0, 0])
            for place, cause in enumerate(causes(sample)):
                throttled[place] += 1000 * cause
            times = self.milliseconds.setdefault(device, dict.fromkeys(STATES, 0))
            energy = self.millijoules.setdefault(device, dict.fromkeys(STATES, 0))
            times[state] += 1000
            now = self.last.get(device, 0)
            energy[state] += now - before if now >= before else now
        self._engines(at, count=count)
        host = readings.host
        assert host is not None
        assert host.energy_joules is not None
        if not count:
            self.host_first = host.energy_joules.ticks
        self.host_millijoules = host.energy_joules.ticks - self.host_first

    def _engines(self, at: int, *, count: bool) -> None:
        for engine in self.model.read(at).engines:
            now = {"": engine.output_tokens or 0, **engine.requests}
            if count:
                new = engine.epoch != self._epoch
                self.output_tokens += now[""] - (0 if new else self._before[""])
                for outcome, number in engine.requests.items():
                    self.requests[outcome] += number - (0 if new else self._before[outcome])
            self._before, self._epoch = now, engine.epoch


def throttled(device: DeviceTruth) -> list[int]:
    return [
        device.throttled_milliseconds,
        device.throttled_power_milliseconds,
        device.throttled_thermal_milliseconds,
    ]


def agree(found: Reconstruction, node: NodeTruth) -> None:
    for device in node.devices:
        assert found.milliseconds[device.device] == device.milliseconds.as_dict()
        energy = found.millijoules[device.device]
        if device.continuous or device.counter_resets:
            assert energy == device.millijoules.as_dict()
            assert found.throttled[device.device] == throttled(device)
        else:
            assert sum(energy.values()) == device.millijoules.total
    assert found.host_millijoules == node.energy_millijoules


class TestReconstruction:
    @pytest.mark.parametrize("node", [0, 1])
    def test_reading_each_second_gives_the_truth(self, node: int) -> None:
        sound = FleetSpec(nodes=2)
        expected = truth(sound, NOON, NOON + 1800, LENGTH)
        found = Reconstruction(sound, f"sim-00{node}", NOON, NOON + 1800)
        agree(found, expected.nodes[node])
        assert all(device.continuous for device in expected.nodes[node].devices)
        assert found.output_tokens == expected.engines[node].output_tokens
        assert found.requests == expected.engines[node].requests

    def test_each_interval_alone_gives_the_truth(self) -> None:
        for expected in truth_by_interval(FleetSpec(nodes=1), NOON, NOON + 120, LENGTH):
            found = Reconstruction(
                FleetSpec(nodes=1), "sim-000", expected.start_seconds, expected.end_seconds
            )
            agree(found, expected.nodes[0])

    @pytest.mark.parametrize("node", [0, 1])
    def test_with_faults_states_are_exact_and_energy_is_over_the_gap(self, node: int) -> None:
        expected = truth(FAULTY, NOON, NOON + 120, LENGTH)
        found = Reconstruction(FAULTY, f"sim-00{node}", NOON, NOON + 120)
        agree(found, expected.nodes[node])
        assert found.output_tokens == expected.engines[node].output_tokens
        assert found.requests == expected.engines[node].requests
        assert expected.engines[node].restarts == node

    @settings(deadline=None, max_examples=25)
    @given(fleets(), st.integers(0, 100), st.integers(1, 60))
    def test_any_fleet_with_any_faults(self, spec: FleetSpec, start: int, length: int) -> None:
        first, last = NOON - 600 + start * LENGTH, NOON - 600 + (start + length) * LENGTH
        expected = truth(spec, first, last, LENGTH).nodes[0]
        found = Reconstruction(spec, "sim-000", first, last)
        for device in expected.devices:
            assert found.milliseconds[device.device] == device.milliseconds.as_dict()
            if device.continuous:
                assert found.millijoules[device.device] == device.millijoules.as_dict()
                assert found.throttled[device.device] == throttled(device)
        assert found.host_millijoules == expected.energy_millijoules

    def test_devices_are_throttled_for_power_for_heat_and_for_both(self) -> None:
        devices = truth(FleetSpec(nodes=1), NOON, NOON + 21_600, LENGTH).nodes[0].devices
        assert [device.throttled_thermal_milliseconds > 0 for device in devices] == [False] * 6 + [
            True
        ] * 2
        for device in devices:
            found, power, thermal = throttled(device)
            assert max(power, thermal) <= found <= power + thermal
            assert 0 < power < device.milliseconds.active
        # The last in the stream of air is hot before it is at its limit of power.
        assert devices[7].throttled_milliseconds > devices[7].throttled_power_milliseconds


class TestSums:
    @settings(deadline=None, max_examples=50)
    @given(fleets(), steps, steps, steps)
    def test_the_truth_of_adjacent_windows_adds_up(
        self, spec: FleetSpec, before: int, first: int, second: int
    ) -> None:
        a = NOON - 600 + before * LENGTH
        b, c = a + first * LENGTH, a + (first + second) * LENGTH
        model = FleetModel(spec)
        whole = truth_of(model, a, c, LENGTH)
        assert truth_of(model, a, b, LENGTH).plus(truth_of(model, b, c, LENGTH)) == whole

    @settings(deadline=None, max_examples=50)
    @given(fleets(), steps, steps)
    def test_the_states_of_a_device_fill_the_window(
        self, spec: FleetSpec, before: int, first: int
    ) -> None:
        a = NOON - 600 + before * LENGTH
        found = truth(spec, a, a + first * LENGTH, LENGTH)
        for node in found.nodes:
            assert node.installed_milliseconds == 3 * first * LENGTH * 1000
            held = sum(holder.milliseconds.total for holder in node.holders)
            assert held == node.installed_milliseconds
            for device in node.devices:
                assert device.milliseconds.total == first * LENGTH * 1000
                assert min(device.milliseconds.as_dict().values()) >= 0
                assert min(device.millijoules.as_dict().values()) >= 0
                assert device.holder == "none" or device.milliseconds.free == 0
            drawn = sum(holder.millijoules.total for holder in node.holders)
            assert node.energy_millijoules == drawn + 800_000 * first * LENGTH
        assert found.totals.milliseconds.total == found.totals.installed_milliseconds

    def test_intervals_add_up_to_the_whole(self) -> None:
        parts = list(truth_by_interval(FAULTY, NOON, NOON + 120, LENGTH))
        assert len(parts) == 24
        total = parts[0]
        for part in parts[1:]:
            total = total.plus(part)
        assert total == truth(FAULTY, NOON, NOON + 120, LENGTH)

    def test_facility_energy_is_more_than_it_energy(self) -> None:
        for part in truth_by_interval(FAULTY, NOON, NOON + 60, LENGTH):
            assert part.totals.facility_joules > part.totals.it_joules > 0
            assert part.totals.it_joules * 1000 > part.totals.node_millijoules

    def test_water_is_in_proportion_to_the_heat(self) -> None:
        for part in truth_by_interval(FAULTY, NOON, NOON + 60, LENGTH):
            water = part.meters[-1]
            assert (water.meter, water.energy_joules) == ("water", None)
            assert water.volume_millilitres == part.totals.water_millilitres
            # Half a microlitre per joule, to the tick of either meter.
            assert abs(part.totals.water_millilitres - part.totals.facility_joules / 2000) < 2

    def test_a_pool_that_idles_serves_nothing(self) -> None:
        expected = truth(FAULTY, NOON + 15, NOON + 70, LENGTH)
        assert expected.engines[1].output_tokens == 0
        assert {holder.milliseconds.active for holder in expected.nodes[1].holders} == {0}

    def test_windows_that_do_not_meet_are_not_added(self) -> None:
        first, later = truth(FAULTY, NOON, NOON + 5), truth(FAULTY, NOON + 10, NOON + 15)
        with pytest.raises(ValueError, match="follows"):
            first.plus(later)


class TestFaults:
    def test_continuous_is_false_only_where_a_tick_could_not_be_read(self) -> None:
        parts = {
            part.start_seconds - NOON: part.nodes[0].devices[2].continuous
            for part in truth_by_interval(FAULTY, NOON, NOON + 60, LENGTH)
        }
        # Silent at the ticks 34 to 47.
        assert [start for start, whole in parts.items() if not whole] == [30, 35, 40, 45]

    def test_a_silent_meter_is_not_continuous(self) -> None:
        found = truth(FAULTY, NOON, NOON + 120)
        assert {meter.meter: meter.continuous for meter in found.meters} == {
            "utility": True,
            "it-pdu": True,
            "ups-output": True,
            "cooling": False,
            "water": True,
        }

    def test_silent_hides_lost(self) -> None:
        device = truth(FAULTY, NOON, NOON + 120).nodes[0].devices[1]
        assert device.milliseconds.unhealthy == 15_000
        assert device.milliseconds.unknown == 15_000


class TestCall:
    def test_the_json_is_the_truth(self) -> None:
        text = truth_json(FAULTY, NOON, NOON + 10)
        assert msgspec.json.decode(text, type=Truth) == truth(FAULTY, NOON, NOON + 10)
        assert json.loads(text)["totals"]["installed_milliseconds"] == 160_000

    @pytest.mark.parametrize(
        ("start", "end", "length"),
        [(NOON + 1, NOON + 6, 5), (NOON, NOON + 6, 5), (NOON + 5, NOON, 5), (NOON, NOON, 0)],
    )
    def test_a_window_off_the_grid_is_refused(self, start: int, end: int, length: int) -> None:
        with pytest.raises(ValueError, match="whole number of intervals"):
            truth(FAULTY, start, end, length)

    def test_a_window_before_the_origin_is_refused(self) -> None:
        with pytest.raises(ValueError, match="origin_seconds"):
            truth(FAULTY, 900, 1800, 900)

    def test_golden_values(self) -> None:
        found = truth(FleetSpec(), NOON, NOON + 900, 900)
        totals = found.totals
        assert totals.milliseconds.as_dict() == GOLDEN_MILLISECONDS
        assert (totals.node_millijoules, totals.facility_joules, totals.output_tokens) == GOLDEN
        text = truth_json(FAULTY, NOON, NOON + 120)
        assert hashlib.sha256(text.encode()).hexdigest() == GOLDEN_FAULTY


GOLDEN_MILLISECONDS = {
    "active": 21244000,
    "held_idle": 7537000,
    "free": 19000,
    "unhealthy": 0,
    "unknown": 0,
}
GOLDEN = (11663830168, 16022680, 9111290)
GOLDEN_FAULTY = "002adff4c275b3c7644819500b8e7fa5f43dcefd65db63595d5ca987a150947b"
