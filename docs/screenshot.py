#!/usr/bin/env python3
"""Takes the pictures of the live page: ``python -m docs.screenshot``.

Runs the demo's scenario and looks at its page while something happens; needs Debian's chromium.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from playwright.sync_api import Browser, sync_playwright

TARGET: Final = Path(__file__).parent / "images"
_DEMO: Final = (
    *("-m", "meterhouse_collector", "demo", "--port", "0", "--nodes", "8"),
    *("--scenario", "--for", "30m"),
)
_ADDRESS: Final = re.compile(r"http://\S+/")
_SETTLE_MILLISECONDS: Final = 4_000


class Picture(NamedTuple):
    """One picture: how large a screen, in which theme, of what, and when in the scenario."""

    name: str
    width: int
    height: int
    dark: bool
    after_seconds: float
    hash: str = ""
    span: str = "window"


# While accelerators have failed, and then while a pool is idle.
PICTURES: Final = (
    Picture("node", 1280, 800, dark=True, after_seconds=44.0, hash="#node=sim-000"),
    Picture("page", 1920, 1080, dark=False, after_seconds=56.0),
    Picture("wall", 1920, 1080, dark=True, after_seconds=76.0, span="day"),
    Picture("phone", 390, 844, dark=False, after_seconds=84.0),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the pictures; return the exit code."""
    parser = argparse.ArgumentParser(prog="docs.screenshot")
    parser.add_argument("--to", type=Path, default=TARGET, metavar="DIR")
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("chromium is missing: apt-get install chromium\n")
        return 1
    options.to.mkdir(parents=True, exist_ok=True)
    with _demo() as address, sync_playwright() as playwright:
        begun = time.monotonic()
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for picture in PICTURES:
            time.sleep(max(0.0, begun + picture.after_seconds - time.monotonic()))
            _take(browser, address, picture, options.to / f"{picture.name}.png")
        browser.close()
    return 0


@contextmanager
def _demo() -> Iterator[str]:
    """Run the demo; yield the address of its page."""
    with subprocess.Popen((sys.executable, *_DEMO), stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - our own program
        try:
            for line in demo.stdout or ():
                found = _ADDRESS.search(line)
                if found is not None:
                    yield found[0]
                    return
            raise SystemExit("the demo ended before it named its page")
        finally:
            demo.terminate()


def _take(browser: Browser, address: str, picture: Picture, target: Path) -> None:
    page = browser.new_page(
        viewport={"width": picture.width, "height": picture.height},
        color_scheme="dark" if picture.dark else "light",
    )
    page.goto(address + picture.hash)
    page.wait_for_selector("body[data-past]")
    page.locator(f"#spans input[value={picture.span}]").check(force=True)
    page.wait_for_timeout(_SETTLE_MILLISECONDS)
    page.screenshot(path=target)
    page.close()


if __name__ == "__main__":
    sys.exit(main())
