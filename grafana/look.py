"""How panels look: one colour for each state and side, the same on every board."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import bargauge, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, StackingConfig
from grafana_foundation_sdk.builders.common import VizTooltipOptions as Tooltip
from grafana_foundation_sdk.builders.dashboard import FieldColor
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BarGaugeNamePlacement,
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, FieldColorModeId

from grafana.influxql import DATA_SOURCE, QueryBuilder

# Told apart also by those who do not see red or green (Okabe and Ito).
COLOURS: Final = {
    "active": "#009E73",
    "held_idle": "#E69F00",
    "free": "#56B4E9",
    "unhealthy": "#D55E00",
    "unknown": "#999999",
    "facility": "#CC79A7",
    "it": "#0072B2",
}
PERCENT: Final = "percentunit"
WATTS: Final = "watt"
PLAIN: Final = "none"
SHORT: Final = "short"
# A line across a gap would claim what nobody measured; longer intervals show points.
GAP_MILLISECONDS: Final = 300_000

Panel = stat.Panel | bargauge.Panel | timeseries.Panel


class Size:
    """Width and height on the grid of a board, which is 24 wide."""

    TILE: Final = (4, 4)
    WIDE_TILE: Final = (8, 4)
    WIDEST_TILE: Final = (12, 4)
    THIRD: Final = (8, 8)
    HALF: Final = (12, 8)


def colour(name: str) -> DynamicConfigValue:
    """Return the override that paints a series."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": COLOURS[name]})


def called(name: str) -> DynamicConfigValue:
    """Return the override that names a series."""
    return DynamicConfigValue("displayName", name)


def tiles(
    title: str, text: str, queries: Sequence[str], *, unit: str, decimals: int, no_value: str
) -> stat.Panel:
    """Return a panel of figures over the whole window."""
    panel = (
        stat.Panel()
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(BigValueColorMode.NONE)
        .text_mode(BigValueTextMode.AUTO)
        .reduce_options(_last())
    )
    _dress(panel, title, text, queries, no_value)
    return panel.unit(unit).decimals(decimals)


def lines(
    title: str, text: str, queries: Sequence[str], *, unit: str, no_value: str
) -> timeseries.Panel:
    """Return a panel of lines over time, broken where nothing was measured."""
    panel = timeseries.Panel().insert_nulls(GAP_MILLISECONDS).line_width(2).fill_opacity(0)
    panel.tooltip(Tooltip().mode(TooltipDisplayMode.MULTI))
    _dress(panel, title, text, queries, no_value)
    return panel.unit(unit)


def stack(
    title: str, text: str, queries: Sequence[str], *, unit: str, no_value: str
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
    _dress(panel, title, text, queries, no_value)
    return panel.unit(unit)


def bars(
    title: str, text: str, queries: Sequence[str], *, unit: str, decimals: int, no_value: str
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
    _dress(panel, title, text, queries, no_value)
    return panel.unit(unit).decimals(decimals)


def override(panel: Panel, names: Mapping[str, Sequence[DynamicConfigValue]]) -> None:
    """Let series, by their column, look their own way."""
    for name, properties in names.items():
        panel.override_by_name(name, list(properties))


def _dress(panel: Panel, title: str, text: str, queries: Sequence[str], no_value: str) -> None:
    panel.title(title).description(text).datasource(DATA_SOURCE).no_value(no_value)
    for letter, query in zip("ABCDEF", queries, strict=False):
        panel.with_target(QueryBuilder(query).ref_id(letter))


def _last() -> ReduceDataOptions:
    # One row came back: the division over the whole window is the query's, not Grafana's.
    return ReduceDataOptions().values(False).calcs(["lastNotNull"])  # noqa: FBT003 - the SDK's
