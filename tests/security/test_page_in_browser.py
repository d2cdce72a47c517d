"""The page behind a login in a real browser: its stream of events is behind it, too."""

import shutil
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Browser, Error, HttpCredentials, async_playwright

from meterhouse_collector.config import PageConfig
from tests.security.http_guarded import PASSWORD, USER, secret_files
from tests.stand_ins.live_site import LiveSite

LIVE: Final = "() => document.body.dataset.end"


async def shown(browser: Browser, address: str, password: str) -> tuple[int, str, list[str]]:
    """Open the page with a password; return its status, its text and what the browser blocked."""
    login: HttpCredentials = {"username": USER, "password": password}
    context = await browser.new_context(http_credentials=login)
    page = await context.new_page()
    blocked: list[str] = []
    page.on("console", lambda message: blocked.append(message.text))
    answer = await page.goto(address)
    assert answer is not None
    if answer.ok:
        # Only the first event sets it.
        await page.wait_for_function(LIVE)
    text = await page.inner_text("body")
    await context.close()
    return answer.status, text, [each for each in blocked if "Content Security Policy" in each]


async def test_a_login_opens_the_page_and_its_events(tmp_path: Path) -> None:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is missing: run make tools", pytrace=False)
    site = LiveSite()
    for number in range(3):
        await site.interval(number, tokens=900 + number)
    config = PageConfig.model_validate({"port": 0, **secret_files(tmp_path)})
    async with site.served(config=config) as server, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            status, text, blocked = await shown(browser, server.address, PASSWORD)
            assert (status, blocked) == (200, [])
            assert "PUE" in text
            try:
                status, text, _ = await shown(browser, server.address, "wrong")
            except Error as error:
                # A browser may stop asking without showing the answer.
                status, text = 401, str(error)
            assert status == 401
            assert "PUE" not in text
        finally:
            await browser.close()
