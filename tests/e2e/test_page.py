"""The live page in a real browser: it shows what the API says, and says when it cannot.

What was seen is kept as pictures in ``build/screens``.
"""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Page, Route, async_playwright

from grafana.look import COLOURS
from meterhouse_collector.alerts.state import Observation, Rule
from meterhouse_collector.store import Store
from meterhouse_collector.web.server import PageServer
from tests.collector.collecting import MemoryStore
from tests.stand_ins.live_site import LiveSite

SCREENS = Path(__file__).parents[2] / "build" / "screens"
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
    drawn: card.querySelector("svg.figure").dataset.text,
  }])),
  cells: document.getElementById("map").dataset.states,
  levels: Object.fromEntries([...document.querySelectorAll("#waterfall tbody tr")].map(
    (row) => [row.cells[0].textContent, row.cells[2].dataset.value])),
  others: Object.fromEntries([...document.querySelectorAll("#others [data-kpi-name]")].map(
    (cell) => [cell.dataset.kpiName, cell.dataset.value])),
  path: [...document.querySelectorAll("#path-table tbody tr")].map(
    (row) => [row.cells[0].textContent, row.cells[1].textContent]),
  alerts: [...document.querySelectorAll("#alerts li")].map((entry) => entry.dataset.phase),
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


async def filled(*silent: str, store: Store | None = None) -> LiveSite:
    site = LiveSite(store)
    for number in range(8):
        await site.interval(number, tokens=200_000 + number, silent=silent if number > 4 else ())
        site.tell("n1", number, "ahaf")
        site.tell("n2", number, "ffxf")
    site.hear("n1")
    site.hear("quiet", seconds_ago=90)
    return site


async def keep(page: Page, name: str) -> None:
    """Keep a picture of the page for whoever wants to look."""
    SCREENS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENS / f"{name}.png", full_page=True)


