#!/usr/bin/env python3
"""Takes the picture of the live page: ``python -m docs.screenshot``.

Runs the demo, waits until the page has something to show, and needs Debian's chromium.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from playwright.sync_api import sync_playwright

TARGET: Final = Path(__file__).parent / "images" / "page.png"
_DEMO: Final = ("-m", "meterhouse_collector", "demo", "--port", "0", "--for", "30m")
_ADDRESS: Final = re.compile(r"http://\S+/")
_WIDTH: Final = 1280
_HEIGHT: Final = 800


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the picture; return the exit code."""
    parser = argparse.ArgumentParser(prog="docs.screenshot")
    parser.add_argument("--after", type=float, default=90.0, help="seconds of the demo to show")
    parser.add_argument("--to", type=Path, default=TARGET, metavar="FILE")
    parser.add_argument("--whole", action="store_true", help="the whole page, not its first screen")
    options = parser.parse_args(arguments)
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.stderr.write("chromium is missing: apt-get install chromium\n")
        return 1
    with subprocess.Popen((sys.executable, *_DEMO), stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603 - our own program
        try:
            address = _address(demo)
            time.sleep(options.after)
            _take(chromium, address, options.to, whole=options.whole)
        finally:
            demo.terminate()
    return 0


def _address(demo: "subprocess.Popen[str]") -> str:
    for line in demo.stdout or ():
        found = _ADDRESS.search(line)
        if found is not None:
            return found[0]
    raise SystemExit("the demo ended before it named its page")


def _take(chromium: str, address: str, target: Path, *, whole: bool) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(address)
        page.wait_for_timeout(4_000)
        target.parent.mkdir(exist_ok=True)
        page.screenshot(path=target, full_page=whole)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
