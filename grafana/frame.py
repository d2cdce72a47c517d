"""What all boards have in common: variables, links, annotations, and the places of panels."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    CustomVariable,
    Dashboard,
    DashboardLink,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationTarget,
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.influxql import DATA_SOURCE, GROUP_TAGS, OF_SITE, tag_query, values_query
from grafana.look import COLOURS, Panel

TAG: Final = "meterhouse"
_GRID_WIDTH: Final = 24
_LABELS: Final = {
    "accelerator_model": "accelerator model",
    "served_model": "served model",
}
_DETAIL: Final = '"detail"."accelerator"'


class Placed(NamedTuple):
    """A panel, and its width and height on the grid."""

    panel: Panel
    size: tuple[int, int]


class Section(NamedTuple):
    """Panels under a title of their own."""

    title: str
    placed: Sequence[Placed]


class Board(NamedTuple):
    """What a board is called, over what time it is read first, and what it shows."""

    uid: str
    title: str
    description: str
    hours: int
    resolution: str
    variables: Sequence[str]
    sections: Sequence[Section]


class _EventTarget(AnnotationTarget):
    """A query of events as Grafana's InfluxDB data source keeps it in an annotation."""

    def __init__(self, query: str) -> None:
        super().__init__()
        self.query = query

    def to_json(self) -> dict[str, object]:
        """Return what stands in the JSON of an annotation."""
        return {
            "datasource": DATA_SOURCE,
            "query": self.query,
            "rawQuery": True,
            "fromAnnotations": True,
            "textEditor": True,
            "refId": "Anno",
            "textColumn": "name",
            "tagsColumn": "severity",
            "titleColumn": "",
            "timeEndColumn": "",
        }


class _EventTargetBuilder(Builder[AnnotationTarget]):
    def __init__(self, query: str) -> None:
        self._query = query

    def build(self) -> AnnotationTarget:
        return _EventTarget(self._query)


def json_of(board: Board) -> str:
    """Return the JSON of a board."""
    return json.dumps(_dashboard(board).build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _dashboard(board: Board) -> Dashboard:
    made = (
        Dashboard(f"Meterhouse: {board.title}")
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .time(f"now-{board.hours}h", "now")
        .refresh("30s" if board.resolution == "live" else "5m")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("Boards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)  # noqa: FBT003 - the SDK's
            .include_vars(True)  # noqa: FBT003 - the SDK's
            .keep_time(True)  # noqa: FBT003 - the SDK's
        )
    )
    made.with_variable(_variable("site", ()))
    for name in board.variables:
        made.with_variable(_made(name, board))
    for name, colour, condition in (
        ("Alerts that fire", "bad", "\"state\" = 'firing' AND \"before\" != 'firing'"),
        ("Alerts that are over", "good", "\"state\" = 'ok' AND \"before\" = 'firing'"),
    ):
        made.annotation(_annotation(name, colour, condition))
    _place(made, board.sections)
    return made


def _made(name: str, board: Board) -> Builder:  # type: ignore[type-arg] # of any variable
    if name == "resolution":
        return _resolution(board.resolution)
    if name == "price":
        return (
            TextBoxVariable("price")
            .label("price per million output tokens")
            .description("What a million output tokens sell for, in the currency of the site.")
            .default_value("0")
            .current(VariableOption(selected=True, text="0", value="0"))
        )
    if name == "node":
        query = values_query("node", _DETAIL, "state_number", ("site",))
    elif name == "device":
        query = values_query("device", _DETAIL, "state_number", ("site", "node"))
    else:
        # Clusters hold pools; tenants and models stand in any of them.
        position = GROUP_TAGS.index(name)
        within = ("site", *GROUP_TAGS[:position]) if name in {"cluster", "pool"} else ("site",)
        query = tag_query(name, within)
    return _many(name, query)


def _resolution(default: str) -> CustomVariable:
    return (
        CustomVariable("resolution")
        .label("resolution")
        .description("live: every interval, of the last 35 days; kept: quarter hours, of years.")
        .values("live,kept")
        .current(VariableOption(selected=True, text=default, value=default))
    )


def _many(name: str, query: str) -> QueryVariable:
    made = _query_variable(name, query)
    # Without a choice of its own Grafana takes the first value, not all.
    made.current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    return made.multi(True).include_all(True).all_value(".*")  # noqa: FBT003 - the SDK's


def _variable(name: str, within: tuple[str, ...]) -> QueryVariable:
    return _query_variable(name, tag_query(name, within))


def _query_variable(name: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(_LABELS.get(name, name))
        .datasource(DATA_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _annotation(name: str, colour: str, condition: str) -> AnnotationQuery:
    query = (
        'SELECT "name", "severity" FROM "event"."event" '  # noqa: S608 - no input
        f"WHERE $timeFilter AND {OF_SITE} AND \"kind\" = 'alert' AND {condition}"
    )
    return (
        AnnotationQuery()
        .name(name)
        .datasource(DATA_SOURCE)
        .enable(True)  # noqa: FBT003 - the SDK's
        .icon_color(COLOURS[colour])
        .target(_EventTargetBuilder(query))
    )


def _place(made: Dashboard, sections: Sequence[Section]) -> None:
    number = 0
    for section in sections:
        if section.title:
            number += 1
            made.with_row(Row(section.title).id(number))
        x = 0
        for panel, (width, height) in section.placed:
            number += 1
            x += width
            if x > _GRID_WIDTH:
                raise ValueError(f"panel {number} of {section.title} does not fit in its row")
            x %= _GRID_WIDTH
            made.with_panel(panel.id(number).span(width).height(height))
