"""A real HTTP server with the metrics page of a vLLM engine, and the log of what it served.

The page has the families, labels and order of a real one, so that its size and its traps are real:
a histogram whose name ends in ``_total``, gauges that end in ``_created``, families of the Python
process, values in scientific notation.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from aiohttp import web
from prometheus_client import utils

from tests.servers import Port

Fault = Literal[
    "endless", "redirect", "json", "quoted", "html", "status_500", "slow", "cut", "no_engine"
]
REASONS: Final = ("stop", "length", "abort", "error", "repetition")
TTFT_EDGES: Final = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
TOKEN_EDGES: Final = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
REQUEST_EDGES: Final = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
SIZE_EDGES: Final = tuple(m * 10.0**e for e in range(5) for m in (1, 2, 5))
# Name, edges, help; in the order of the page.
HISTOGRAMS: Final = (
    ("iteration_tokens_total", SIZE_EDGES, "Histogram of number of tokens per engine_step."),
    ("request_prompt_tokens", SIZE_EDGES, "Number of prefill tokens processed."),
    ("request_generation_tokens", SIZE_EDGES, "Number of generation tokens processed."),
    ("request_max_num_generation_tokens", SIZE_EDGES, "Maximum number of requested tokens."),
    ("request_params_n", (1.0, 2.0, 5.0, 10.0, 20.0), "Histogram of the n request parameter."),
    ("time_to_first_token_seconds", TTFT_EDGES, "Histogram of time to first token in seconds."),
    ("inter_token_latency_seconds", TOKEN_EDGES, "Histogram of inter token latency in seconds."),
    ("request_time_per_output_token_seconds", TOKEN_EDGES, "Time per output token in seconds."),
    ("e2e_request_latency_seconds", REQUEST_EDGES, "Histogram of e2e request latency in seconds."),
    ("request_queue_time_seconds", REQUEST_EDGES, "Time spent in WAITING phase for request."),
    ("request_inference_time_seconds", REQUEST_EDGES, "Time spent in RUNNING phase for request."),
    ("request_prefill_time_seconds", REQUEST_EDGES, "Time spent in PREFILL phase for request."),
    ("request_decode_time_seconds", REQUEST_EDGES, "Time spent in DECODE phase for request."),
)
PYTHON_PAGE: Final = """\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 11201.0
python_gc_objects_collected_total{generation="1"} 2245.0
python_gc_objects_collected_total{generation="2"} 1532.0
# HELP python_info Python platform information
# TYPE python_info gauge
python_info{implementation="CPython",major="3",minor="12",patchlevel="11",version="3.12.11"} 1.0
# HELP process_virtual_memory_bytes Virtual memory size in bytes.
# TYPE process_virtual_memory_bytes gauge
process_virtual_memory_bytes 1.1484758016e+011
# HELP process_resident_memory_bytes Resident memory size in bytes.
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 5.012881408e+09
"""
# Further counters of the page, which stand still here.
OTHER_COUNTERS: Final = (
    ("num_preemptions", "Cumulative number of preemption from the engine."),
    ("prefix_cache_queries", "Prefix cache queries, in terms of number of queried tokens."),
    ("prefix_cache_hits", "Prefix cache hits, in terms of number of cached tokens."),
    ("external_prefix_cache_queries", "External prefix cache queries from KV connector."),
    ("external_prefix_cache_hits", "External prefix cache hits from KV connector."),
    ("mm_cache_queries", "Multi-modal cache queries, in terms of number of queried items."),
    ("mm_cache_hits", "Multi-modal cache hits, in terms of number of cached items."),
)


def _number(value: float) -> str:
    """Write a number as the real page does: 2.5e+07, not 25000000.0."""
    return str(utils.floatToGoString(value))  # type: ignore[no-untyped-call] # prometheus_client


@dataclass(slots=True)
class Observations:
    """A histogram as the server keeps it: counts per bucket, the last above the last edge."""

    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def add(self, value: float) -> None:
        """Take one observation."""
        at = next((at for at, edge in enumerate(self.edges) if value <= edge), len(self.edges))
        self.counts[at] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, int]]:
        """Return label and count of each bucket, as the page has them."""
        labels = [*map(repr, self.edges), "+Inf"]
        return [(label, sum(self.counts[: at + 1])) for at, label in enumerate(labels)]


@dataclass(slots=True)
class EngineTruth:
    """What one engine (one data-parallel rank) of one served model has done since its start."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    running: int = 0
    waiting: int = 0
    kv_cache_used: float = 0.0
    requests: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    histograms: dict[str, Observations] = field(
        default_factory=lambda: {name: Observations(edges) for name, edges, _ in HISTOGRAMS}
    )

    def finish(
        self,
        *,
        input_tokens: int,
        output_tokens: int,
        cached: int = 0,
        reason: str = "stop",
        first_token: float = 0.05,
        per_token: float = 0.01,
    ) -> None:
        """Serve one request from prompt to end; times in seconds."""
        self.input_tokens += input_tokens
        self.cached_input_tokens += cached
        self.output_tokens += output_tokens
        self.requests[reason] += 1
        self.histograms["time_to_first_token_seconds"].add(first_token)
        self.histograms["request_time_per_output_token_seconds"].add(per_token)
        self.histograms["e2e_request_latency_seconds"].add(first_token + per_token * output_tokens)
        self.histograms["request_prompt_tokens"].add(input_tokens)


