"""One measured stretch: a consumer under load, between two readings of the kernel's books."""

import math
import time
from typing import Final, NamedTuple

from tests.bench import usage
from tests.bench.consumers import Consumer, Stretch
from tests.bench.fleet import DEVICES
from tests.bench.load import Load, Order

# Before the first report of a measured interval is published.
_BEFORE_SECONDS: Final = 0.1
_LEAD_SECONDS: Final = 1.0
# The retained statuses of all nodes come first; a report before its node's is sent again by an
# agent, but not by the load.
_STATUSES_PER_SECOND: Final = 1000.0


class Plan(NamedTuple):
    """How many intervals are published before and while it is measured."""

    warm_up: int
    measured: int

    @property
    def intervals(self) -> int:
        """How many intervals are published."""
        return self.warm_up + self.measured


class Measured(NamedTuple):
    """What one consumer, its database and the broker spent on so many samples."""

    consumer: str
    samples: int
    seconds: float
    cpu_seconds: float
    influx_cpu_seconds: float
    broker_cpu_seconds: float
    pss_bytes: int
    influx_pss_bytes: int
    wire_bytes: float
    lost: int
    late_seconds: float


class _Books(NamedTuple):
    at: float
    consumer: usage.Usage
    influx: usage.Usage
    broker: usage.Usage


def measure(consumer: Consumer, load: Load, plan: Plan) -> Measured:
    """Start a consumer, publish to it, and return what it cost after the warm-up."""
    length = consumer.fleet.length_seconds
    with consumer:
        # An interval's reports are sent when it is over.
        lead = _LEAD_SECONDS + consumer.fleet.nodes / _STATUSES_PER_SECOND
        first = math.ceil((time.time() + lead - length) / length) * length
        load.begin(Order(consumer.form, first, plan.intervals))
        begin = first + length * (plan.warm_up + 1) - _BEFORE_SECONDS
        before = _books_at(consumer, begin)
        after = _books_at(consumer, begin + length * plan.measured)
        published = load.end()
        expected = published.messages * DEVICES
        whole = Stretch(first, first + length * plan.intervals)
        stored = consumer.wait_for(expected, whole)
    samples = consumer.fleet.nodes * DEVICES * plan.measured
    return Measured(
        consumer=consumer.name,
        samples=samples,
        seconds=after.at - before.at,
        cpu_seconds=after.consumer.cpu_seconds - before.consumer.cpu_seconds,
        influx_cpu_seconds=after.influx.cpu_seconds - before.influx.cpu_seconds,
        broker_cpu_seconds=after.broker.cpu_seconds - before.broker.cpu_seconds,
        pss_bytes=after.consumer.pss_bytes,
        influx_pss_bytes=after.influx.pss_bytes,
        wire_bytes=published.wire_bytes / expected,
        lost=expected - stored,
        late_seconds=published.late_seconds,
    )


def _books_at(consumer: Consumer, moment: float) -> _Books:
    while (left := moment - time.time()) > 0:
        time.sleep(min(left, 1.0))
        consumer.check()
    return _Books(
        time.time(),
        usage.of_tree(consumer.pid),
        usage.of_tree(consumer.influx.pid),
        usage.of_tree(consumer.broker.pid),
    )
