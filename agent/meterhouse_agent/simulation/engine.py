"""A node's inference engine: tokens, requests and latencies as exact functions of utilization."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

from meterhouse_agent.samples import EngineSample, HistogramSample
from meterhouse_agent.simulation.device import DeviceModel
from meterhouse_agent.simulation.faults import instants_of
from meterhouse_agent.simulation.fleet import FleetSpec, engine_name, served_model

TTFT_EDGES_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, float("inf"))
# The latency bucket of each request, gone round; a share of a count would not be monotone.
_BUCKETS: Final = (1, 2, 0, 2, 3, 1, 2, 2, 4, 1, 2, 3, 1, 2, 1, 5, 2, 3, 1, 6)
_BUCKET_MILLISECONDS: Final = (40, 80, 180, 350, 700, 1600, 4000)
_LENGTH_EVERY: Final = 10
_MICRO: Final = 1_000_000
_RUNNING_MAX: Final = 32


class EngineCounts(NamedTuple):
    """What an engine has counted; ``ttft_counts`` per bucket, the last above the last edge."""

    output_tokens: int
    input_tokens: int
    cached_input_tokens: int
    stop_requests: int
    length_requests: int
    ttft_counts: tuple[int, ...]
    ttft_sum_milliseconds: int

    def plus(self, other: "EngineCounts", sign: int = 1) -> "EngineCounts":
        """Return the sum of both, or with sign -1 the difference."""
        return EngineCounts(
            self.output_tokens + sign * other.output_tokens,
            self.input_tokens + sign * other.input_tokens,
            self.cached_input_tokens + sign * other.cached_input_tokens,
            self.stop_requests + sign * other.stop_requests,
            self.length_requests + sign * other.length_requests,
            tuple(a + sign * b for a, b in zip(self.ttft_counts, other.ttft_counts, strict=True)),
            self.ttft_sum_milliseconds + sign * other.ttft_sum_milliseconds,
        )


def counts(spec: FleetSpec, microtokens: int) -> EngineCounts:
    """Return an engine's counters after so many millionths of an output token."""
    output = microtokens // _MICRO
    inputs = microtokens * spec.input_per_mille_of_output // 1000 // _MICRO
    requests = output // spec.output_tokens_per_request
    rounds, rest = divmod(requests, len(_BUCKETS))
    buckets = tuple(
        rounds * _BUCKETS.count(bucket) + _BUCKETS[:rest].count(bucket)
        for bucket in range(len(TTFT_EDGES_SECONDS))
    )
    return EngineCounts(
        output_tokens=output,
        input_tokens=inputs,
        cached_input_tokens=inputs * spec.cached_per_mille_of_input // 1000,
        stop_requests=requests - requests // _LENGTH_EVERY,
        length_requests=requests // _LENGTH_EVERY,
        ttft_counts=buckets,
        ttft_sum_milliseconds=sum(
            count * each for count, each in zip(buckets, _BUCKET_MILLISECONDS, strict=True)
        ),
    )


class EngineModel:
    """One node's engine; its counters are zero at the origin and after each restart."""

    def __init__(self, spec: FleetSpec, node: str, devices: Sequence[DeviceModel]) -> None:
        self.engine = engine_name(node)
        self.served_model = served_model(spec, node)
        self.restarts = tuple(
            restart + spec.origin_milliseconds
            for restart in instants_of(spec, "engine_restart", node)
        )
        self._spec = spec
        self._devices = tuple(device for device in devices if device.engine_held)

    def served(self, at_milliseconds: int) -> EngineCounts:
        """Return what all lives of the engine counted since the origin."""
        total = counts(self._spec, 0)
        start = self._spec.origin_milliseconds
        for restart in self.restarts:
            if restart < at_milliseconds:
                total = total.plus(self._life(start, restart))
                start = restart
        return total.plus(self._life(start, at_milliseconds))

    def sample(self, at_milliseconds: int) -> EngineSample:
        """Return the engine's counters and gauges at a tick."""
        past = [restart for restart in self.restarts if restart < at_milliseconds]
        start = past[-1] if past else self._spec.origin_milliseconds
        life = self._life(start, at_milliseconds)
        load = self._load(at_milliseconds - 1)
        return EngineSample(
            engine=self.engine,
            served_model=self.served_model,
            at_milliseconds=at_milliseconds,
            epoch=str(start // 1000),
            input_tokens=life.input_tokens,
            cached_input_tokens=life.cached_input_tokens,
            output_tokens=life.output_tokens,
            requests={"stop": life.stop_requests, "length": life.length_requests},
            running_requests=float(int(load * _RUNNING_MAX)),
            waiting_requests=float(int(max(0.0, load - 0.8) * _RUNNING_MAX)),
            kv_cache_used_ratio=round(load * 0.8, 4),
            latency={
                "ttft": HistogramSample(
                    edges_seconds=TTFT_EDGES_SECONDS,
                    cumulative_counts=tuple(accumulate(life.ttft_counts)),
                    sum_seconds=life.ttft_sum_milliseconds / 1000,
                )
            },
        )

    def _life(self, start: int, end: int) -> EngineCounts:
        # Tokens a second times per mille times milliseconds are millionths of a token.
        served = sum(
            device.utilization_per_mille_milliseconds(end)
            - device.utilization_per_mille_milliseconds(start)
            for device in self._devices
        )
        return counts(self._spec, self._spec.tokens_per_second * served)

    def _load(self, at_milliseconds: int) -> float:
        load = sum(device.utilization_per_mille(at_milliseconds) for device in self._devices)
        return load / (1000 * len(self._devices))
