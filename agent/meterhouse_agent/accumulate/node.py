"""All that one agent accumulates: readings in, reports out."""

from collections.abc import Iterable, Iterator

from meterhouse_agent.accumulate.accelerators import AcceleratorSums
from meterhouse_agent.accumulate.amount import Amount, KeptReading
from meterhouse_agent.accumulate.engines import EngineSums
from meterhouse_agent.accumulate.host import HostSums
from meterhouse_agent.accumulate.meters import MeterSums
from meterhouse_agent.accumulate.sensors import SensorSums
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.samples import Readings
from meterhouse_agent.wire import SCHEMA, Inventory, Report, inventory_hash


class NodeSums:
    """The open intervals of one node."""

    def __init__(self, site: str, node: str, length_seconds: int) -> None:
        self._site = site
        self._node = node
        self.timeline = Timeline(length_seconds * 1000)
        self._accelerators = AcceleratorSums(node, self.timeline)
        self._host = HostSums(node, self.timeline)
        self._meters = MeterSums(self.timeline)
        self._engines = EngineSums(self.timeline)
        self._sensors = SensorSums(self.timeline)

    def feed(self, readings: Readings, max_gap_milliseconds: float) -> None:
        """Take what one source read; a longer pause than the gap is no coverage."""
        for sample in readings.accelerators:
            self._accelerators.feed(sample, max_gap_milliseconds)
        if readings.host is not None:
            self._host.feed(readings.host, max_gap_milliseconds)
        for meter in readings.meters:
            self._meters.feed(meter, max_gap_milliseconds)
        for engine in readings.engines:
            self._engines.feed(engine, max_gap_milliseconds)
        for sensor in readings.sensors:
            self._sensors.feed(sensor, max_gap_milliseconds)

    def close(self, start_seconds: int, inventory: Inventory) -> Report | None:
        """Close an interval: return its report, ``None`` where there is nothing to say."""
        start, length = start_seconds * 1000, self.timeline.length_milliseconds
        self.timeline.close(start)
        report = Report(
            schema=SCHEMA,
            site=self._site,
            node=self._node,
            start_seconds=start_seconds,
            length_seconds=length // 1000,
            inventory_hash=inventory_hash(inventory),
            accelerators=self._accelerators.take(start, [d.device for d in inventory.devices]),
            host=self._host.take(start),
            meters=self._meters.take(start),
            engines=self._engines.take(start),
            spans=self.timeline.take_spans(),
            sensors=self._sensors.take(start),
        )
        things = (report.accelerators, report.host, report.meters, report.engines, report.sensors)
        return report if any(things) or report.spans else None

    def kept(self) -> list[KeptReading]:
        """Return where every counter stood at the end of the last closed interval."""
        readings = (amount.keep(self.timeline) for amount in self._amounts())
        return [reading for reading in readings if reading is not None]

    def restore(self, readings: Iterable[KeptReading]) -> None:
        """Go on from what an earlier life kept."""
        for reading in readings:
            amount = self._amount(reading.whose)
            if amount is not None:
                amount.restore(reading)

    def _amounts(self) -> Iterator[Amount]:
        yield from self._accelerators.amounts()
        yield from self._host.amounts()
        yield from self._meters.amounts()
        yield from self._engines.amounts()

    def _amount(self, whose: Whose) -> Amount | None:
        match whose.kind:
            case "meter":
                return self._meters.amount(whose.thing, whose.quantity)
            case "engine" if whose.served_model is not None:
                return self._engines.amount(whose.thing, whose.served_model, whose.quantity)
            case "node" if whose.quantity == "cpu_energy_joules" and whose.device is not None:
                return self._host.domain(whose.device)[0]
            case "node" if whose.device is not None:
                return self._accelerators.amount(whose.device, whose.quantity)
            case "node":
                return self._host.energy
            case _:
                return None