async def shown(page: Page, server: PageServer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the API says and what the page shows of it."""
    await page.goto(server.address)
    await page.wait_for_selector("body[data-end]")
    await page.wait_for_selector("body[data-past]")
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
            assert seen["kpis"][name]["drawn"] == seen["kpis"][name]["text"]
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
        assert seen["cells"] == api["cells"]["states"] == "ahafffxf"
        levels = {level["name"]: level["device_seconds"] for level in api["levels"]}
        for name, value in seen["levels"].items():
            assert float(value) == levels[name], name
        rest = {k: v["value"] for k, v in api["kpis"].items() if k not in KPIS}
        assert {k: float(v) if v else None for k, v in seen["others"].items()} == rest
        assert ["IT", "4.00 kW"] in seen["path"]
        assert seen["width"] <= viewport["width"]
        # Nor is a figure to be looked for at the side of a table.
        for figure in await page.locator("#others td:not(:empty), #money td, #models td").all():
            box = await figure.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= viewport["width"]
        assert await page.evaluate("window.violations") == []
        assert await page.evaluate("window.shifted") < 0.02
        assert complaints == []
        await keep(page, f"page-{viewport['width']}-{'dark' if dark else 'light'}")


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
        assert seen["path"] == [["facility", "—"]]
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
        await shown(page, server)
        past = json.loads(await (await page.request.get(server.address + "api/history")).text())
        plot = page.locator('figure[data-series="pue"] .plot')
        label = await plot.get_attribute("aria-label")
        last = past["kpis"]["pue"]["value"][-1]
        assert label is not None
        assert f"now {last:.3f}" in label
        await plot.focus()
        await page.keyboard.press("Home")
        text = await page.text_content('figure[data-series="pue"] .read')
        first = past["kpis"]["pue"]["value"][0]
        assert text is not None
        assert re.fullmatch(rf"\d\d:\d\d:\d\d  {first:.3f}", text)
        images = page.locator("[role=img]")
        for position in range(await images.count()):
            assert await images.nth(position).get_attribute("aria-label")


@asynccontextmanager
async def telling(site: LiveSite) -> AsyncIterator[PageServer]:
    """Serve the page, and tell it of each new interval."""
    server = site.page()
    await server.start()
    running = asyncio.create_task(server.run(), name="page")
    try:
        yield server
    finally:
        running.cancel()
        await server.close()


async def test_a_device_that_becomes_idle_changes_its_cell_and_the_figures() -> None:
    site = await filled()
    async with telling(site) as server, browsing(DESK) as (page, complaints):
        _, before = await shown(page, server)
        assert before["cells"] == "ahafffxf"
        for number in (8, 9):
            # As a report does: what it says of devices is there before its interval is rolled up.
            site.tell("n1", number, "hhhh")
            site.tell("n2", number, "ffff")
            await site.interval(number, tokens=200_000)
        end = site.live.newest()
        assert end is not None
        await page.wait_for_selector(f'body[data-end="{end + 5}"]')
        await page.wait_for_selector('#map[data-states="hhhhffff"]')
        answer = json.loads(await (await page.request.get(server.address + "api/live")).text())
        seen = await page.evaluate(VALUES)
        idle = answer["kpis"]["idle_capacity_ratio"]["value"]
        assert float(seen["kpis"]["idle_capacity_ratio"]["raw"]) == idle
        assert complaints == []


@pytest.mark.parametrize(
    ("viewport", "dark"),
    [(DESK, False), (DESK, True), (PHONE, False)],
    ids=["light", "dark", "phone"],
)
async def test_axe_finds_nothing(viewport: dict[str, int], *, dark: bool) -> None:
    site = await filled()
    rule = Rule("idle-chat", "idle", "page", 0.0)
    site.book.observe(rule, [Observation((("pool", "chat"),), 0.4, 0.3)], site.now)
    async with site.served() as server, browsing(viewport, dark=dark) as (page, _):
        _, seen = await shown(page, server)
        assert seen["alerts"] == ["firing"]
        for summary in await page.locator("summary").all():
            await summary.click()
        await page.wait_for_selector("#nodes button")
        whole = await Axe().run(page)
        assert whole.violations_count == 0, whole.generate_report()
        await page.click("#nodes button")
        await page.wait_for_selector("#node[open] tbody tr")
        panel = await Axe().run(page)
        assert panel.violations_count == 0, panel.generate_report()
        await keep(page, f"node-{viewport['width']}-{'dark' if dark else 'light'}")


async def test_all_is_reached_by_keyboard() -> None:
    site = await filled()
    async with site.served() as server, browsing(DESK) as (page, complaints):
        await shown(page, server)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the figures"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "figures"
        for _ in range(12):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.id") == "map":
                break
        assert await page.text_content("#map-cell") == "n1 d0: active"
        for key, words in (
            ("ArrowRight", "n1 d1: held, idle"),
            ("PageDown", "n2 d0: free"),
            ("End", "n2 d3: free"),
            ("ArrowUp", "n1 d3: free"),
            ("Home", "n1 d0: active"),
        ):
            await page.keyboard.press(key)
            assert await page.text_content("#map-cell") == words
        await page.keyboard.press("Enter")
        await page.wait_for_selector('#node[open] tr[data-device="d3"]')
        assert await page.text_content("#node-name") == "n1"
        assert await page.get_attribute('#node tr[data-device="d1"]', "data-state") == "held_idle"
        assert page.url.endswith("#node=n1")
        await page.keyboard.press("Escape")
        await page.wait_for_selector("#node:not([open])", state="attached")
        assert await page.evaluate("document.activeElement.id") == "map"
        assert await page.evaluate("window.violations") == []
        assert complaints == []


async def test_a_link_opens_a_node() -> None:
    site = await filled()
    async with site.served() as server, browsing(PHONE) as (page, _):
        await page.goto(server.address + "#node=n2")
        await page.wait_for_selector('#node[open] tr[data-device="d2"][data-state="unhealthy"]')
        assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


async def test_an_alert_of_a_node_leads_to_it() -> None:
    site = await filled()
    rule = Rule("lost", "accelerator_lost", "page", 0.0)
    labels = (("node", "n2"), ("site", "site"))
    site.book.observe(rule, [Observation(labels, 1.0, 0.0)], site.now)
    async with telling(site) as server, browsing(DESK) as (page, complaints):
        await shown(page, server)
        await page.focus("#alerts button")
        await site.interval(8, tokens=200_000)
        end = site.live.newest()
        assert end is not None
        await page.wait_for_selector(f'body[data-end="{end + 5}"]')
        # What is focused stays so while the list is drawn anew.
        await page.keyboard.press("Enter")
        await page.wait_for_selector('#node[open] tr[data-device="d2"][data-state="unhealthy"]')
        panel = await Axe().run(page)
        assert panel.violations_count == 0, panel.generate_report()
        assert complaints == []


async def test_the_theme_is_switched_and_kept() -> None:
    site = await filled()
    async with site.served() as server, browsing(DESK) as (page, _):
        await shown(page, server)
        assert await page.get_attribute("html", "data-theme") == "light"
        await page.click("#theme")
        await page.click("#theme")
        assert await page.get_attribute("html", "data-theme") == "dark"
        await page.reload()
        assert await page.get_attribute("html", "data-theme") == "dark"
        assert await page.get_attribute("#theme", "aria-label") == "Theme: dark"


async def test_charts_show_another_span_and_a_table() -> None:
    site = await filled()
    async with site.served() as server, browsing(DESK) as (page, complaints):
        api, _ = await shown(page, server)
        await page.click("#past-title")
        await page.locator("#past tbody tr").nth(7).wait_for()
        assert await page.locator("#past tbody tr").count() == 8
        first = await page.text_content("#past tbody tr td:nth-child(2)")
        assert first == f"{api['latest']['kpis']['pue']['value'][0]:.3f}"
        await page.get_by_text("an hour").click()
        # This site has no store, and says so.
        await page.wait_for_function(
            "() => document.getElementById('past-note').textContent.startsWith('span: allowed')"
        )
        assert [each for each in complaints if "400" not in each] == []


async def test_the_long_windows_are_read_when_they_are_opened() -> None:
    site = await filled(store=MemoryStore())
    async with site.served() as server, browsing(DESK) as (page, complaints):
        await shown(page, server)
        assert await page.locator("#windows tbody tr").count() == 0
        await page.click("#windows-title")
        await page.wait_for_selector("#windows tbody tr")
        found = json.loads(await (await page.request.get(server.address + "api/windows")).text())
        heads = await page.locator("#windows thead th").all_text_contents()
        assert heads == ["last hour", "last day", "month to date", "trailing year"]
        rows = await page.locator("#windows tbody tr").all_text_contents()
        assert len(rows) == len(found["hour"]["kpis"])
        # Nothing is kept of this site yet, and each cell says why it has no value.
        assert "—" + found["hour"]["kpis"]["pue"]["reason"] in rows[0]
        (slo,) = await page.locator("#slos tbody tr").all_text_contents()
        assert slo.startswith("first-tokentime to first token of llama within 0.5 s, for 95.00 %")
        assert slo.endswith("—" + found["trailing_year"]["slos"][0]["reason"])
        assert "—" + found["hour"]["slos"][0]["reason"] in slo
        await keep(page, "windows")
    assert complaints == []


async def test_a_long_window_writes_each_figure_as_its_kind_is_written() -> None:
    site = await filled(store=MemoryStore())
    async with site.served() as server, browsing(PHONE) as (page, complaints):
        await shown(page, server)
        answer = await page.request.get(server.address + "api/windows")
        found = json.loads(await answer.text())
        for name, value in (("pue", 1.3286), ("idle_capacity_ratio", 0.38)):
            found["day"]["kpis"][name] |= {"value": value, "coverage": 1.0, "reason": None}

        async def answered(route: Route) -> None:
            await route.fulfill(json=found)

        await page.route("**/api/windows", answered)
        await page.click("#windows-title")
        rows = page.locator("#windows tbody tr")
        await rows.first.wait_for()
        assert (await rows.nth(0).locator("td").all_text_contents())[1] == "1.329100 % covered"
        assert (await rows.nth(1).locator("td").all_text_contents())[1] == "38.00 %100 % covered"
        # On a phone nothing is beside the screen, and each figure says of when it is.
        for cell in await rows.nth(0).locator("td").all():
            box = await cell.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= PHONE["width"]
        headed = await rows.nth(0).locator("td").nth(1).get_attribute("data-window")
        assert headed == "last day"
    assert complaints == []


async def test_ten_thousand_cells_are_on_the_map() -> None:
    site = await filled()
    for number in range(1250):
        site.tell(f"big-{number:04d}", 7, "aaahfxua")
    async with site.served() as server, browsing(DESK) as (page, complaints):
        api, seen = await shown(page, server)
        assert seen["cells"] == api["cells"]["states"]
        assert len(seen["cells"]) == 10_008
        await page.focus("#map")
        await page.keyboard.press("End")
        assert await page.text_content("#map-cell") == "big-1249 d7: active"
        await keep(page, "map-10000")
        assert complaints == []


async def test_colours_mean_what_they_mean_on_the_boards() -> None:
    site = await filled()
    async with site.served() as server, browsing(DESK) as (page, _):
        await shown(page, server)
        for name, colour in COLOURS.items():
            read = f"getComputedStyle(document.documentElement).getPropertyValue('--{name}').trim()"
            if (found := await page.evaluate(read)) != "":
                assert found == colour, name
