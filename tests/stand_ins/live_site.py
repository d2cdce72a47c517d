"""A small site whose live sums are filled without agents, and its page on a free port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from prometheus_client import CollectorRegistry

from meterhouse_agent import wire
from meterhouse_collector.agents import Agent
from meterhouse_collector.alerts.book import Book
from meterhouse_collector.config import PageConfig
from meterhouse_collector.ledger import Entry
from meterhouse_collector.live import Live, Pace
from meterhouse_collector.rows import EngineRow, MeterRow, NodeRow, Served, Share
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import parse_site
from meterhouse_collector.store import Store
from meterhouse_collector.telemetry import Telemetry
from meterhouse_collector.web.api import Answers
from meterhouse_collector.web.fleet import LETTERS
from meterhouse_collector.web.long_windows import LongWindows
from meterhouse_collector.web.server import PageServer

START: Final = 1_780_000_000
LENGTH: Final = 5
PACE: Final = Pace(LENGTH, 3.0, 300.0, 300.0)
SITE: Final = """
name = "site"
currency = "EUR"
time_zone = "UTC"
[[pool]]
name = "chat"
cluster = "c1"
tenant = "acme"
[[pool]]
name = "spare"
cluster = "c1"
[[hardware]]
accelerator_model = "M"
vendor = "nvidia"
price_per_device = 25000
life = "1825d"
[[asset]]
node = "n1"
pool = "chat"
accelerator_model = "M"
devices = ["d0", "d1", "d2", "d3"]
in_service = 2026-01-01
[[asset]]
node = "n2"
pool = "spare"
accelerator_model = "M"
devices = 4
in_service = 2026-01-01
[[slo]]
name = "first-token"
served_model = "llama"
metric = "time_to_first_token"
threshold = "500ms"
objective_ratio = 0.95
[[engine]]
name = "e1"
served_model = "llama"
devices = ["n1/d0", "n1/d1"]
[[meter]]
name = "utility"
role = "boundary"
[[meter]]
name = "pdu"
role = "it"
category = 2
[[tariff]]
per_kwh = 0.2
valid_from = 2026-01-01
"""


def _share(holder: str, milliseconds: tuple[int, int, int, int, int], watts: float) -> Share:
    active, held, free, unhealthy, unknown = (watts * each / 1000 for each in milliseconds)
    joules = (active, held, free, unhealthy, unknown)
    return Share("M", holder, milliseconds, joules, "counter", "ok")


def _meter(energy: float) -> MeterRow:
    return MeterRow(length_milliseconds=5000, covered_milliseconds=5000, energy_joules=energy)


def _entry(node: str, start: int, **parts: object) -> Entry:
    rows = {"node_row": None, "meters": {}, "engines": {}, **parts}
    return Entry("site", node, start, rows=[], **rows)  # type: ignore[arg-type] # given below


class LiveSite:
    """The site, and what a collector would know of it live; its clock stands still."""

    def __init__(self, store: Store | None = None, text: str = SITE) -> None:
        self.index = SiteIndex(parse_site(text, "site.toml"))
        self.now = float(START)
        self.bugs: list[str] = []
        self.agents: dict[str, Agent] = {}
        self.live = Live(
            self.index,
            PACE,
            write=lambda _: None,
            bug=self.bugs.append,
            clock=lambda: self.now,
        )
        self.book = Book()
        self.answers = Answers(
            self.live,
            self.agents,
            self.index,
            book=self.book,
            store=store,
            long_windows=None if store is None else self._long_windows(store),
            clock=lambda: self.now,
        )
        self.telemetry = Telemetry(CollectorRegistry())

    def _long_windows(self, store: Store) -> LongWindows:
        return LongWindows(store, self.index, clock=lambda: self.now)

    def page(
        self, port: int = 0, *, send_seconds: float = 10.0, config: PageConfig | None = None
    ) -> PageServer:
        """Return a page on a free port, or as a config says, not yet started."""
        return PageServer(
            config or PageConfig(port=port),
            self.answers,
            self.telemetry.registry,
            send_seconds=send_seconds,
            refused=lambda reason: self.telemetry.page_refused.labels(reason).inc(),
        )

    @asynccontextmanager
    async def served(
        self, port: int = 0, config: PageConfig | None = None
    ) -> AsyncIterator[PageServer]:
        """Serve the page, without telling clients of what is new."""
        page = self.page(port, config=config)
        await page.start()
        try:
            yield page
        finally:
            await page.close()

    def hear(self, node: str, *, seconds_ago: float = 1.0, state: str = "online") -> Agent:
        """Have an agent report and tell its status."""
        agent = self.agents.setdefault(node, Agent())
        agent.state = "offline" if state == "offline" else "online"
        agent.report_seconds = agent.status_seconds = self.now - seconds_ago
        return agent

    def tell(self, node: str, number: int, letters: str, *, watts: float = 300.0) -> None:
        """Have the map hear a report: a letter for each device, which is its state all through."""
        columns = {
            state: [LENGTH * 1000 if letter == of else 0 for of in letters]
            for letter, state in zip(LETTERS, wire.STATES, strict=True)
        }
        report = wire.Report(
            schema=wire.SCHEMA,
            site="site",
            node=node,
            start_seconds=START + number * LENGTH,
            length_seconds=LENGTH,
            inventory_hash=node,
            accelerators=wire.Accelerators(
                state_milliseconds=columns,
                power_watts=[watts] * len(letters),
                sm_activity_ratio=[0.5] * len(letters),
            ),
        )
        devices = [
            wire.Device(device=f"d{at}", vendor="nvidia", accelerator_model="M")
            for at in range(len(letters))
        ]
        self.answers.fleet.take(report, wire.Inventory(devices=devices))

    async def interval(
        self, number: int, *, tokens: int = 1000, silent: tuple[str, ...] = ()
    ) -> None:
        """Take in all rows of one interval but those of the silent, and let its grace pass."""
        start = START + number * LENGTH
        self.now = max(self.now, start + LENGTH + PACE.grace_seconds)
        if "n1" not in silent:
            shares = (
                _share("engine:e1", (8000, 2000, 0, 0, 0), 400.0 + number),
                _share("tenant:acme", (5000, 0, 5000, 0, 0), 300.0),
            )
            self.live.add(_entry("n1", start, node_row=NodeRow(5000, shares)))
            served = Served("llama", 5000, tokens * 4, tokens, tokens)
            self.live.add(_entry("n1", start, engines={"e1": EngineRow(5000, (served,))}))
        if "n2" not in silent:
            row = NodeRow(5000, (_share("none", (0, 0, 20_000, 0, 0), 75.0),))
            self.live.add(_entry("n2", start, node_row=row))
        if "meters" not in silent:
            meters = {"utility": _meter(26_017.0 + 100 * number), "pdu": _meter(20_000.0)}
            self.live.add(_entry("facility", start, meters=meters))
        await self.live.roll()
        assert not self.bugs
