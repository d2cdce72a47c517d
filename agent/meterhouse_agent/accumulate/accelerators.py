"""Accelerator samples in, the columns of a report out."""

from collections.abc import Iterator
from operator import attrgetter
from typing import Final

from msgspec.structs import replace

from meterhouse_agent.accumulate.amount import Amount, IntervalSums
from meterhouse_agent.accumulate.energy import Energy
from meterhouse_agent.accumulate.gauges import Coverage, Gauge
from meterhouse_agent.accumulate.state_sums import Shares, StateSums
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.partitions import shares_of
from meterhouse_agent.samples import AcceleratorSample, Counter
from meterhouse_agent.states import PowerRange
from meterhouse_agent.wire import MAX_TEXT, MAX_XIDS, Accelerators, Method

# Report column, and the decimals its instruments are worth: NVML's power is good to 5 W, its
# utilization comes in whole percent, its temperature in whole degrees, its clock in megahertz;
# memory is given out in pages of 2 MiB.
DECIMALS: Final[dict[str, int]] = {
    "power_watts": 1,
    "utilization_ratio": 3,
    "sm_activity_ratio": 3,
    "tensor_activity_ratio": 3,
    "memory_used_bytes": -6,
    "temperature_celsius": 0,
    "memory_temperature_celsius": 0,
    "sm_clock_hertz": -6,
}
# Report column, and the sample's word for it.
THROTTLES: Final[dict[str, str]] = {
    "throttled_milliseconds": "throttled",
    "throttled_power_milliseconds": "throttled_power",
    "throttled_thermal_milliseconds": "throttled_thermal",
}
_GAUGES_OF: Final = attrgetter(*DECIMALS)
_THROTTLES_OF: Final = attrgetter(*THROTTLES.values())
ERRORS: Final = ("ecc_corrected_errors", "ecc_uncorrected_errors")


class _Device:
    """One accelerator's open intervals."""

    def __init__(self, node: str, device: str) -> None:
        whose = Whose(kind="node", thing=node, quantity="energy_joules", device=device)
        self.energy = Energy(whose)
        self.errors = {name: Amount(replace(whose, quantity=name)) for name in ERRORS}
        self.error_sums = {name: IntervalSums() for name in ERRORS}
        self.coverage = Coverage()
        self.power = PowerRange()
        self.gauges = {name: Gauge() for name in DECIMALS}
        self.throttled: dict[str, dict[int, int]] = {column: {} for column in THROTTLES}
        self.states = StateSums()
        self.reasons: dict[int, str] = {}
        self.xids: dict[int, list[int]] = {}

    def amounts(self) -> Iterator[Amount]:
        yield self.energy.amount
        yield from self.errors.values()


