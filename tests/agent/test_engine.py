"""The engine source against a real HTTP server with a vLLM's page."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from meterhouse_agent.samples import EngineSample
from meterhouse_agent.sources import SourceError, load
from meterhouse_agent.sources.engine_profiles import PROFILES
from meterhouse_agent.sources.prometheus_engine import Config, PrometheusEngineSource
from tests.servers import Port
from tests.stand_ins.vllm_server import Fault, VllmServer

SECTION = {"kind": "prometheus_engine", "engine": "vllm-1"}


@asynccontextmanager
async def opened(url: str, **more: object) -> AsyncIterator[PrometheusEngineSource]:
    source = PrometheusEngineSource(Config.model_validate(SECTION | {"url": url} | more))
    await source.open()
    try:
        yield source
    finally:
        await source.close()


async def read(source: PrometheusEngineSource) -> dict[str, EngineSample]:
    readings = await source.read(0)
    return {sample.served_model: sample for sample in readings.engines}


async def test_it_reads_what_was_served_summed_over_ranks() -> None:
    async with VllmServer("llama-70b", "qwen-7b", ranks=2) as server, opened(server.url) as source:
        first, second = server.models["llama-70b"]
        first.finish(input_tokens=2_000_000_001, output_tokens=300, cached=1500, first_token=0.02)
        second.finish(input_tokens=50, output_tokens=7, reason="length", first_token=3000.0)
        first.running, second.running, second.waiting = 3, 2, 4
        first.kv_cache_used, second.kv_cache_used = 0.5, 0.25
        before = time.time()
        samples = await read(source)
        after = time.time()
    served = server.served[-1]
    assert set(samples) == {"llama-70b", "qwen-7b"}
    sample = samples["llama-70b"]
    assert sample.engine == "vllm-1"
    assert sample.input_tokens == served.input_tokens["llama-70b"] == 2_000_000_051
    assert sample.cached_input_tokens == served.cached_input_tokens["llama-70b"] == 1500
    assert sample.output_tokens == served.output_tokens["llama-70b"] == 307
    assert sample.requests == served.requests["llama-70b"]
    assert sample.requests == {"stop": 1, "length": 1, "abort": 0, "error": 0, "repetition": 0}
    assert (sample.running_requests, sample.waiting_requests) == (5.0, 4.0)
    assert sample.kv_cache_used_ratio == 0.375
    assert sample.epoch == f"{served.process_start_seconds:.3f}"
    assert before - 0.001 <= sample.at_milliseconds / 1000 <= after
    assert abs(sample.at_milliseconds / 1000 - served.at_seconds) < 0.1
    assert set(sample.latency) == {"ttft", "tpot", "e2e"}
    to_first = sample.latency["ttft"]
    assert to_first.edges_seconds[-1] == float("inf")
    assert to_first.cumulative_counts[-2:] == (1, 2)
    assert to_first.cumulative_counts[to_first.edges_seconds.index(0.02)] == 1
    assert to_first.sum_seconds == 3000.02


async def test_no_work_yet_is_zero_and_not_missing() -> None:
    async with VllmServer() as server, opened(server.url) as source:
        sample = (await read(source))["llama-70b"]
    assert (sample.input_tokens, sample.output_tokens, sample.cached_input_tokens) == (0, 0, 0)
    assert sample.kv_cache_used_ratio == 0.0


async def test_a_restart_begins_a_new_epoch_at_zero() -> None:
    async with VllmServer() as server, opened(server.url) as source:
        server.models["llama-70b"][0].finish(input_tokens=10, output_tokens=5)
        before = (await read(source))["llama-70b"]
        again = (await read(source))["llama-70b"]
        await server.stop()
        with pytest.raises(SourceError, match="check that the server is up"):
            await source.read(0)
        server.restart()
        await server.start()
        after = (await read(source))["llama-70b"]
    assert before.epoch == again.epoch != after.epoch
    assert (before.output_tokens, after.output_tokens) == (5, 0)


async def test_names_of_ray_are_the_same_names() -> None:
    async with VllmServer(ranks=2) as server, opened(server.url) as source:
        server.ray = True
        server.models["llama-70b"][1].finish(input_tokens=10, output_tokens=5)
        sample = (await read(source))["llama-70b"]
    assert (sample.input_tokens, sample.output_tokens) == (10, 5)
    # The process that serves the page is Ray's: what counts began when the counters did.
    assert sample.epoch == f"{server.process_start_seconds + 3.25:.3f}"


async def test_several_processes_have_no_epoch() -> None:
    async with VllmServer() as server, opened(server.url) as source:
        server.multiprocess = True
        sample = (await read(source))["llama-70b"]
    assert sample.epoch == ""
    assert sample.output_tokens == 0


async def test_personal_labels_are_never_kept() -> None:
    async with VllmServer() as server, opened(server.url) as source:
        server.extra_labels = ',user="jane.doe",pod="llm-7"'
        server.models["llama-70b"][0].finish(input_tokens=10, output_tokens=5)
        readings = await source.read(0)
    assert readings.engines[0].output_tokens == 5
    assert "jane" not in repr(readings)
    assert "llm-7" not in repr(readings)


async def test_only_the_served_models_asked_for() -> None:
    async with VllmServer("a", "b") as server:
        async with opened(server.url, served_models=["b"]) as source:
            assert set(await read(source)) == {"b"}
        async with opened(server.url, served_models=["c"]) as source:
            with pytest.raises(SourceError, match="none of served_models is there, but a, b"):
                await source.read(0)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("endless", "longer than 4194304 bytes"),
        ("redirect", "redirect 302, which is not followed"),
        ("json", "application/json is no metrics page"),
        ("quoted", "no metrics page, it begins with"),
        ("html", "no metrics page, it begins with"),
        ("status_500", "HTTP status 500"),
        ("no_engine", "no series of a served model"),
        ("cut", "the page was cut"),
        ("slow", r"no whole page in 0\.9 s"),
    ],
)
async def test_a_fault_is_an_error_and_passes(fault: Fault, text: str) -> None:
    async with VllmServer() as server, opened(server.url, deadline="1s") as source:
        server.fault = fault
        server.slow_seconds = 1.5
        begun = time.monotonic()
        with pytest.raises(SourceError, match=rf"engine vllm-1: GET {server.url}: .*{text}"):
            await source.read(0)
        assert time.monotonic() - begun < 1.4
        server.fault = None
        assert set(await read(source)) == {"llama-70b"}


@pytest.mark.parametrize(
    "answer",
    [
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n# TYPE\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"",
    ],
)
async def test_a_broken_answer_is_an_error(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, opened(f"http://127.0.0.1:{port}/metrics", deadline="2s") as source:
        with pytest.raises(SourceError, match="engine vllm-1"):
            await source.read(0)


async def test_a_server_that_is_down_is_an_error() -> None:
    port = Port()
    async with opened(f"http://127.0.0.1:{port.number}/metrics") as source:
        with pytest.raises(SourceError, match="check that the server is up"):
            await source.read(0)
    port.release()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"url": "ftp://host/metrics"}, "http://HOST"),
        ({"url": "/metrics"}, "http://HOST"),
        ({"url": "http://jane:secret@host/metrics"}, "no user or password"),
        ({"engine": "My Engine"}, "engine"),
        ({"profile": "sglang"}, "profile"),
        ({"served_models": []}, "served_models"),
        ({"deadline": "50ms"}, "above 100ms"),
        ({"bearer": "x"}, "bearer"),
    ],
)
def test_a_wrong_section_is_refused(more: dict[str, object], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        Config.model_validate(SECTION | {"url": "http://host:8000/metrics"} | more)


def test_the_module_is_a_source_module() -> None:
    module = load("prometheus_engine")
    config = module.Config.model_validate(SECTION | {"url": "http://host:8000/metrics"})
    assert config.sample_every == 5.0
    assert module.create(config, node="n1").things().engines == ("vllm-1",)


def test_the_client_is_loaded_by_open_only() -> None:
    code = (
        "import sys, meterhouse_agent.sources.prometheus_engine;sys.exit('aiohttp' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_every_profile_names_what_it_reads() -> None:
    for profile in PROFILES.values():
        assert len(set(profile.names())) == len(profile.names())
