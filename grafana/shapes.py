"""The shapes that panels have: figures, lines, stacks, bars, tables, and timelines of states."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from grafana_foundation_sdk.builders import bargauge, canvas, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
)
from grafana_foundation_sdk.builders.common import VizTooltipOptions as Tooltip
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeNamePlacement,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    GraphThresholdsStyleMode,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, FieldColorModeId

from grafana.influxql import DATA_SOURCE
from grafana.look import Look, Panel, override, state_mapping

# A line across a gap would claim what nobody measured: where values come more seldom than four
# quarter hours, they are points.
GAP_MILLISECONDS: Final = 3_600_000


Shape = TypeVar("Shape", stat.Panel, bargauge.Panel, table.Panel)


class Said(NamedTuple):
    """What a panel says of itself: its title, its formula, and what it means to show nothing."""

    title: str
    text: str
    no_value: str


class Query(Dataquery):
    """A query as Grafana's InfluxDB data source keeps it, in the language InfluxQL."""

    def __init__(self, text: str, ref_id: str, alias: str, result_format: str) -> None:
        self.text = text
        self.ref_id = ref_id
        self.alias = alias
        self.result_format = result_format

    def to_json(self) -> dict[str, object]:
        """Return what stands in the JSON of a panel."""
        return {
            "datasource": DATA_SOURCE,
            "query": self.text,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": self.result_format,
            "alias": self.alias,
        }


class QueryBuilder(Builder[Query]):
    """Builds a query; its series are named by the alias, those of a table by their columns."""

    def __init__(self, text: str, ref_id: str, alias: str, result_format: str) -> None:
        self._query = Query(text, ref_id, alias, result_format)

    def build(self) -> Query:
        """Return the query."""
        return self._query


def tiles(
    said: Said,
    queries: Sequence[str],
    *,
    unit: str,
    decimals: int,
    looks: Mapping[str, Look] | None = None,
    alias: str = "$col",
) -> stat.Panel:
    """Return a panel of figures over the whole window."""
    panel = (
        stat.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.AUTO)
        .reduce_options(_last())
    )
    _dress(panel, said, queries, alias)
    override(panel, looks or {})
    return panel.unit(unit).decimals(decimals)


def words(said: Said, query: str) -> stat.Panel:
    """Return a panel of texts, each the last of the window."""
    panel = (
        stat.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.VALUE)
        .reduce_options(_last().fields("/.*/"))
    )
    _dress(panel, said, [query], "", result_format="table")
    return panel.with_transformation(_without("Time", "site"))


def lines(
    said: Said,
    queries: Sequence[str],
    *,
    unit: str,
    looks: Mapping[str, Look] | None = None,
    alias: str = "$col",
) -> timeseries.Panel:
    """Return a panel of lines over time, broken where nothing was measured."""
    panel = timeseries.Panel().insert_nulls(GAP_MILLISECONDS).line_width(2).fill_opacity(0)
    panel.show_points(VisibilityMode.AUTO).tooltip(Tooltip().mode(TooltipDisplayMode.MULTI))
    _dress(panel, said, queries, alias)
    override(panel, looks or {})
    return panel.unit(unit)


def stack(
    said: Said,
    queries: Sequence[str],
    *,
    unit: str,
    looks: Mapping[str, Look] | None = None,
    alias: str = "$col",
) -> timeseries.Panel:
    """Return a panel of stacked bars over time, with nothing where nothing was measured."""
    panel = (
        timeseries.Panel()
        .draw_style(GraphDrawStyle.BARS)
        .stacking(StackingConfig().mode(StackingMode.NORMAL).group("A"))
        .bar_width_factor(1)
        .line_width(0)
        .fill_opacity(90)
        .tooltip(Tooltip().mode(TooltipDisplayMode.MULTI))
    )
    _dress(panel, said, queries, alias)
    override(panel, looks or {})
    return panel.unit(unit)