class AcceleratorSums:
    """Accumulates the accelerators of one node."""

    def __init__(self, node: str, timeline: Timeline) -> None:
        self._node = node
        self._timeline = timeline
        self._devices: dict[str, _Device] = {}

    def device(self, name: str) -> _Device:
        """Return a device's sums, new ones at the first word of it."""
        found = self._devices.get(name)
        if found is None:
            found = self._devices[name] = _Device(self._node, name)
        return found

    def amount(self, device: str, quantity: str) -> Amount | None:
        """Return one counted quantity of a device, ``None`` if it counts no such thing."""
        sums = self.device(device)
        return sums.energy.amount if quantity == "energy_joules" else sums.errors.get(quantity)

    def amounts(self) -> Iterator[Amount]:
        """Yield everything counted, for the spool to keep."""
        for device in self._devices.values():
            yield from device.amounts()

    def feed(self, sample: AcceleratorSample, max_gap_milliseconds: float) -> None:
        """Take one sample: it stands for the time since the one before it."""
        timeline = self._timeline
        device = self.device(sample.device)
        if sample.power_watts is not None:
            device.power.learn(sample.power_watts)
        shares = shares_of(sample, device.power)
        slices = device.coverage.reach(sample.at_milliseconds, timeline, max_gap_milliseconds)
        gauged, throttles = _GAUGES_OF(sample), _THROTTLES_OF(sample)
        for interval, milliseconds in slices:
            device.states.add_time(interval, shares, milliseconds)
            if "unhealthy" in shares:
                device.reasons[interval] = _reason(sample)
            for sums, throttled in zip(device.throttled.values(), throttles, strict=True):
                if throttled is not None:
                    sums[interval] = sums.get(interval, 0) + (milliseconds if throttled else 0)
            for gauge, value in zip(device.gauges.values(), gauged, strict=True):
                if value is not None:
                    gauge.add(interval, value, milliseconds)
        self._feed_counters(device, sample, shares, max_gap_milliseconds)
        if sample.xids:
            self._feed_xids(device, sample)

    def _feed_xids(self, device: _Device, sample: AcceleratorSample) -> None:
        timeline = self._timeline
        interval = sample.at_milliseconds - sample.at_milliseconds % timeline.length_milliseconds
        # Of an interval that is closed they are told in the next.
        codes = device.xids.setdefault(max(interval, timeline.closed_until_milliseconds), [])
        for code in sample.xids:
            if not keep_xid(codes, code):
                timeline.events["xid_dropped"] += 1

    def _feed_counters(
        self, device: _Device, sample: AcceleratorSample, shares: Shares, max_gap: float
    ) -> None:
        laid = device.energy.feed(
            sample.energy_joules,
            sample.power_watts,
            sample.at_milliseconds,
            self._timeline,
            max_gap,
        )
        device.states.add_energy(laid, shares, device.power.floor_watts)
        for name, amount in device.errors.items():
            value = getattr(sample, name)
            if value is not None:
                counter = Counter(ticks=value, unit=1.0)
                device.error_sums[name].add(
                    amount.feed(counter, sample.at_milliseconds, self._timeline, max_gap)
                )

    def take(self, interval_milliseconds: int, order: list[str]) -> Accelerators | None:
        """Hand out an interval's columns in inventory order, ``None`` if nothing was read."""
        devices = [self.device(name) for name in order]
        for device in devices:
            device.coverage.take(interval_milliseconds)
        taken = [device.states.take(interval_milliseconds) for device in devices]
        states = dict.fromkeys(
            state
            for totals in taken
            for sums in (totals.milliseconds, totals.joules)
            for state in sums
        )
        if not states:
            return None
        methods = [
            # Measured as a whole, but which state drew it was not.
            "estimated" if totals.is_divided else device.energy.method
            for device, totals in zip(devices, taken, strict=True)
        ]
        columns = Accelerators(energy_method=_one(methods))
        for state in states:
            columns.state_milliseconds[state] = [t.milliseconds.get(state, 0) for t in taken]
            columns.state_joules[state] = [
                t.joules.get(state, None if state in t.milliseconds else 0) for t in taken
            ]
        self._take_gauges(columns, devices, interval_milliseconds)
        columns.unhealthy_reasons = {
            index: device.reasons.pop(interval_milliseconds)
            for index, device in enumerate(devices)
            if interval_milliseconds in device.reasons
        }
        columns.xids = {
            index: codes
            for index, device in enumerate(devices)
            if device.xids and (codes := _take_xids(device.xids, interval_milliseconds))
        }
        for device in devices:
            for amount in device.amounts():
                amount.close(interval_milliseconds)
        return columns

    def _take_gauges(self, columns: Accelerators, devices: list[_Device], interval: int) -> None:
        for name, decimals in DECIMALS.items():
            values = [device.gauges[name].take(interval) for device in devices]
            if all(value is None for value in values):
                continue
            means = [None if v is None else round(v[0], decimals) for v in values]
            setattr(columns, name, means)
            if name == "power_watts":
                most = [None if v is None else round(v[1], decimals) for v in values]
                columns.power_watts_max = most
        for column in THROTTLES:
            throttled = [device.throttled[column].pop(interval, None) for device in devices]
            if any(value is not None for value in throttled):
                setattr(columns, column, throttled)
        for name in ERRORS:
            counts = [device.error_sums[name].take(interval) for device in devices]
            if any(count is not None for count in counts):
                setattr(columns, name, counts)


def _reason(sample: AcceleratorSample) -> str:
    if not sample.health_reason:
        return sample.health
    return f"{sample.health}: {sample.health_reason}"[:MAX_TEXT]


def keep_xid(codes: list[int], code: int) -> bool:
    """Add a code; where there is no room, a new one takes the place of the last repeated one.

    Returns whether nothing was dropped. A flood of one code must not hide what it led to.
    """
    if len(codes) < MAX_XIDS:
        codes.append(code)
        return True
    again = [place for place, known in enumerate(codes) if known in codes[:place]]
    if code not in codes and again:
        del codes[again[-1]]
        codes.append(code)
    return False


def _take_xids(xids: dict[int, list[int]], interval: int) -> list[int]:
    """Hand out the codes of an interval, and of those before it that said nothing else."""
    taken: list[int] = []
    for start in sorted(start for start in xids if start <= interval):
        for code in xids.pop(start):
            keep_xid(taken, code)
    return taken


def _one(methods: list[Method]) -> Method | list[Method]:
    return methods[0] if len(set(methods)) == 1 else methods
