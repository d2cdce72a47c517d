"""What the agents of a scenario send.

It is made from the fleet's closed forms, and around faults by the agent's own code, fed each
second. Where both can tell, they come to the same but for gauges, which no statement reads.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import msgspec

from meterhouse_agent import wire
from meterhouse_agent.accumulate.node import NodeSums
from meterhouse_agent.samples import Readings
from meterhouse_agent.simulation.engine import EngineCounts
from meterhouse_agent.simulation.fleet import WATER
from meterhouse_agent.simulation.reckoning import FleetModel
from tests.month.scenario import (
    FLEET_DAY_SECONDS,
    QUARTER,
    SHARED_NODE,
    SHARED_PARTS,
    SITE,
    STEP,
    Scenario,
    model_of,
)

Message = tuple[str, bytes]
FACILITY: Final = "facility"
# So long before and after a fault the agent's own code measures.
AROUND_SECONDS: Final = 5 * STEP
_SAMPLE_MILLISECONDS: Final = 1000
_GAP_MILLISECONDS: Final = 2.5 * _SAMPLE_MILLISECONDS


class Reports:
    """All reports of a scenario, interval by interval."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self._model = FleetModel(scenario.spec(faulty=False))
        self._origin = scenario.spec(faulty=False).origin_seconds
        self._inventories = {name: self._inventory(name) for name in (*scenario.names, FACILITY)}
        self._hashes = {n: wire.inventory_hash(found) for n, found in self._inventories.items()}
        self._topics = {
            name: wire.topic(SITE, name, wire.MessageKind.REPORT) for name in self._inventories
        }
        self._known: dict[tuple[str, int], tuple[wire.Accelerators, wire.Host]] = {}
        self._served: dict[str, tuple[int, EngineCounts]] = {}
        self._registers: tuple[int, dict[str, int]] = (-1, {})
        self._measured = dict(self._around_faults())

    def statuses(self) -> Iterator[Message]:
        """Yield what all agents say of themselves at first."""
        for node, inventory in self._inventories.items():
            status = wire.Status(
                schema=wire.SCHEMA,
                site=SITE,
                node=node,
                state="online",
                version="0",
                at_seconds=self.scenario.begins,
                inventory_hash=self._hashes[node],
                inventory=inventory,
            )
            yield wire.topic(SITE, node, wire.MessageKind.STATUS), wire.encode(status)

    def at(self, start: int) -> Iterator[Message]:
        """Yield the reports of one interval."""
        for node in self.scenario.names:
            key = (node, start)
            if key in self._measured:
                payload = self._measured[key]
            elif self.scenario.registered(node, start):
                payload = wire.encode(self.node_report(node, start))
            else:
                payload = None
            if payload is not None:
                yield self._topics[node], payload
        yield self.facility_at(start)

    def facility_at(self, start: int) -> Message:
        """Return the report of the meters in one interval."""
        payload = self._measured.get((FACILITY, start))
        return self._topics[FACILITY], payload or wire.encode(self.facility_report(start))

    def node_report(self, node: str, start: int) -> wire.Report:
        """Return one node's report from the closed forms."""
        accelerators, host = self._amounts(node, start)
        report = self._report(node, start)
        report.accelerators, report.host = accelerators, host
        report.engines = self._engines(node, start)
        return report

    def facility_report(self, start: int) -> wire.Report:
        """Return the meters' report from the closed forms."""
        first, last = self._registers_at(start), self._registers_at(start + STEP)
        report = self._report(FACILITY, start)
        due = (start + STEP) % QUARTER == 0
        for meter, ticks in last.items():
            counted, is_volume = ticks - first[meter], meter == WATER
            register = wire.Register(
                at_milliseconds=(start + STEP) * 1000,
                register_joules=None if is_volume else float(ticks),
                register_litres=ticks / 1000 if is_volume else None,
                epoch=0,
            )
            report.meters.append(
                wire.Meter(
                    meter=meter,
                    covered_milliseconds=STEP * 1000,
                    energy_joules=None if is_volume else float(counted),
                    volume_litres=counted / 1000 if is_volume else None,
                    registers=[register] if due else [],
                )
            )
        return report

    def measured(self, node: str, begins: int, ends: int) -> list[wire.Report]:
        """Return what an agent that runs all the while reports of whole intervals."""
        agent = _Agent(self, node, FleetModel(self.scenario.spec(faulty=True)))
        return list(agent.run(begins, ends))

    def inventory(self, node: str) -> wire.Inventory:
        """Return what a node has."""
        return self._inventories[node]

    def _inventory(self, node: str) -> wire.Inventory:
        if node == FACILITY:
            return wire.Inventory(meters=list(self._model.facility.things().meters))
        things = self._model.node(node).things()
        devices = [
            msgspec.structs.replace(device, accelerator_model=model_of(node))
            for device in things.devices
        ]
        engines = list(things.engines) if self.scenario.has_engine(node) else []
        return wire.Inventory(devices=devices, engines=engines)

    def _report(self, node: str, start: int) -> wire.Report:
        return wire.Report(
            schema=wire.SCHEMA,
            site=SITE,
            node=node,
            start_seconds=start,
            length_seconds=STEP,
            inventory_hash=self._hashes[node],
            meters=[],
        )

    def _amounts(self, node: str, start: int) -> tuple[wire.Accelerators, wire.Host]:
        """Return what devices and node did; without faults it repeats with the fleet's day."""
        phase = (start - self._origin) % FLEET_DAY_SECONDS
        found = self._known.get((node, phase))
        if found is None:
            found = self._known[node, phase] = self._computed(node, self._origin + phase)
        return found

    def _computed(self, node: str, start: int) -> tuple[wire.Accelerators, wire.Host]:
        begins, ends = start * 1000, (start + STEP) * 1000
        amounts = [clock.amounts(begins, ends) for clock in self._model.clocks(node)]
        states = [state for state in wire.STATES if any(ms[state] for ms, _ in amounts)]
        accelerators = wire.Accelerators(
            state_milliseconds={state: [ms[state] for ms, _ in amounts] for state in states},
            state_joules={state: [mj[state] / 1000 for _, mj in amounts] for state in states},
        )
        model = self._model.node(node)
        ticks = [model.energy_microjoules(at) // 1000 for at in (begins, ends)]
        host = wire.Host(
            covered_milliseconds=STEP * 1000, energy_joules=(ticks[1] - ticks[0]) / 1000
        )
        return accelerators, host

    def _engines(self, node: str, start: int) -> list[wire.Engine]:
        engine = self._model.node(node).engine
        if engine is None or not self.scenario.has_engine(node):
            return []
        at, before = self._served.get(node, (0, None))
        if before is None or at != start:
            before = engine.served(start * 1000)
        after = engine.served((start + STEP) * 1000)
        self._served[node] = (start + STEP, after)
        return [
            wire.Engine(
                engine=engine.engine,
                served_model=model,
                covered_milliseconds=STEP * 1000,
                input_tokens=last.input_tokens - first.input_tokens,
                cached_input_tokens=last.cached_input_tokens - first.cached_input_tokens,
                output_tokens=last.output_tokens - first.output_tokens,
                requests={
                    "stop": last.stop_requests - first.stop_requests,
                    "length": last.length_requests - first.length_requests,
                },
            )
            for model, first, last in _by_model(node, engine.served_model, before, after)
        ]

    def _registers_at(self, at: int) -> dict[str, int]:
        if self._registers[0] != at:
            self._registers = (at, self._model.facility.registers_ticks(at * 1000))
        return self._registers[1]

    def _around_faults(self) -> Iterator[tuple[tuple[str, int], bytes | None]]:
        """Yield the payloads of the agent's own code; None where no agent ran."""
        found = self.scenario.faults()
        model = FleetModel(self.scenario.spec(faulty=True))
        watched = [(node, stretch, "silent") for node, stretch in found.silent.items()]
        watched += [(node, stretch, "restart") for node, stretch in found.restarted.items()]
        seen = [(found.lost[0], found.lost[2:]), (FACILITY, found.meter_silent)]
        if found.contradicting is not None:
            seen.append((found.contradicting[0], found.contradicting[2:]))
        watched += [(node, stretch, "") for node, stretch in seen]
        for node, (begins, ends), how in watched:
            first, last = begins - AROUND_SECONDS, ends + AROUND_SECONDS
            agent = _Agent(self, node, model)
            reports = list(agent.run(first, begins if how else last))
            if how:
                for start in range(begins, ends, STEP):
                    yield (node, start), None
                if how == "silent":
                    agent = _Agent(self, node, model)
                else:
                    agent.restart(begins)
                reports += agent.run(ends, last)
            for report in reports:
                yield (node, report.start_seconds), wire.encode(report)


class _Agent:
    """The agent's own sums of one node, on a clock of ours."""

    def __init__(self, reports: Reports, node: str, model: FleetModel) -> None:
        self._node = node
        self._source = model.facility if node == FACILITY else model.node(node)
        self._inventory = reports.inventory(node)
        self._serves = node == FACILITY or reports.scenario.has_engine(node)
        self._sums = NodeSums(SITE, node, STEP)

    def run(self, begins: int, ends: int) -> Iterator[wire.Report]:
        """Measure each second from begins to ends, both with it, and report whole intervals."""
        for at in range(begins, ends + 1):
            self._sums.feed(self._read(at * 1000), _GAP_MILLISECONDS)
            if at % STEP == 0 and at > begins:
                report = self._sums.close(at - STEP, self._inventory)
                if report is None:
                    raise AssertionError(f"{self._node} has nothing to say at {at}")
                yield report

    def restart(self, at: int) -> None:
        """Forget all but what the spool keeps."""
        kept, waiting = self._sums.kept(), self._sums.timeline.waiting_spans
        self._sums = NodeSums(SITE, self._node, STEP)
        self._sums.timeline.closed_until_milliseconds = at * 1000
        self._sums.restore(kept)
        self._sums.timeline.restore_spans(waiting)

    def _read(self, at_milliseconds: int) -> Readings:
        found = self._source.read(at_milliseconds)
        return found if self._serves else replace(found, engines=())


def _by_model(
    node: str, model: str, before: EngineCounts, after: EngineCounts
) -> list[tuple[str, EngineCounts, EngineCounts]]:
    """Say what an engine counted of each model that it serves."""
    if node != SHARED_NODE:
        return [(model, before, after)]
    return [
        (name, shared_part(before, place), shared_part(after, place))
        for place, name in enumerate(("sim-70b", "sim-8b"))
    ]


def shared_part(counts: EngineCounts, place: int) -> EngineCounts:
    """Return a quarter of what was counted, or the rest of it."""

    def part(count: int) -> int:
        least = count // SHARED_PARTS
        return least if place == 0 else count - least

    return counts._replace(
        output_tokens=part(counts.output_tokens),
        input_tokens=part(counts.input_tokens),
        cached_input_tokens=part(counts.cached_input_tokens),
        stop_requests=part(counts.stop_requests),
        length_requests=part(counts.length_requests),
    )
