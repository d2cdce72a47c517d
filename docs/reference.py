"""Writes ``docs/reference.md`` from the code: ``python -m docs.reference``.

With ``--check`` it writes nothing, and fails where the file is out of date.
"""

# ruff: noqa: INP001 - it needs the folder above, so it runs as a module and is no script

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from docs.reference_parts import commands, kpis, messages, metrics, refusals, samples, sources

TARGET: Final = Path(__file__).with_suffix(".md")

HEAD: Final = """\
# Reference

Written by `python -m docs.reference` from the code; a test fails when it is out of date.
Edit the code, or that script, not this file.

Contents:
[messages](#messages) ·
[KPIs](#kpis) ·
[rollup fields](#rollup-fields) ·
[detail fields](#detail-fields) ·
[formulas](#formulas) ·
[buckets](#buckets) ·
[sources](#sources) ·
[commands](#commands) ·
[refusal reasons](#refusal-reasons) ·
[metrics of the agent](#metrics-of-the-agent) ·
[metrics of the collector](#metrics-of-the-collector) ·
[config of the agent](#config-of-the-agent) ·
[config of the collector](#config-of-the-collector) ·
[site model](#site-model)
"""

SECTIONS: Final = (messages, kpis, sources, commands, refusals, metrics, samples)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or check it; return the exit code."""
    parser = argparse.ArgumentParser(prog="docs.reference")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when out of date")
    options = parser.parse_args(arguments)
    text = page()
    if not options.check:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    sys.stderr.write("docs/reference.md is out of date: run python -m docs.reference\n")
    return 1


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for part in SECTIONS:
        parts += part.section()
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main())
