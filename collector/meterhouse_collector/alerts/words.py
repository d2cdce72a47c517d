"""The words of an alert: its summary with the figures, and where to look. Pure."""

from collections.abc import Mapping
from string import Formatter
from typing import Final, NamedTuple

from meterhouse_collector.alerts.catalogue import CATALOGUE
from meterhouse_collector.alerts.catalogue_row import AlertRow, Unit

_HOUR: Final = 3600.0
_DAY: Final = 86_400.0
_MINUTE: Final = 60.0
_KILO: Final = 1e3
_MEGA: Final = 1e6
_PLAIN: Final[Mapping[Unit, str]] = {
    "ratio": "{:.1%}",
    "number": "{:.3g}",
    "celsius": "{:.0f} °C",
}


class Links(NamedTuple):
    """Where boards and runbooks are; empty where there is none."""

    boards: str = ""
    runbooks: str = ""


def subject_of(labels: Mapping[str, str]) -> str:
    """Return what an alert is about, in the words of its labels."""
    rest = dict(labels)
    site = rest.pop("site", "")
    about = []
    if {"table", "entry"} <= rest.keys():
        about.append(f"{rest.pop('table')} {rest.pop('entry')}")
    if "of" in rest:
        about.append(rest.pop("of"))
    about += [f"{name} {value}" for name, value in sorted(rest.items())]
    return ", ".join(about) or f"site {site}".strip()


def summary(
    row: AlertRow, labels: Mapping[str, str], *, value: float, limit: float, unit: str = ""
) -> str:
    """Return the sentence that says what is wrong, with its figures."""
    return row.summary.format(
        subject=subject_of(labels),
        value=figure(value, row.unit, unit),
        limit=figure(limit, row.unit, unit),
    )


def figure(value: float, unit: Unit, money: str = "") -> str:
    """Return a figure as people write it; ``money`` is what an amount is in."""
    match unit:
        case "watts":
            return _power(value)
        case "seconds":
            return _duration(value)
        case "money" | "money per hour":
            return f"{value:,.2f} {money or unit}"
        case "days" | "devices" | "errors" | "quarters":
            return f"{value:g} {unit}"
        case _:
            return _PLAIN[unit].format(value)


def _power(watts: float) -> str:
    size = abs(watts)
    if size >= _MEGA:
        return f"{watts / _MEGA:,.2f} MW"
    return f"{watts / _KILO:,.1f} kW" if size >= _KILO else f"{watts:.0f} W"


def _duration(seconds: float) -> str:
    for length, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= length:
            return f"{seconds / length:.3g} {name}"
    return f"{seconds:.0f} s"


def board_link(row: AlertRow, links: Links, site: str = "") -> str:
    """Return the address of the board that shows it; a path where nobody said where boards are."""
    chosen = f"?var-site={site}" if site else ""
    return f"{links.boards}/d/meterhouse-{row.board}{chosen}"


def runbook_link(row: AlertRow, links: Links) -> str:
    """Return the address of its page of the runbooks; a path where nobody said where they are."""
    return f"{links.runbooks or 'docs/runbooks'}/alerts/{row.name}.md"


def row_of(kind: str) -> AlertRow:
    """Return the row of a kind of rule."""
    return CATALOGUE[kind]


def placeholders(row: AlertRow) -> set[str]:
    """Return what a summary is filled with."""
    return {name for _, name, _, _ in Formatter().parse(row.summary) if name is not None}
