"""Builds the boards: ``python -m grafana.build`` writes ``grafana/dashboards/*.json``."""

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard, QueryVariable
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.influxql import DATA_SOURCE, GROUP_TAGS, tag_query
from grafana.panels import capacity, energy, money, serving
from grafana.panels.placed import Placed

DASHBOARDS: Final = Path(__file__).parent / "dashboards"
_GRID_WIDTH: Final = 24
_LABELS: Final = {"accelerator_model": "accelerator model"}


def boards() -> dict[str, str]:
    """Return the JSON of every board by the name of its file."""
    return {"overview.json": _text(overview())}


def overview() -> Dashboard:
    """Return the first board: what the site draws, makes, leaves idle, and pays for a token."""
    board = (
        Dashboard("Meterhouse: overview")
        .uid("meterhouse-overview")
        .description("What the site draws, what it makes, what stands idle, and what it costs.")
        .tags(["meterhouse"])
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    board.with_variable(_variable("site", ()))
    for position, tag in enumerate(GROUP_TAGS):
        # Clusters hold pools; tenants and models stand in any of them.
        within = ("site", *GROUP_TAGS[:position]) if tag in {"cluster", "pool"} else ("site",)
        board.with_variable(_variable(tag, within).multi(True).include_all(True).all_value(".*"))  # noqa: FBT003 - the SDK's
    _place(
        board,
        [
            *energy.panels(),
            *capacity.panels(),
            *money.panels(),
            *serving.panels(),
            capacity.states(),
            money.matrix(),
            energy.power(),
            serving.rate(),
            energy.trend(),
            capacity.trend(),
            money.trend(),
        ],
    )
    return board


def _variable(tag: str, within: tuple[str, ...]) -> QueryVariable:
    variable = (
        QueryVariable(tag)
        .label(_LABELS.get(tag, tag))
        .datasource(DATA_SOURCE)
        .query(tag_query(tag, within))
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    if within:
        # Without a choice of its own Grafana takes the first value, not all.
        variable.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable


def _place(board: Dashboard, placed: list[Placed]) -> None:
    x = 0
    for number, (panel, (width, height)) in enumerate(placed, start=1):
        x = (x + width) % _GRID_WIDTH if x + width <= _GRID_WIDTH else -1
        if x < 0:
            raise ValueError(f"panel {number} does not fit in its row")
        board.with_panel(panel.id(number).span(width).height(height))


def _text(board: Dashboard) -> str:
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> None:
    """Write every board."""
    for name, text in boards().items():
        path = DASHBOARDS / name
        path.write_text(text, encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
