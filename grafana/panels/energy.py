"""Panels of energy: PUE with its coverage, and the power of facility and IT."""

from typing import Final

from grafana.influxql import Scope, greater, rollup_query
from grafana.look import PERCENT, PLAIN, WATTS, Panel, Size, called, colour, lines, override, tiles
from grafana.panels.placed import Placed, formula
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_PUE: Final = {"pue": "facility_joint_joules / it_joint_joules"}
_SIZED: Final = "interval_seconds - pue_unexpected_seconds"
_OF_WINDOW: Final = {
    "sized": _SIZED,
    "whole": greater("0.001 * ($__to - $__from)", "interval_seconds"),
}
_OF_INTERVAL: Final = {"sized": _SIZED, "whole": "interval_seconds"}
_COVERED: Final = (
    "it_joint_joules > 0 AND "
    f"it_joint_joules * sized >= {COVERAGE_FLOOR} * it_expected_joules * whole"
)
_NO_PUE: Final = f"no value: coverage below {COVERAGE_FLOOR:.0%}, or no boundary meter"


def panels() -> list[Placed]:
    """Return the tiles of PUE."""
    return [Placed(_pue(), Size.TILE), Placed(_coverage(), Size.TILE)]


def power() -> Placed:
    """Return the power of facility and IT over time."""
    facility = rollup_query(
        {"facility": "facility_joint_joules / pue_joint_seconds"},
        where="pue_joint_seconds > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    equipment = rollup_query(
        {"it": f"it_expected_joules / ({_SIZED})"},
        where=f"{_SIZED} > 0",
        scope=Scope.SITE,
        over_time=True,
    )
    text = (
        "Mean power. Facility: joules / seconds of the intervals that count for PUE. IT: joules, "
        "gaps filled by expectation, / seconds of the intervals whose energy is known or expected."
    )
    panel = lines(
        "Power", text, [facility, equipment], unit=WATTS, no_value="no energy was measured"
    )
    override(panel, {"facility": [colour("facility")], "it": [colour("it"), called("IT")]})
    return Placed(panel, Size.HALF)


def trend() -> Placed:
    """Return PUE over time; a minute at least, because meters have steps."""
    query = rollup_query(_PUE, where=_COVERED, scope=Scope.SITE, over_time=True, terms=_OF_INTERVAL)
    panel = lines(
        "PUE over time, interim", formula("pue"), [query], unit=PLAIN, no_value=_NO_PUE
    ).interval("1m")
    override(panel, {"pue": [colour("facility"), called("iPUE")]})
    return Placed(panel, Size.THIRD)


def _pue() -> Panel:
    query = rollup_query(_PUE, where=_COVERED, scope=Scope.SITE, terms=_OF_WINDOW)
    text = (
        formula("pue")
        + " Interim (iPUE): only a trailing year is called PUE. Where no meter reads IT energy it "
        "is that of the nodes, and this an upper bound. A window shorter than four steps of the "
        "slowest meter says nothing."
    )
    panel = tiles("PUE, interim", text, [query], unit=PLAIN, decimals=3, no_value=_NO_PUE)
    override(panel, {"pue": [called("iPUE")]})
    return panel


def _coverage() -> Panel:
    query = rollup_query(
        {"coverage": "it_joint_joules * sized / (it_expected_joules * whole)"},
        where="it_expected_joules * whole > 0",
        scope=Scope.SITE,
        terms=_OF_WINDOW,
    )
    text = (
        "Share of the window's expected IT energy that counts for PUE, times the share of its time "
        "in which something was expected."
    )
    no_value = "nothing covered"
    return tiles("PUE: coverage", text, [query], unit=PERCENT, decimals=1, no_value=no_value)