@dataclass(frozen=True, slots=True)
class ServedPage:
    """The truth of one page: counts per served model, at a UTC time in seconds."""

    at_seconds: float
    process_start_seconds: float
    input_tokens: dict[str, int]
    cached_input_tokens: dict[str, int]
    output_tokens: dict[str, int]
    requests: dict[str, dict[str, int]]


class VllmServer:
    """An engine on a free port of the loopback; ``models`` by name, each with its ranks."""

    def __init__(self, *models: str, ranks: int = 1) -> None:
        self._names = models or ("llama-70b",)
        self._ranks = ranks
        self.models: dict[str, list[EngineTruth]] = {}
        self.process_start_seconds = 0.0
        self.fault: Fault | None = None
        self.slow_seconds = 30.0
        self.multiprocess = False
        self.ray = False
        self.extra_labels = ""
        self.requests_seen = 0
        self.served: list[ServedPage] = []
        self._port = Port()
        self.url = f"http://127.0.0.1:{self._port.number}/metrics"
        self._runner: web.AppRunner | None = None
        self.restart()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._port.release()

    async def start(self) -> None:
        """Listen; after a stop on the same port again."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port.number).start()

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def restart(self) -> None:
        """Begin again: every count at zero, with a later process start."""
        self.models = {name: [EngineTruth() for _ in range(self._ranks)] for name in self._names}
        self.process_start_seconds = max(time.time(), self.process_start_seconds + 0.01)

    def page(self) -> str:
        """Write the whole page."""
        text = "".join(line + "\n" for line in self._lines())
        if not self.multiprocess:
            text = (
                f"{PYTHON_PAGE}"
                "# HELP process_start_time_seconds Start time of the process since unix epoch.\n"
                "# TYPE process_start_time_seconds gauge\n"
                f"process_start_time_seconds {_number(self.process_start_seconds)}\n{text}"
            )
        return text.replace("vllm:", "ray_vllm_") if self.ray else text

    def _lines(self) -> Iterable[str]:
        yield from self._gauge(
            "num_requests_running", "Number of requests in model execution.", "running"
        )
        yield from self._gauge(
            "num_requests_waiting", "Number of requests waiting to be processed.", "waiting"
        )
        yield from self._gauge(
            "kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", "kv_cache_used"
        )
        for name, text in OTHER_COUNTERS:
            yield from self._counter(name, text, "")
        yield from self._counter(
            "prompt_tokens", "Number of prefill tokens processed.", "input_tokens"
        )
        yield from self._counter(
            "prompt_tokens_cached", "Number of cached prompt tokens.", "cached_input_tokens"
        )
        yield from self._counter(
            "generation_tokens", "Number of generation tokens processed.", "output_tokens"
        )
        yield from self._requests()
        for name, _, text in HISTOGRAMS:
            yield from self._histogram(name, text)

    def _each(self) -> Iterable[tuple[str, EngineTruth]]:
        for name, ranks in self.models.items():
            for rank, truth in enumerate(ranks):
                yield f'engine="{rank}",model_name="{name}"{self.extra_labels}', truth

    def _head(self, name: str, text: str, kind: str) -> Iterable[str]:
        yield f"# HELP vllm:{name} {text}"
        yield f"# TYPE vllm:{name} {kind}"

    def _gauge(self, name: str, text: str, field_name: str) -> Iterable[str]:
        yield from self._head(name, text, "gauge")
        for labels, truth in self._each():
            yield f"vllm:{name}{{{labels}}} {_number(getattr(truth, field_name))}"

    def _created(self, name: str, text: str, labels: Iterable[str]) -> Iterable[str]:
        if not self.multiprocess:
            yield from self._head(f"{name}_created", text, "gauge")
            at = _number(self.process_start_seconds + 3.25)
            for entry in labels:
                yield f"vllm:{name}_created{{{entry}}} {at}"

    def _counter(self, name: str, text: str, field_name: str) -> Iterable[str]:
        yield from self._head(f"{name}_total", text, "counter")
        for labels, truth in self._each():
            value = float(getattr(truth, field_name)) if field_name else 0.0
            yield f"vllm:{name}_total{{{labels}}} {_number(value)}"
        yield from self._created(name, text, (labels for labels, _ in self._each()))

    def _requests(self) -> Iterable[str]:
        name, text = "request_success", "Count of successfully processed requests."
        yield from self._head(f"{name}_total", text, "counter")
        for labels, truth in self._each():
            for reason, count in truth.requests.items():
                entry = labels.replace(",model", f',finished_reason="{reason}",model')
                yield f"vllm:{name}_total{{{entry}}} {_number(count)}"
        yield from self._created(name, text, (labels for labels, _ in self._each()))

    def _histogram(self, name: str, text: str) -> Iterable[str]:
        yield from self._head(name, text, "histogram")
        for labels, truth in self._each():
            observed = truth.histograms[name]
            for edge, count in observed.cumulative():
                entry = labels.replace(",model", f',le="{edge}",model')
                yield f"vllm:{name}_bucket{{{entry}}} {_number(count)}"
            yield f"vllm:{name}_count{{{labels}}} {_number(sum(observed.counts))}"
            yield f"vllm:{name}_sum{{{labels}}} {_number(observed.total)}"
        yield from self._created(name, text, (labels for labels, _ in self._each()))

    def _log(self) -> None:
        def total(field_name: str) -> dict[str, int]:
            return {
                name: sum(getattr(truth, field_name) for truth in ranks)
                for name, ranks in self.models.items()
            }

        self.served.append(
            ServedPage(
                at_seconds=time.time(),
                process_start_seconds=self.process_start_seconds,
                input_tokens=total("input_tokens"),
                cached_input_tokens=total("cached_input_tokens"),
                output_tokens=total("output_tokens"),
                requests={
                    name: {
                        reason: sum(truth.requests[reason] for truth in ranks) for reason in REASONS
                    }
                    for name, ranks in self.models.items()
                },
            )
        )

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        self.requests_seen += 1
        if self.fault == "endless":
            return await self._endless(request)
        if self.fault == "redirect":
            raise web.HTTPFound("/metrics?again=1")
        if self.fault == "slow":
            await asyncio.sleep(self.slow_seconds)
        elif self.fault not in (None, "cut"):
            return self._no_page(self.fault)
        self._log()
        text = self.page()
        if self.fault == "cut":
            # In the middle of the output tokens: a prefix of a number is a number, too.
            text = text[: text.index(" ", text.index("vllm:generation_tokens_total{")) + 2]
        return web.Response(
            body=text.encode(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    def _no_page(self, fault: Fault) -> web.Response:
        if fault == "json":
            return web.json_response({"object": "error", "message": "not here"})
        if fault == "quoted":
            return web.Response(text=json.dumps(self.page()), content_type="text/plain")
        if fault == "html":
            return web.Response(text="<html>It works!</html>", content_type="text/plain")
        if fault == "status_500":
            return web.Response(status=500, text="Internal Server Error")
        return web.Response(text=PYTHON_PAGE)

    async def _endless(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for line in self._forever():
            await response.write(line)
        return response

    async def _forever(self) -> AsyncIterator[bytes]:
        while True:
            yield b"# HELP nothing more of the same\n" * 2000
            await asyncio.sleep(0)
