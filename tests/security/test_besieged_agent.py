"""One agent with every hostile engine and gateway at once: its own node is measured on."""

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from tests.security.besieged import Site, besieged
from tests.security.hostile_servers import ENGINES, GATEWAYS, engine, gateway, listener

MEMORY_BYTES: Final = 400_000_000
ROUNDS: Final = "meterhouse_agent_source_rounds_total"


async def test_hostile_sources_never_silence_their_node(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        forbidden, came = await stack.enter_async_context(listener())
        engines = [await stack.enter_async_context(engine(name, forbidden)) for name in ENGINES]
        gateways = [await stack.enter_async_context(gateway(GATEWAYS[name])) for name in GATEWAYS]
        sources = [
            *(engine_section(number, port) for number, port in enumerate(engines)),
            *(gateway_section(number, port) for number, port in enumerate(gateways)),
        ]
        await asyncio.to_thread(suffer, tmp_path, sources)
        assert came == []


def suffer(folder: Path, sources: list[dict[str, object]]) -> None:
    """Run the site until each hostile source has failed more than once."""
    with besieged(folder, *sources) as site:
        for _ in range(3):
            site.goes_on()
        assert failed(site) >= len(sources)
        assert site.rows("hostile-0", "engine") == {}
        assert site.rows("meter-0", "meter") == {}
        assert resident_bytes(site.measures.pid) < MEMORY_BYTES


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def failed(site: Site) -> float:
    """Return how many rounds of sources came to nothing."""
    outcomes = ("failed", "late", "unresponsive", "absent")
    return sum(site.measures.metric(ROUNDS, outcome=outcome) for outcome in outcomes)


def engine_section(number: int, port: int) -> dict[str, object]:
    """Return the section of an inference server."""
    url = f"http://127.0.0.1:{port}/metrics"
    times = {"sample_every": "1s", "deadline": "500ms"}
    return {"kind": "prometheus_engine", "engine": f"hostile-{number}", "url": url, **times}


def gateway_section(number: int, port: int) -> dict[str, object]:
    """Return the section of a gateway with one meter."""
    register = {"address": 7, "type": "uint64", "joules_per_count": 1e-9}
    meter = {"name": f"meter-{number}", "unit_id": 1, "profile": "custom", "energy": register}
    times = {"sample_every": "1s", "deadline": "500ms", "timeout": "200ms"}
    return {"kind": "modbus", "host": "127.0.0.1", "port": port, **times, "meters": [meter]}
