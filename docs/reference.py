"""Writes ``docs/reference.md`` from the code: ``python -m docs.reference``.

With ``--check`` it writes nothing, and fails where the file is out of date.
"""

# ruff: noqa: INP001 - it needs the folder above, so it runs as a module and is no script

import sys
from pathlib import Path
from typing import Final

from docs.reference_parts import commands, kpis, messages, metrics, refusals, samples, sources
from docs.written import write_or_check

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


def page() -> str:
    """Return the text of the page."""
    parts = [HEAD]
    for part in SECTIONS:
        parts += part.section()
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(TARGET, page))
