"""How everything looks: one colour means one thing on every board."""

from collections.abc import Mapping, Sequence
from typing import Final

from grafana_foundation_sdk.builders import (
    bargauge,
    canvas,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)

from meterhouse_agent.wire import STATES

# States and sides are told apart also by those who do not see red or green (Okabe and Ito); no
# colour stands for two things.
COLOURS: Final = {
    "active": "#009E73",
    "held_idle": "#E69F00",
    "free": "#56B4E9",
    "unhealthy": "#D55E00",
    "unknown": "#999999",
    "facility": "#CC79A7",
    "it": "#0072B2",
    "losses": "#7B4B3A",
    "grid": "#332288",
    "ppa": "#6699CC",
    "on_site": "#DDAA33",
    "fuel": "#663333",
    "storage": "#AA4499",
    "purchased_cooling": "#44BBCC",
    "export": "#BBBB77",
    "renewable": "#448822",
    "reused_heat": "#EE7766",
    "water": "#3377CC",
    "carbon": "#555555",
    "capital": "#4B6C8B",
    "rent": "#88AACC",
    "energy": "#C8B400",
    "demand": "#A07800",
    "operations": "#8877AA",
    "input": "#77AADD",
    "cached": "#BBCCEE",
    "output": "#225599",
    "requests": "#99BB55",
    "p50": "#BBAADD",
    "p95": "#7755BB",
    "p99": "#441188",
    "contracted": "#666688",
    "delivered": "#22AA99",
    "limit": "#B2182B",
    "good": "#117733",
    "warning": "#F0C040",
    "bad": "#CC3311",
    "temperature": "#F4846C",
    "bound": "#BBBBBB",
    "money": "#5D8A3A",
}
PERCENT: Final = "percentunit"
WATTS: Final = "watt"
JOULES: Final = "joule"
SECONDS: Final = "s"
CELSIUS: Final = "celsius"
BYTES: Final = "bytes"
HERTZ: Final = "hertz"
LITRES: Final = "litre"
KILOGRAMS: Final = "masskg"
PLAIN: Final = "none"
SHORT: Final = "short"
TEXT: Final = "string"

Panel = (
    stat.Panel
    | bargauge.Panel
    | canvas.Panel
    | timeseries.Panel
    | table.Panel
    | statetimeline.Panel
)
Look = Sequence[DynamicConfigValue]


class Size:
    """Width and height on the grid of a board, which is 24 wide."""

    TILE: Final = (4, 4)
    WIDE_TILE: Final = (8, 4)
    WIDEST_TILE: Final = (12, 4)
    THIRD: Final = (8, 8)
    HALF: Final = (12, 8)
    WHOLE: Final = (24, 8)


def colour(name: str) -> DynamicConfigValue:
    """Return the override that paints a series."""
    return DynamicConfigValue("color", {"mode": "fixed", "fixedColor": COLOURS[name]})


def called(name: str) -> DynamicConfigValue:
    """Return the override that names a series."""
    return DynamicConfigValue("displayName", name)


def united(unit: str, decimals: int | None = None) -> list[DynamicConfigValue]:
    """Return the overrides that give a column a unit of its own."""
    found = [DynamicConfigValue("unit", unit)]
    return found if decimals is None else [*found, DynamicConfigValue("decimals", decimals)]


def leading_to(board: str, tag: str) -> DynamicConfigValue:
    """Return the override that leads from a cell to a board, narrowed to what the cell names."""
    url = f"/d/meterhouse-{board}?${{__url_time_range}}&${{site:queryparam}}"
    url += f"&${{resolution:queryparam}}&var-{tag}=${{__value.raw}}"
    return DynamicConfigValue("links", [{"title": f"{board} of this {tag}", "url": url}])


def dashed() -> DynamicConfigValue:
    """Return the override that draws a limit apart from what is measured."""
    return DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})


def state_looks() -> dict[str, Look]:
    """Return the looks of columns named after the states."""
    return {state: [colour(state), called(state.replace("_", " "))] for state in STATES}


def state_mapping() -> ValueMap:
    """Return what shows the number of a state as its name and colour."""
    return ValueMap(
        options={
            str(number): ValueMappingResult(
                text=state.replace("_", " "), color=COLOURS[state], index=number
            )
            for number, state in enumerate(STATES)
        }
    )


def code_mapping(meanings: Mapping[int, str]) -> ValueMap:
    """Return what shows a code with what it means, as something bad; others stay as they are."""
    return ValueMap(
        options={
            str(code): ValueMappingResult(
                text=f"{code}: {meaning}", color=COLOURS["bad"], index=number
            )
            for number, (code, meaning) in enumerate(meanings.items())
        }
    )


def override(panel: Panel, looks: Mapping[str, Look]) -> None:
    """Let series, by their column, look their own way."""
    for name, properties in looks.items():
        panel.override_by_name(name, list(properties))


def coloured(*steps: tuple[float, str]) -> list[DynamicConfigValue]:
    """Return the overrides that colour the cells of a column by its thresholds."""
    made = thresholds(*steps).build()
    return [
        DynamicConfigValue("thresholds", made),
        DynamicConfigValue("color", {"mode": "thresholds"}),
        DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
    ]


def thresholds(*steps: tuple[float, str], base: str = "good") -> ThresholdsConfig:
    """Return the colours of a value from each of these values on, and below the first."""
    made = [Threshold(value=None, color=COLOURS[base])]
    made += [Threshold(value=value, color=COLOURS[name]) for value, name in steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(made)
