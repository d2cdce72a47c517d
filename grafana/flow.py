"""A picture of what flows from place to place: boxes with a figure each, and arrows between them.

Grafana's canvas panel, which it ships with. A Sankey diagram would be a plugin; a node graph wants
one frame of nodes and one of edges, which InfluxQL cannot make of columns. The width of an arrow
cannot follow a figure: the canvas scales it between the least and the most of a column, and a whole
window is one row.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import canvas
from grafana_foundation_sdk.builders.common import (
    ColorDimensionConfig,
    ScaleDimensionConfig,
    TextDimensionConfig,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.canvas import (
    CanvasElementOptions,
    HorizontalConstraint,
    VerticalConstraint,
)
from grafana_foundation_sdk.models.common import TextDimensionMode

from grafana.look import COLOURS

NOT_KNOWN: Final = "not known"
# In per cent of the panel, so that the picture fits whatever the screen.
_BOX_HEIGHT: Final = 20.0
_LABEL_HEIGHT: Final = 11.0
_GAP: Final = 2.6
_MARGIN: Final = 1.0
_FIGURE_PIXELS: Final = 18
_LABEL_PIXELS: Final = 13
_LINE_PIXELS: Final = 2
_ARROW_PIXELS: Final = 2
_ROUND_PIXELS: Final = 6


class Place(NamedTuple):
    """A box: the column that it shows, its place from the left and from the top, and its colour."""

    column: str
    at: int
    row: int
    colour: str


class Arrow(NamedTuple):
    """What flows from the box of one column to that of another."""

    source: str
    target: str


class _Area(NamedTuple):
    """A rectangle in per cent of the panel."""

    left: float
    top: float
    width: float
    height: float


def root(
    places: Sequence[Place], arrows: Sequence[Arrow], tops: Sequence[float]
) -> canvas.CanvasOptionsRoot:
    """Return the elements of a picture; ``tops`` is where each row begins, in per cent.

    Raises ``ValueError`` for an arrow from or to what is not there.
    """
    by_column = {place.column: place for place in places}
    if missing := {end for arrow in arrows for end in arrow} - by_column.keys():
        raise ValueError(f"{sorted(missing)}: no such place")
    width = (100 - 2 * _MARGIN) / (1 + max(place.at for place in places))
    elements: list[Builder[CanvasElementOptions]] = []
    for place in places:
        left, top = _MARGIN + place.at * width + _GAP / 2, tops[place.row]
        label = _Area(left - _GAP / 2, top, width, _LABEL_HEIGHT)
        box = _Area(left, top + _LABEL_HEIGHT, width - _GAP, _BOX_HEIGHT)
        if place.row > 0:
            # An arrow comes from above, so the name stands below.
            box = box._replace(top=top)
            label = label._replace(top=top + _BOX_HEIGHT)
        targets = (by_column[arrow.target] for arrow in arrows if arrow.source == place.column)
        elements += [
            _label(place, label),
            _box(place, box).connections([_connection(place, target) for target in targets]),
        ]
    return canvas.CanvasOptionsRoot().name("root").elements(elements)


def _element(name: str, kind: str, area: _Area) -> canvas.CanvasElementOptions:
    return (
        canvas.CanvasElementOptions()
        .name(name)
        .type(kind)
        .constraint(
            canvas.Constraint()
            .horizontal(HorizontalConstraint.SCALE)
            .vertical(VerticalConstraint.SCALE)
        )
        .placement(
            canvas.Placement()
            .left(round(area.left, 2))
            .top(round(area.top, 2))
            .right(round(100 - area.left - area.width, 2))
            .bottom(round(100 - area.top - area.height, 2))
        )
        .background(canvas.BackgroundConfig().color(_fixed("transparent")))
    )


def _label(place: Place, area: _Area) -> canvas.CanvasElementOptions:
    text = TextDimensionConfig().mode(TextDimensionMode.FIXED).fixed(place.column)
    config = _text(text, _LABEL_PIXELS)
    border = canvas.LineConfig().color(_fixed("transparent")).width(0)
    return _element(f"{place.column}, name", "text", area).config(config).border(border)


def _box(place: Place, area: _Area) -> canvas.CanvasElementOptions:
    # Where the query has no such column the canvas shows what is fixed.
    text = TextDimensionConfig().mode(TextDimensionMode.FIELD).field(place.column).fixed(NOT_KNOWN)
    border = canvas.LineConfig().color(_fixed(COLOURS[place.colour]))
    border = border.width(_LINE_PIXELS).radius(_ROUND_PIXELS)
    config = _text(text, _FIGURE_PIXELS)
    return _element(place.column, "rectangle", area).config(config).border(border)


def _text(text: TextDimensionConfig, pixels: int) -> dict[str, object]:
    return {
        "text": text.build(),
        "color": _fixed("text").build(),
        "align": "center",
        "valign": "middle",
        "size": pixels,
    }


def _connection(source: Place, target: Place) -> canvas.CanvasConnection:
    """Return an arrow to the right, or down to another row; ends are from -1 to 1 of a box."""
    begins, ends = (
        ((0.0, -1.0), (0.0, 1.0)) if target.row > source.row else ((1.0, 0.0), (-1.0, 0.0))
    )
    width = ScaleDimensionConfig().fixed(_ARROW_PIXELS).min(1).max(10)
    return (
        canvas.CanvasConnection()
        .source(_point(begins))
        .target(_point(ends))
        .target_name(target.column)
        .color(_fixed(COLOURS[target.colour]))
        .size(width)
    )


def _point(at: Iterable[float]) -> canvas.ConnectionCoordinates:
    x, y = at
    return canvas.ConnectionCoordinates().x(x).y(y)


def _fixed(colour: str) -> ColorDimensionConfig:
    return ColorDimensionConfig().fixed(colour)
