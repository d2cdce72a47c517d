"""Meter samples in, the meters of a report out."""

from collections.abc import Iterator

from meterhouse_agent.accumulate.amount import Amount, IntervalSums
from meterhouse_agent.accumulate.energy import Energy
from meterhouse_agent.accumulate.gauges import Coverage, Gauge
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.samples import MeterSample
from meterhouse_agent.wire import QUARTER_SECONDS, Meter, Quality, Register


class _Meter:
    """One meter's open intervals."""

    def __init__(self, name: str) -> None:
        self.energy = Energy(Whose(kind="meter", thing=name, quantity="energy_joules"))
        self.sums = IntervalSums()
        self.power = Gauge()
        self.coverage = Coverage()
        self.sample: MeterSample | None = None
        self.register_quarter: int | None = None
        self.registers: list[Register] = []

    def read_register(self) -> None:
        """Keep the absolute reading at the first sample of a quarter, and after a reset."""
        sample, amount = self.sample, self.energy.amount
        counter = None if sample is None else sample.energy_joules
        if sample is None or counter is None or amount.last is not counter:
            return
        quarter = sample.at_milliseconds // (QUARTER_SECONDS * 1000)
        if quarter == self.register_quarter and not amount.reset_seen:
            return
        self.register_quarter, amount.reset_seen = quarter, False
        self.registers.append(
            Register(
                at_milliseconds=sample.at_milliseconds,
                register_joules=round(counter.ticks * counter.unit, 6),
                epoch=amount.resets,
            )
        )


class MeterSums:
    """Accumulates the meters that one agent reads."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._meters: dict[str, _Meter] = {}

    def amounts(self) -> Iterator[Amount]:
        """Yield everything counted, for the spool to keep."""
        for meter in self._meters.values():
            yield meter.energy.amount

    def amount(self, name: str) -> Amount:
        """Return the energy of one meter."""
        return self._meter(name).energy.amount

    def _meter(self, name: str) -> _Meter:
        found = self._meters.get(name)
        if found is None:
            found = self._meters[name] = _Meter(name)
        return found

    def feed(self, sample: MeterSample, max_gap_milliseconds: float) -> None:
        """Take one sample: it stands for the time since the one before it."""
        timeline = self._timeline
        meter = self._meter(sample.meter)
        meter.sample = sample
        slices = meter.coverage.reach(sample.at_milliseconds, timeline, max_gap_milliseconds)
        if sample.power_watts is not None:
            for interval, milliseconds in slices:
                meter.power.add(interval, sample.power_watts, milliseconds)
        meter.sums.add(
            meter.energy.feed(
                sample.energy_joules,
                sample.power_watts,
                sample.at_milliseconds,
                timeline,
                max_gap_milliseconds,
            )
        )
        meter.read_register()

    def take(self, interval_milliseconds: int) -> list[Meter]:
        """Hand out an interval: the meters that were read in it."""
        taken = []
        for name, meter in self._meters.items():
            covered = meter.coverage.take(interval_milliseconds)
            joules = meter.sums.take(interval_milliseconds)
            power = meter.power.take(interval_milliseconds)
            meter.energy.amount.close(interval_milliseconds)
            if covered == 0 and joules is None and not meter.registers:
                continue
            registers, meter.registers = meter.registers, []
            taken.append(
                Meter(
                    meter=name,
                    covered_milliseconds=covered,
                    energy_joules=joules,
                    energy_method=meter.energy.method,
                    quality="missing" if joules is None else _quality(meter),
                    power_watts=None if power is None else round(power[0], 3),
                    power_watts_max=None if power is None else round(power[1], 3),
                    registers=registers,
                )
            )
        return taken


def _quality(meter: _Meter) -> Quality:
    return "ok" if meter.sample is None else meter.sample.quality
