"""Which series of an inference server mean what: one explicit table per kind of server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Combine = Literal["sum", "mean", "max"]
EngineProfileName = Literal["vllm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """A gauge, and how those of several engines of one served model become one."""

    name: str
    combine: Combine = "sum"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """The names of one kind of server, as exposed and without their prefix.

    ``prefix`` is a regular expression. Counters and histograms are summed over every label but
    those named here, so no other label is ever kept. ``reasons`` are the values that may become
    keys; what else a server gives as a reason is counted as ``other``.
    """

    prefix: str
    model_label: str
    engine_label: str
    input_tokens: str
    cached_input_tokens: str
    output_tokens: str
    requests: str
    reason_label: str
    reasons: frozenset[str]
    created: str
    running_requests: Gauge
    waiting_requests: Gauge
    kv_cache_used_ratio: Gauge
    latency: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return every series name that is read."""
        plain = (
            *(self.input_tokens, self.cached_input_tokens, self.output_tokens, self.requests),
            *(self.created, self.running_requests.name, self.waiting_requests.name),
            self.kv_cache_used_ratio.name,
        )
        parts = (f"{name}_{part}" for name in self.latency.values() for part in ("bucket", "sum"))
        return (*plain, *parts)


PROFILES: Final[Mapping[EngineProfileName, EngineProfile]] = {
    # vLLM 0.33, its metrics module. prompt_tokens_total includes the cached ones. The hits of the
    # prefix cache are not them: they count what was looked up, also for requests that never ran.
    # kv_cache_usage_perc is a ratio of 1, whatever its name says. Ray puts "ray_" before the name
    # and an underscore in place of the colon.
    "vllm": EngineProfile(
        prefix=r"(?:ray_)?vllm[:_]",
        model_label="model_name",
        engine_label="engine",
        input_tokens="prompt_tokens_total",
        cached_input_tokens="prompt_tokens_cached_total",
        output_tokens="generation_tokens_total",
        requests="request_success_total",
        reason_label="finished_reason",
        reasons=frozenset({"stop", "length", "abort", "error", "repetition"}),
        created="generation_tokens_created",
        running_requests=Gauge(name="num_requests_running"),
        waiting_requests=Gauge(name="num_requests_waiting"),
        kv_cache_used_ratio=Gauge(name="kv_cache_usage_perc", combine="mean"),
        latency={
            "ttft": "time_to_first_token_seconds",
            "tpot": "request_time_per_output_token_seconds",
            "e2e": "e2e_request_latency_seconds",
        },
    ),
}
