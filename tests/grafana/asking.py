"""The boards as they are checked in, and their queries as Grafana asks them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.grafana.fleet import LIVE, START, Resolution
from tests.grafana.macros import ALL, interpolate
from tests.grafana.truth import PRICE
from tests.servers import InfluxDB

FOLDER: Final = Path(__file__).parents[2] / "grafana/dashboards"
BOARDS: Final = {
    path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.iterdir())
}
DATABASE: Final = "test_boards"
TAGS: Final = ("cluster", "pool", "tenant", "accelerator_model", "served_model")

Choice = dict[str, str | Sequence[str]]
Key = tuple[str, ...]
Value = float | str


class Window(NamedTuple):
    """What a board is read over, and the length of its steps."""

    start: int
    end: int
    bucket: int
    policy: str = "live"


def window_of(resolution: Resolution) -> Window:
    """Return the window of all that a resolution has."""
    return Window(START, resolution.end, resolution.bucket, resolution.policy)


def panels(board: Any) -> Iterator[Any]:  # noqa: ANN401 - JSON
    """Yield what shows something."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel


# Panels of one title ask the same on every board (a test looks).
PANELS: Final = {panel["title"]: panel for board in BOARDS.values() for panel in panels(board)}


def queries(title: str) -> list[str]:
    """Return what a panel asks."""
    return [target["query"] for target in PANELS[title]["targets"]]


def of_rollups(title: str) -> bool:
    """Tell whether a panel is of sums of rollups."""
    return any('"${resolution:raw}"."rollup"' in query for query in queries(title))


class Asker:
    """Asks what Grafana asks, and counts it."""

    def __init__(self, database: InfluxDB) -> None:
        self._database = database
        self.asked = 0

    def rows(self, query: str, choices: Choice, window: Window) -> list[dict[str, Any]]:
        """Return the rows of a query with its variables and macros replaced."""
        text = interpolate(
            query,
            start_seconds=window.start,
            end_seconds=window.end,
            interval_seconds=window.bucket,
            choices=choices | {"resolution": window.policy, "price": str(PRICE)},
        )
        assert "$" not in text.replace("$/", "")
        self.asked += 1
        return self._database.influxql(DATABASE, text)

    def shown(
        self,
        title: str,
        choices: Choice,
        window: Window,
        by: Sequence[str] = (),
    ) -> dict[Key, Value]:
        """Return what a panel shows, by the values of tags, column, and time."""
        found: dict[Key, Value] = {}
        for query in queries(title):
            for row in self.rows(query, choices, window):
                tags = [str(row.pop(tag)) for tag in by]
                time = str(row.pop("time"))
                for name, value in row.items():
                    key = (*tags, name, time)
                    assert key not in found, f"{title}: {key} twice"
                    if value is not None:
                        found[key] = value
        return found


def choose(site: str, choice: Choice | None = None) -> Choice:
    """Return a choice of everything of a site, but for what is chosen."""
    tags = (*TAGS, "node", "device")
    return {"site": site} | dict.fromkeys(tags, ALL) | (choice or {})


ALL_LIVE: Final = window_of(LIVE)
