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
        self.volume = Amount(Whose(kind="meter", thing=name, quantity="volume_litres"))
        self.joules = IntervalSums()
        self.litres = IntervalSums()
        self.power = Gauge()
        self.coverage = Coverage()
        self.sample: MeterSample | None = None
        self.register_quarter: int | None = None
        self.registers: list[Register] = []

    def read_register(self) -> None:
        """Keep the absolute reading at the first sample of a quarter, and after a reset."""
        sample = self.sample
        if sample is None:
            return
        counts_energy = sample.energy_joules is not None
        counter = sample.energy_joules if counts_energy else sample.volume_litres
        amount = self.energy.amount if counts_energy else self.volume
        if counter is None or amount.last is not counter:
            return
        quarter = sample.at_milliseconds // (QUARTER_SECONDS * 1000)
        if quarter == self.register_quarter and not amount.reset_seen:
            return
        self.register_quarter, amount.reset_seen = quarter, False
        reading = round(counter.ticks * counter.unit, 6)
        self.registers.append(
            Register(
                at_milliseconds=sample.at_milliseconds,
                register_joules=reading if counts_energy else None,
                register_litres=None if counts_energy else reading,
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
            yield meter.volume

    def amount(self, name: str, quantity: str) -> Amount:
        """Return what one meter counts: its volume, or else its energy."""
        meter = self._meter(name)
        return meter.volume if quantity == "volume_litres" else meter.energy.amount

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
        at = sample.at_milliseconds
        meter.joules.add(
            meter.energy.feed(
                sample.energy_joules, sample.power_watts, at, timeline, max_gap_milliseconds
            )
        )
        if sample.volume_litres is not None:
            meter.litres.add(
                meter.volume.feed(sample.volume_litres, at, timeline, max_gap_milliseconds)
            )
        meter.read_register()

    def take(self, interval_milliseconds: int) -> list[Meter]:
        """Hand out an interval: the meters that were read in it."""
        taken = []
        for name, meter in self._meters.items():
            covered = meter.coverage.take(interval_milliseconds)
            joules = meter.joules.take(interval_milliseconds)
            litres = meter.litres.take(interval_milliseconds)
            power = meter.power.take(interval_milliseconds)
            meter.energy.amount.close(interval_milliseconds)
            meter.volume.close(interval_milliseconds)
            counted = joules is not None or litres is not None
            if covered == 0 and not counted and not meter.registers:
                continue
            registers, meter.registers = meter.registers, []
            taken.append(
                Meter(
                    meter=name,
                    covered_milliseconds=covered,
                    energy_joules=joules,
                    volume_litres=litres,
                    energy_method=meter.energy.method,
                    quality=_quality(meter) if counted else "missing",
                    power_watts=None if power is None else round(power[0], 3),
                    power_watts_max=None if power is None else round(power[1], 3),
                    registers=registers,
                )
            )
        return taken


def _quality(meter: _Meter) -> Quality:
    return "ok" if meter.sample is None else meter.sample.quality
