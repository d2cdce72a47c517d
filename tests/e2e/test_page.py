"""The live page in a real browser: it shows what the API says, and says when it cannot."""

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Page, async_playwright

from meterhouse_collector.web.server import PageServer
from tests.stand_ins.live_site import LiveSite

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}
WALL = {"width": 3840, "height": 2160}
KPIS = ("pue", "idle_capacity_ratio", "cost_per_million_output_tokens")
SHIFTS = """
window.shifted = 0;
window.violations = [];
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifted += entry.value;
}).observe({ type: "layout-shift", buffered: true });
document.addEventListener(
  "securitypolicyviolation", (event) => window.violations.push(event.violatedDirective));
"""
VALUES = """() => ({
  end: document.body.dataset.end,
  kpis: Object.fromEntries([...document.querySelectorAll(".kpi")].map((card) => [card.dataset.kpi, {
    raw: card.querySelector("data").getAttribute("value"),
    text: card.querySelector("data").textContent,
    reason: card.querySelector(".reason").textContent,
    label: card.querySelector(".label").textContent,
    coverage: card.querySelector('[data-part="coverage"]').textContent,
    bounds: card.querySelector('[data-part="bounds"]')?.textContent,
    line: card.querySelectorAll(".line").length,
  }])),
  facility: document.getElementById("facility").getAttribute("value"),
  it: document.getElementById("it").getAttribute("value"),
  output: document.getElementById("output").textContent,
  states: Object.fromEntries([...document.querySelectorAll("#legend li")].map(
    (entry) => [entry.dataset.state, entry.querySelector("b").textContent])),
  total: document.querySelector("#money tr.sum td:last-child").textContent,
  agents: [...document.querySelectorAll("#agents li")].map(
    (entry) => [entry.querySelector(".name").textContent, entry.dataset.state]),
  width: document.documentElement.scrollWidth,
})"""


@asynccontextmanager
async def browsing(
    viewport: dict[str, int], *, dark: bool = False
) -> AsyncIterator[tuple[Page, list[str]]]:
    """Open a page in Chromium, with all it complains of."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "chromium is missing: run make tools, or apt-get install chromium", pytrace=False
        )
    complaints: list[str] = []

    def heard(message: ConsoleMessage) -> None:
        complaints.append(f"{message.type}: {message.text}")

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            page = await browser.new_page(
                viewport={"width": viewport["width"], "height": viewport["height"]},
                color_scheme="dark" if dark else "light",
            )
            page.set_default_timeout(60_000)
            page.on("console", heard)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.add_init_script(SHIFTS)
            yield page, complaints
        finally:
            await browser.close()


async def filled(*silent: str) -> LiveSite:
    site = LiveSite()
    for number in range(8):
        await site.interval(number, tokens=200_000 + number, silent=silent if number > 4 else ())
    site.hear("n1")
    site.hear("quiet", seconds_ago=90)
    return site


async def shown(page: Page, server: PageServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the API says and what the page shows of it."""
    await page.goto(server.address)
    await page.wait_for_selector("body[data-end]")
    answer = await page.request.get(server.address + "api/live")
    return json.loads(await answer.text()), await page.evaluate(VALUES)


def share(part: float) -> str:
    return f"{part * 100:.1f} %"


@pytest.mark.parametrize(
    ("viewport", "dark"),
    [(PHONE, False), (DESK, True), (WALL, False)],
    ids=["phone", "desk, dark", "wall"],
)
async def test_the_page_shows_what_the_api_says(viewport: dict[str, int], *, dark: bool) -> None:
    site = await filled()
    async with site.served() as server, browsing(viewport, dark=dark) as (page, complaints):
        api, seen = await shown(page, server)
        assert seen["end"] == str(api["window"]["end_seconds"])
        for name in KPIS:
            assert float(seen["kpis"][name]["raw"]) == api["kpis"][name]["value"]
            assert seen["kpis"][name]["label"] == api["kpis"][name]["label"]
            assert seen["kpis"][name]["coverage"] == "100 %"
            assert seen["kpis"][name]["line"] == 1
        values = {name: api["kpis"][name]["value"] for name in KPIS}
        assert seen["kpis"]["pue"]["text"] == f"{values['pue']:.3f}"
        assert seen["kpis"]["idle_capacity_ratio"]["text"] == share(values["idle_capacity_ratio"])
        cost = seen["kpis"]["cost_per_million_output_tokens"]["text"]
        assert cost == f"{values['cost_per_million_output_tokens']:.3f}"
        assert float(seen["facility"]) == api["power"]["facility_watts"]
        assert float(seen["it"]) == api["power"]["it_watts"]
        assert seen["output"] == f"{api['tokens']['output_per_second'] / 1000:.1f} k"
        assert seen["states"] == {s: share(v / api["installed"]) for s, v in api["states"].items()}
        hours = (api["window"]["end_seconds"] - api["window"]["start_seconds"]) / 3600
        assert seen["total"] == f"{api['money']['total'] / hours:.2f}"
        assert seen["agents"] == [["quiet", "silent"], ["n2", "unseen"], ["n1", "online"]]
        assert seen["width"] <= viewport["width"]
        assert await page.evaluate("window.violations") == []
        assert await page.evaluate("window.shifted") < 0.05
        assert complaints == []


