"""Each row of the alert catalogue has a page that says what it means, where to look, what to do."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow
from meterhouse_collector.alerts.words import Links, board_link, figure, runbook_link
from tests.docs.pages import ROOT, blocks

FOLDER: Final = ROOT / "docs" / "runbooks" / "alerts"
INDEX: Final = FOLDER.with_suffix(".md")
HEADINGS: Final = ["What it means", "What to look at", "What to do"]
ROWS: Final = [pytest.param(row, id=row.name) for row in CATALOGUE.values()]


def text_of(row: AlertRow) -> str:
    return (FOLDER / f"{row.name}.md").read_text(encoding="utf-8")


def test_there_is_a_page_for_each_row_and_no_other() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.md" for name in CATALOGUE}


@pytest.mark.parametrize("row", ROWS)
def test_a_page_has_its_three_headings_with_something_below(row: AlertRow) -> None:
    text = text_of(row)
    assert text.startswith(f"# `{row.name}`\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == HEADINGS
    means, look, do = re.split(r"^## .+$", text, flags=re.MULTILINE)[1:]
    assert len(means.split()) > 10
    assert re.search(r"^1\. ", look, re.MULTILINE)
    assert re.search(r"^1\. ", do, re.MULTILINE)
    # What is read at night is short.
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("row", ROWS)
def test_a_page_says_what_the_catalogue_says(row: AlertRow) -> None:
    head = text_of(row).splitlines()[2]
    assert head.startswith(f"Severity {row.severity}; ")
    assert head.endswith(f"; board *{row.board}*.")
    assert f"Compared: {row.compares}." in text_of(row)
    if row.limit is not None:
        assert f"fires {row.side} {figure(row.limit, row.unit)}" in head
        if row.for_seconds:
            assert f" for {figure(row.for_seconds, 'seconds')}" in head


@pytest.mark.parametrize("row", ROWS)
def test_a_page_has_commands_and_only_of_those_that_are_tried(row: AlertRow) -> None:
    found = list(blocks(FOLDER / f"{row.name}.md"))
    assert any(block.commands for block in found)
    assert {(block.language, block.words) for block in found} == {("console", ("host",))}


@pytest.mark.parametrize("row", ROWS)
def test_the_links_of_a_page_resolve(row: AlertRow) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", text_of(row)):
        assert (FOLDER / link).resolve().exists(), link


@pytest.mark.parametrize("row", ROWS)
def test_the_index_leads_to_each_page(row: AlertRow) -> None:
    line = f"| [`{row.name}`](alerts/{row.name}.md) | {row.severity} | {row.compares} |"
    assert f"{line} {row.board} |\n" in INDEX.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS)
def test_the_links_of_an_alert_lead_to_its_board_and_page(row: AlertRow) -> None:
    assert (ROOT / runbook_link(row, Links())).is_file()
    base = Links("https://grafana.example", "https://docs.example/runbooks")
    assert runbook_link(row, base) == f"https://docs.example/runbooks/alerts/{row.name}.md"
    assert board_link(row, base) == f"https://grafana.example/d/meterhouse-{row.board}"
    assert board_link(row, base, "north").endswith(f"/meterhouse-{row.board}?var-site=north")
    path = Path(ROOT, "grafana", "dashboards", f"{row.board}.json")
    board = json.loads(path.read_text(encoding="utf-8"))
    assert board["uid"] == f"meterhouse-{row.board}"
    # What the link chooses is there to be chosen.
    assert "site" in {variable["name"] for variable in board["templating"]["list"]}
