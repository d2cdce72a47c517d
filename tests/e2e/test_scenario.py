"""The demo's scenario: what it says is on the page, and it fires these alerts and no others."""

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from meterhouse_collector.demo import yesterday
from meterhouse_collector.demo.scenario import BUDGET, IDLE, LOST, Scenario
from meterhouse_collector.demo.site import Plan, write_files
from meterhouse_collector.rollup.points import group_of, sums_of
from meterhouse_collector.site.index import SiteIndex
from meterhouse_collector.site.load import load_site
from tests.e2e.test_demo import Running, command, running
from tests.e2e.test_page import SCREENS
from tests.servers import Alertmanager

WAIT_SECONDS = 90.0
LENGTH_SECONDS = 60
# What fires, and of what it tells.
FIRES = {
    f"budget:{BUDGET}:spent": {"budget": BUDGET},
    LOST: {"node": "sim-000"},
    IDLE: {"pool": "code"},
}


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    folder = tmp_path / "alertmanager"
    folder.mkdir()
    with Alertmanager(folder) as server:
        yield server


def until(found: Callable[[], Any], demo: Running) -> Any:  # noqa: ANN401 - what is found
    deadline = time.monotonic() + WAIT_SECONDS
    while not (seen := found()):
        assert time.monotonic() < deadline, demo.printed()
        time.sleep(0.2)
    return seen


@pytest.mark.timeout(300)
def test_what_it_says_happens_is_seen_and_told(tmp_path: Path, alertmanager: Alertmanager) -> None:
    arguments = ("--scenario", f"{LENGTH_SECONDS}s", "--alertmanager", alertmanager.url)
    told: dict[str, dict[str, str]] = {}

    def heard() -> set[str]:
        for alert in alertmanager.alerts():
            labels = alert["labels"]
            told[labels["rule"]] = labels
        return set(told)

    def cells(page: Any, pattern: str) -> bool:  # noqa: ANN401 - of Playwright
        heard()
        seen = page.get_attribute("#map", "data-states") or ""
        return re.fullmatch(pattern, seen) is not None

    with running(tmp_path, *arguments) as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1920, "height": 1080}, color_scheme="dark")
        page.goto(demo.address)
        # sim-000 is the first of the map, and the nodes of the pool code are the last.
        until(lambda: cells(page, r"....xxxx.{24}"), demo)
        SCREENS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENS / "scenario-fault.png")
        until(lambda: cells(page, r".{16}[hf]{16}"), demo)
        until(lambda: heard() >= set(FIRES), demo)
        page.wait_for_selector("#alerts [data-phase=firing]")
        page.screenshot(path=SCREENS / "scenario-idle.png")
        demo.wait_for(rf"^0:\d\d  alert is over: {LOST}")
        heard()
        browser.close()
        assert demo.end(signal.SIGINT) == 0
        printed = demo.printed()
    assert set(told) == set(FIRES)
    for rule, labels in FIRES.items():
        assert labels.items() <= told[rule].items()
    fired = re.findall(r"alert fires: (\S+) ", printed)
    assert sorted(fired) == sorted(FIRES), printed
    steps = re.findall(r"^\d:\d\d  (.*)$", printed, re.MULTILINE)
    assert steps[0].startswith("the budget of the site was spent yesterday")
    assert "the accelerators of sim-000 are back" in steps


def plan(folder: Path, now: float) -> Plan:
    return Plan(folder, folder / "s", 4, "127.0.0.1", 0, now, scenario_seconds=120.0)


def test_yesterday_is_a_site_in_which_everything_is_known(tmp_path: Path) -> None:
    now = 1_780_056_000.0
    files = write_files(plan(tmp_path, now))
    index = SiteIndex(load_site(files.site))
    begins = int(now) // 86_400 * 86_400 - 86_400
    starts = {point.start_seconds for point in files.past}
    assert starts == set(range(begins, int(now) // 900 * 900, 900))
    for start in starts:
        rows = [p for p in files.past if p.start_seconds == start]
        sums = {group_of(point.tags): sums_of(point) for point in rows}
        assert sum(each["installed_seconds"] for each in sums.values()) == 32 * 900
        assert sum(each["unknown_seconds"] for each in sums.values()) == 0
        assert sum(each["unpriced_seconds"] for each in sums.values()) == 0
        assert all(v >= 0 for each in sums.values() for v in each.values())
    (budget,) = index.model.budget
    spent = yesterday.spent(files.past)
    assert 0.79 * spent < float(budget.amount) <= 0.8 * spent


def test_what_happens_is_within_its_time() -> None:
    scenario = Scenario(1_000, 120.0, "sim-000", "code", ("sim-001",))
    times = [seconds for seconds, _ in scenario.steps()]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0.0, 120.0)
    instants = [int(text) for text in re.findall(r"_seconds = (\d+)", scenario.faults())]
    assert all(1_000 < instant < 1_120 for instant in instants)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--scenario", "10s"), "at least 60s"),
        (("--scenario", "--nodes", "1"), "with at least 2 --nodes"),
        (("--scenario", "--json", "out.json"), "without --json"),
    ],
)
def test_a_wrong_scenario_is_explained(
    tmp_path: Path, arguments: tuple[str, ...], word: str
) -> None:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
