"""Host samples in, the host part of a report out."""

from collections.abc import Iterator

from meterhouse_agent.accumulate.amount import Amount, IntervalSums
from meterhouse_agent.accumulate.gauges import Coverage, Gauge
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.samples import HostSample
from meterhouse_agent.wire import Host


class HostSums:
    """Accumulates the node itself."""

    def __init__(self, node: str, timeline: Timeline) -> None:
        self._node = node
        self._timeline = timeline
        self.energy = Amount(Whose(kind="node", thing=node, quantity="energy_joules"))
        self._energy_sums = IntervalSums()
        self._domains: dict[str, tuple[Amount, IntervalSums]] = {}
        self._coverage = Coverage()
        self._cpu = Gauge()
        self._memory = Gauge()
        self._temperature = Gauge()
        self._cpu_before: tuple[float, float] | None = None

    def amounts(self) -> Iterator[Amount]:
        """Yield everything counted, for the spool to keep."""
        yield self.energy
        for amount, _ in self._domains.values():
            yield amount

    def domain(self, name: str) -> tuple[Amount, IntervalSums]:
        """Return the sums of one RAPL domain."""
        found = self._domains.get(name)
        if found is None:
            whose = Whose(kind="node", thing=self._node, quantity="cpu_energy_joules", device=name)
            found = self._domains[name] = (Amount(whose), IntervalSums())
        return found

    def feed(self, sample: HostSample, max_gap_milliseconds: float) -> None:
        """Take one sample: it stands for the time since the one before it."""
        timeline, at = self._timeline, sample.at_milliseconds
        slices = self._coverage.reach(at, timeline, max_gap_milliseconds)
        busy_ratio = self._busy_ratio(sample)
        for interval, milliseconds in slices:
            for gauge, value in (
                (self._cpu, busy_ratio),
                (self._memory, sample.memory_used_bytes),
                (self._temperature, sample.temperature_celsius),
            ):
                if value is not None:
                    gauge.add(interval, value, milliseconds)
        if sample.energy_joules is not None:
            self._energy_sums.add(
                self.energy.feed(sample.energy_joules, at, timeline, max_gap_milliseconds)
            )
        for name, counter in sample.cpu_energy_joules.items():
            amount, sums = self.domain(name)
            sums.add(amount.feed(counter, at, timeline, max_gap_milliseconds))

    def _busy_ratio(self, sample: HostSample) -> float | None:
        if sample.cpu_busy_seconds is None or sample.cpu_total_seconds is None:
            return None
        before = self._cpu_before
        self._cpu_before = (sample.cpu_busy_seconds, sample.cpu_total_seconds)
        if before is None or sample.cpu_total_seconds <= before[1]:
            return None
        share = (sample.cpu_busy_seconds - before[0]) / (sample.cpu_total_seconds - before[1])
        return min(1.0, max(0.0, share))

    def take(self, interval_milliseconds: int) -> Host | None:
        """Hand out an interval, ``None`` where nothing was read in it."""
        covered = self._coverage.take(interval_milliseconds)
        energy = self._energy_sums.take(interval_milliseconds)
        domains = [sums.take(interval_milliseconds) for _, sums in self._domains.values()]
        cpu = self._cpu.take(interval_milliseconds)
        memory = self._memory.take(interval_milliseconds)
        temperature = self._temperature.take(interval_milliseconds)
        for amount in self.amounts():
            amount.close(interval_milliseconds)
        if covered == 0 and energy is None:
            return None
        measured = [joules for joules in domains if joules is not None]
        return Host(
            covered_milliseconds=covered,
            energy_joules=energy,
            cpu_energy_joules=round(sum(measured), 6) if measured else None,
            cpu_utilization_ratio=None if cpu is None else round(cpu[0], 4),
            memory_used_bytes=None if memory is None else round(memory[0]),
            temperature_celsius=None if temperature is None else round(temperature[0], 1),
        )
