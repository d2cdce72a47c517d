"""Writes a page that is made from the code, or says that it is out of date."""

# ruff: noqa: INP001 - it needs the folder above, so it is imported as a module

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def write_or_check(target: Path, page: Callable[[], str]) -> int:
    """Write a page, or with ``--check`` on the command line compare it; return the exit code."""
    module = f"docs.{target.stem}"
    parser = argparse.ArgumentParser(prog=module)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when out of date")
    options = parser.parse_args()
    text = page()
    if not options.check:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write(f"docs/{target.name} is out of date: run python -m {module}\n")
    return 1