def bars(
    said: Said,
    queries: Sequence[str],
    *,
    unit: str,
    decimals: int,
    looks: Mapping[str, Look] | None = None,
    alias: str = "$col",
) -> bargauge.Panel:
    """Return a panel of horizontal bars over the whole window."""
    panel = (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
        .name_placement(BarGaugeNamePlacement.LEFT)
        .color_scheme(FieldColor().mode(FieldColorModeId.FIXED).fixed_color("text"))
        .reduce_options(_last())
        .min(0)
    )
    _dress(panel, said, queries, alias)
    override(panel, looks or {})
    return panel.unit(unit).decimals(decimals)


def ranking(
    said: Said,
    query: str,
    *,
    unit: str,
    worst: str | None = None,
    ascending: bool = False,
    looks: Mapping[str, Look] | None = None,
) -> table.Panel:
    """Return a table with a row for each group, the highest of the column ``worst`` first."""
    panel = table.Panel().show_header(True)  # noqa: FBT003 - the SDK's
    _dress(panel, said, [query], "", result_format="table")
    if worst is not None:
        panel.sort_by([TableSortByFieldState().display_name(worst).desc(not ascending)])
    override(panel, looks or {})
    return panel.unit(unit).decimals(2).with_transformation(_without("Time"))


def timeline(said: Said, query: str, *, alias: str) -> statetimeline.Panel:
    """Return a panel with a row for each device: the state it was in, over time."""
    panel = (
        statetimeline.Panel()
        .mappings([state_mapping()])
        .show_value(VisibilityMode.NEVER)
        .merge_values(True)  # noqa: FBT003 - the SDK's
        .row_height(0.9)
        .fill_opacity(90)
        .line_width(0)
    )
    _dress(panel, said, [query], alias)
    return panel


def flow(
    said: Said,
    queries: Sequence[str],
    picture: canvas.CanvasOptionsRoot,
    *,
    unit: str,
    decimals: int,
) -> canvas.Panel:
    """Return a picture of what flows, over the whole window; its boxes name columns."""
    panel = (
        canvas.Panel()
        .root(picture)
        .inline_editing(False)  # noqa: FBT003 - the SDK's
        .pan_zoom(False)  # noqa: FBT003 - the SDK's
        .infinite_pan(False)  # noqa: FBT003 - the SDK's
        .show_advanced_types(False)  # noqa: FBT003 - the SDK's
    )
    # In a table a field has the name of its column, by which the boxes find it.
    _dress(panel, said, queries, "", result_format="table")
    return panel.unit(unit).decimals(decimals)


def of_now(panel: Shape) -> Shape:
    """Let a panel show the last minutes of a window that ends now: what is older is not now."""
    return panel.time_from("3m").hide_time_override(True)  # noqa: FBT003 - the SDK's


def judged(panel: stat.Panel | bargauge.Panel, steps: ThresholdsConfig) -> None:
    """Let the colour of the figures say how good they are."""
    panel.thresholds(steps).color_scheme(FieldColor().mode(FieldColorModeId.THRESHOLDS))
    if isinstance(panel, stat.Panel):
        panel.color_mode(BigValueColorMode.VALUE)


def limited(panel: timeseries.Panel, steps: ThresholdsConfig) -> None:
    """Draw a line over time at each threshold."""
    style = GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
    panel.thresholds(steps).thresholds_style(style)


def _dress(
    panel: Panel,
    said: Said,
    queries: Sequence[str],
    alias: str,
    *,
    result_format: str = "time_series",
) -> None:
    panel.title(said.title).description(said.text).no_value(said.no_value).datasource(DATA_SOURCE)
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(QueryBuilder(query, letter, alias, result_format))


def _last() -> ReduceDataOptions:
    # One row came back: the division over the whole window is the query's, not Grafana's.
    return ReduceDataOptions().values(False).calcs(["lastNotNull"])  # noqa: FBT003 - the SDK's


def _without(*columns: str) -> DataTransformerConfig:
    # A row over a whole window stands at its beginning, which says nothing.
    hidden = dict.fromkeys(columns, True)
    return DataTransformerConfig(id_val="organize", options={"excludeByName": hidden})
