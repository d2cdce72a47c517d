"""Panels of money: the cost per token, what idle capacity costs, and where the money went."""

from typing import Final

from grafana.influxql import Scope, rollup_query
from grafana.look import PERCENT, PLAIN, Panel, Size, bars, called, colour, lines, override, tiles
from grafana.panels.placed import Placed, formula
from meterhouse_agent.wire import STATES
from meterhouse_collector.kpi.cost import IDLE_MONEY
from meterhouse_collector.kpi.value import COVERAGE_FLOOR

_KPI: Final = "cost_per_million_output_tokens"
_COST: Final = {"cost": "1000000 * serving_money / serving_output_tokens"}
_ENOUGH: Final = (
    "serving_output_tokens > 0 AND engine_installed_seconds > 0 AND "
    f"engine_covered_seconds >= {COVERAGE_FLOOR} * engine_installed_seconds"
)
_NO_COST: Final = "no value: no tokens, or tokens or prices are missing"
_PRICED: Final = "installed_seconds > unpriced_seconds"
_NO_PRICE: Final = "no value: nothing has a price"
_CURRENCY: Final = " In the currency of the site model."


def panels() -> list[Placed]:
    """Return the tiles of cost, with what idle capacity costs beside."""
    return [
        Placed(_cost(), Size.TILE),
        Placed(_coverage(), Size.TILE),
        Placed(_idle_money(), Size.TILE),
        Placed(_priced(), Size.TILE),
    ]


def matrix() -> Placed:
    """Return the money of the window: kinds of active, then the other states, and the total."""
    capital = {state: f"{state}_capital_money" for state in STATES}
    energy = {state: f"{state}_energy_money" for state in STATES}
    others = STATES[1:]
    columns = {"active_capital": capital["active"], "active_energy": energy["active"]}
    columns |= {state: f"{capital[state]} + {energy[state]}" for state in others}
    columns["total"] = " + ".join([*capital.values(), *energy.values()])
    query = rollup_query(columns, where=_PRICED, scope=Scope.GROUPS)
    text = (
        "Cost of the window: capital by device-seconds, energy by the joules measured in each "
        "state. Kinds of active, then each other state whole; together they are the total. "
        "Live money: statements re-rate it from quarters." + _CURRENCY
    )
    panel = bars("Where the money went", text, [query], unit=PLAIN, decimals=2, no_value=_NO_PRICE)
    override(
        panel,
        {
            "active_capital": [colour("active"), called("active: capital")],
            "active_energy": [colour("active"), called("active: energy")],
        }
        | {state: [colour(state), called(state.replace("_", " "))] for state in others},
    )
    return Placed(panel, (10, 9))


def trend() -> Placed:
    """Return the cost per million output tokens over time."""
    query = rollup_query(_COST, where=_ENOUGH, scope=Scope.GROUPS, over_time=True)
    text = formula(_KPI) + _CURRENCY
    title = "Cost per million output tokens over time"
    panel = lines(title, text, [query], unit=PLAIN, no_value=_NO_COST).decimals(2)
    override(panel, {"cost": [colour("active")]})
    return Placed(panel, Size.THIRD)


def _cost() -> Panel:
    return tiles(
        "Cost per million output tokens",
        formula(_KPI) + _CURRENCY,
        [rollup_query(_COST, where=_ENOUGH, scope=Scope.GROUPS)],
        unit=PLAIN,
        decimals=2,
        no_value=_NO_COST,
    )


def _coverage() -> Panel:
    query = rollup_query(
        {"coverage": "engine_covered_seconds / engine_installed_seconds"},
        where="engine_installed_seconds > 0",
        scope=Scope.GROUPS,
    )
    text = "Share of the engines' device-seconds whose tokens and cost are known."
    no_value = "no engine holds a device"
    return tiles("Cost: coverage", text, [query], unit=PERCENT, decimals=1, no_value=no_value)


def _idle_money() -> Panel:
    query = rollup_query(
        {"idle": f"3600 * ({' + '.join(IDLE_MONEY)}) / interval_seconds"},
        where=f"interval_seconds > 0 AND {_PRICED}",
        scope=Scope.GROUPS_AND_TIME,
    )
    text = (
        "What held_idle and free devices cost, capital and energy, per hour: money of the window "
        "/ its seconds * 3600. What has no price is not in it." + _CURRENCY
    )
    title = "Idle money per hour"
    return tiles(title, text, [query], unit=PLAIN, decimals=2, no_value=_NO_PRICE)


def _priced() -> Panel:
    query = rollup_query(
        {"priced": "(installed_seconds - unpriced_seconds) / installed_seconds"},
        where="installed_seconds > 0",
        scope=Scope.GROUPS,
    )
    text = "Share of installed device-seconds with a price of hardware and of energy."
    no_value = "no device installed"
    return tiles("Money: coverage", text, [query], unit=PERCENT, decimals=1, no_value=no_value)