async def test_where_there_is_no_value_there_is_a_reason() -> None:
    site = await filled("n1", "n2", "meters")
    async with site.served() as server, browsing(DESK) as (page, complaints):
        api, seen = await shown(page, server)
        for name in KPIS:
            assert api["kpis"][name]["value"] is None
            assert seen["kpis"][name]["raw"] is None
            assert seen["kpis"][name]["text"] == "—"
            assert seen["kpis"][name]["reason"] == api["kpis"][name]["reason"]
        idle = api["kpis"]["idle_capacity_ratio"]
        bounds = f"{share(idle['low'])} to {share(idle['high'])}"
        assert seen["kpis"]["idle_capacity_ratio"]["bounds"] == bounds
        assert complaints == []


async def test_before_the_first_interval_nothing_is_shown_as_zero() -> None:
    site = LiveSite()
    async with site.served() as server, browsing(PHONE) as (page, complaints):
        _, seen = await shown(page, server)
        for name in KPIS:
            assert seen["kpis"][name]["text"] == "—"
            assert seen["kpis"][name]["reason"] == "no interval is over yet"
        assert set(seen["states"].values()) == {"—"}
        assert seen["output"] == "—"
        assert seen["total"] == "—"
        assert complaints == []


async def test_it_says_that_it_is_stale_and_comes_back_by_itself() -> None:
    site = await filled()
    async with browsing(DESK) as (page, _):
        async with site.served() as server:
            await shown(page, server)
            await page.wait_for_selector('#connection[data-state="live"]')
            port = int(server.address.rstrip("/").rpartition(":")[2])
        await page.wait_for_selector('#connection[data-state="lost"]')
        assert await page.text_content("#connection-text") == "stale, reconnecting"
        assert await page.evaluate("document.body.hasAttribute('data-stale')")
        await site.interval(8)
        async with site.served(port):
            end = site.live.newest()
            assert end is not None
            await page.wait_for_selector(f'body[data-end="{end + 5}"]')
            await page.wait_for_selector('#connection[data-state="live"]')
            assert not await page.evaluate("document.body.hasAttribute('data-stale')")


async def test_old_figures_are_called_stale() -> None:
    site = await filled()
    site.now += 120
    async with site.served() as server, browsing(DESK) as (page, _):
        await shown(page, server)
        await page.wait_for_selector('#connection[data-state="stale"]')
        assert await page.text_content("#connection-text") == "stale"


async def test_a_chart_can_be_read_by_keyboard() -> None:
    site = await filled()
    async with site.served() as server, browsing(DESK) as (page, _):
        api, _ = await shown(page, server)
        plot = page.locator('figure[data-series="pue"] .plot')
        label = await plot.get_attribute("aria-label")
        last = api["history"]["kpis"]["pue"]["value"][-1]
        assert label is not None
        assert f"now {last:.3f}" in label
        await plot.focus()
        await page.keyboard.press("Home")
        text = await page.text_content('figure[data-series="pue"] .read')
        first = api["history"]["kpis"]["pue"]["value"][0]
        assert text is not None
        assert re.fullmatch(rf"\d\d:\d\d:\d\d  {first:.3f}", text)
        images = page.locator("[role=img]")
        for position in range(await images.count()):
            assert await images.nth(position).get_attribute("aria-label")
