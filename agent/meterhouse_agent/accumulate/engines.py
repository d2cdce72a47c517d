"""Engine samples in, the engines of a report out."""

from collections.abc import Iterator
from typing import Final

from meterhouse_agent.accumulate.amount import Amount, IntervalSums
from meterhouse_agent.accumulate.gauges import Coverage, Gauge
from meterhouse_agent.accumulate.timeline import Timeline, Whose
from meterhouse_agent.grid import interval_start
from meterhouse_agent.samples import Counter, EngineSample, HistogramSample
from meterhouse_agent.wire import Engine, Histogram

TOKENS: Final = ("input_tokens", "cached_input_tokens", "output_tokens")
GAUGES: Final = {"running_requests": 3, "waiting_requests": 3, "kv_cache_used_ratio": 4}
REQUESTS: Final = "requests:"


class _Served:
    """One engine and served model: its open intervals."""

    def __init__(self, engine: str, served_model: str) -> None:
        self.engine = engine
        self.served_model = served_model
        self.counts: dict[str, tuple[Amount, IntervalSums]] = {}
        self.gauges = {name: Gauge() for name in GAUGES}
        self.coverage = Coverage()
        self.latency_before: dict[str, HistogramSample] = {}
        self.latency: dict[int, dict[str, Histogram]] = {}
        self.epoch = ""

    def count(self, quantity: str) -> tuple[Amount, IntervalSums]:
        """Return the sums of one counted quantity."""
        found = self.counts.get(quantity)
        if found is None:
            whose = Whose(
                kind="engine", thing=self.engine, quantity=quantity, served_model=self.served_model
            )
            found = self.counts[quantity] = (Amount(whose), IntervalSums())
        return found


class EngineSums:
    """Accumulates the engines that one agent scrapes."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._served: dict[tuple[str, str], _Served] = {}

    def amounts(self) -> Iterator[Amount]:
        """Yield everything counted, for the spool to keep."""
        for served in self._served.values():
            for amount, _ in served.counts.values():
                yield amount

    def amount(self, engine: str, served_model: str, quantity: str) -> Amount:
        """Return one counted quantity of an engine and served model."""
        return self._one(engine, served_model).count(quantity)[0]

    def _one(self, engine: str, served_model: str) -> _Served:
        key = (engine, served_model)
        found = self._served.get(key)
        if found is None:
            found = self._served[key] = _Served(engine, served_model)
        return found

    def feed(self, sample: EngineSample, max_gap_milliseconds: float) -> None:
        """Take one sample: it stands for the time since the one before it."""
        timeline = self._timeline
        served = self._one(sample.engine, sample.served_model)
        slices = served.coverage.reach(sample.at_milliseconds, timeline, max_gap_milliseconds)
        for name, gauge in served.gauges.items():
            value = getattr(sample, name)
            if value is not None:
                for interval, milliseconds in slices:
                    gauge.add(interval, value, milliseconds)
        counts = {name: getattr(sample, name) for name in TOKENS}
        counts |= {REQUESTS + reason: count for reason, count in sample.requests.items()}
        for quantity, count in counts.items():
            if count is None:
                continue
            amount, sums = served.count(quantity)
            counter = Counter(ticks=count, unit=1.0, epoch=sample.epoch)
            sums.add(amount.feed(counter, sample.at_milliseconds, timeline, max_gap_milliseconds))
        self._feed_latency(served, sample, covered=bool(slices))

    def _feed_latency(self, served: _Served, sample: EngineSample, *, covered: bool) -> None:
        restarted, served.epoch = served.epoch != sample.epoch, sample.epoch
        # A histogram has no exact division in time: what was observed between two scrapes stands
        # in the interval that ended at the second, or holds its middle.
        length = self._timeline.length_milliseconds
        interval = interval_start(sample.at_milliseconds - length // 2, length)
        for name, after in sample.latency.items():
            before = None if restarted else served.latency_before.get(name)
            served.latency_before[name] = after
            if not covered or interval < self._timeline.closed_until_milliseconds:
                continue
            delta = _difference(before, after)
            if delta is None:
                continue
            self._timeline.touch(interval)
            held = served.latency.setdefault(interval, {})
            held[name] = delta if name not in held else _sum(held[name], delta)

    def take(self, interval_milliseconds: int) -> list[Engine]:
        """Hand out an interval: the engines that were scraped in it."""
        taken = []
        for served in self._served.values():
            covered = served.coverage.take(interval_milliseconds)
            counts = {q: sums.take(interval_milliseconds) for q, (_, sums) in served.counts.items()}
            gauges = {n: g.take(interval_milliseconds) for n, g in served.gauges.items()}
            latency = served.latency.pop(interval_milliseconds, {})
            for amount, _ in served.counts.values():
                amount.close(interval_milliseconds)
            if covered == 0 and all(count is None for count in counts.values()):
                continue
            whole = {q: round(count) for q, count in counts.items() if count is not None}
            engine = Engine(
                engine=served.engine,
                served_model=served.served_model,
                covered_milliseconds=covered,
                input_tokens=whole.get("input_tokens"),
                cached_input_tokens=whole.get("cached_input_tokens"),
                output_tokens=whole.get("output_tokens"),
                requests={
                    q.removeprefix(REQUESTS): n for q, n in whole.items() if q.startswith(REQUESTS)
                },
                latency=latency,
                quality="ok" if "output_tokens" in whole else "missing",
            )
            for name, value in gauges.items():
                if value is not None:
                    setattr(engine, name, round(value[0], GAUGES[name]))
            taken.append(engine)
        return taken


def _difference(before: HistogramSample | None, after: HistogramSample) -> Histogram | None:
    if before is None or before.edges_seconds != after.edges_seconds:
        return None
    cumulative = [
        b - a for a, b in zip(before.cumulative_counts, after.cumulative_counts, strict=True)
    ]
    counts = [n - m for m, n in zip([0, *cumulative], cumulative, strict=False)]
    if any(count < 0 for count in counts):
        return None
    return Histogram(
        edges_seconds=[edge for edge in after.edges_seconds if edge != float("inf")],
        counts=counts,
        sum_seconds=round(max(0.0, after.sum_seconds - before.sum_seconds), 6),
    )


def _sum(one: Histogram, other: Histogram) -> Histogram:
    if one.edges_seconds != other.edges_seconds:
        return other
    return Histogram(
        edges_seconds=one.edges_seconds,
        counts=[a + b for a, b in zip(one.counts, other.counts, strict=True)],
        sum_seconds=round(one.sum_seconds + other.sum_seconds, 6),
    )
