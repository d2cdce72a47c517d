"""The page about the boards says what the boards are."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.grafana.asking import BOARDS, PANELS, TAGS, queries

PAGE: Final = (Path(__file__).parents[2] / "docs/boards.md").read_text(encoding="utf-8")
ROWS: Final = {
    cells[0].strip("` "): [cell.strip() for cell in cells[1:]]
    for line in PAGE.splitlines()
    if line.startswith("| `")
    for cells in [line.strip("|").split(" | ")]
}


def test_the_page_has_every_board() -> None:
    assert {name for name in ROWS if name in BOARDS} == BOARDS.keys()
    assert PAGE.startswith("# Boards\n\nTen boards")
    assert len(BOARDS) == 10


@pytest.mark.parametrize("name", BOARDS)
def test_it_says_with_what_a_board_opens(name: str) -> None:
    board, (_, opens, _) = BOARDS[name], ROWS[name]
    [hours] = re.findall(r"now-(\d+)h", board["time"]["from"])
    resolution = [
        variable["current"]["value"]
        for variable in board["templating"]["list"]
        if variable["name"] == "resolution"
    ]
    count, unit, policy = re.fullmatch(r"(\d+) (hour|day)s?, (live|kept)", opens).groups()  # type: ignore[union-attr] # a match
    assert int(count) * (24 if unit == "day" else 1) == int(hours)
    assert resolution in ([], [policy])


@pytest.mark.parametrize("name", BOARDS)
def test_it_says_which_variables_a_board_has(name: str) -> None:
    said = ROWS[name][2].removesuffix(" |").split(", ")
    has = [variable["name"] for variable in BOARDS[name]["templating"]["list"]]
    wanted = [part for each in said for part in (TAGS if each == "groups" else [each])]
    assert has == wanted


def test_it_says_where_every_figure_is() -> None:
    read = {
        ".".join(found)
        for title in PANELS
        for query in queries(title)
        for found in re.findall(r'FROM "(\w+)"\."(\w+)"', query)
    }
    listed = {point for row in ROWS for point in re.findall(r"\b\w+\.\w+\b", row)}
    # Of detail the reference says the rest.
    assert read - listed == {"detail.accelerator", "detail.host"}
    assert {each for each in listed if each.split(".")[0] in {"live", "event", "detail"}} <= read
