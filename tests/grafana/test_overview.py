"""Every query of the board, run against a real database, shows what the fleet did."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from meterhouse_collector.kpi.compute import Window, kpis
from meterhouse_collector.kpi.pue import EnergyBasis
from meterhouse_collector.settings import Secret
from meterhouse_collector.store.config import InfluxConfig
from meterhouse_collector.store.influx import InfluxStore
from tests.grafana import fleet, truth
from tests.grafana.macros import ALL, interpolate
from tests.servers import InfluxDB

ROOT: Final = Path(__file__).parents[2]
BOARD: Final = json.loads((ROOT / "grafana/dashboards/overview.json").read_text(encoding="utf-8"))
PANELS: Final = {panel["title"]: panel for panel in BOARD["panels"]}
DATABASE: Final = "test_overview"
TAGS: Final = ("cluster", "pool", "tenant", "accelerator_model")
BUCKET_SECONDS: Final = 60

Choice = dict[str, str | Sequence[str]]
CHOICES: Final[dict[str, Choice]] = {
    "all": {},
    "one pool": {"pool": ["serve"]},
    "two models, one with a slash": {"accelerator_model": [fleet.H100, fleet.MI300]},
    "idle devices only": {"cluster": ["c2"], "tenant": ["none"]},
    "nothing": {"cluster": ["c1"], "pool": ["spare"]},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(
    influxdb_shared: InfluxDB, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[InfluxDB]:
    influxdb_shared.make_bucket(f"{DATABASE}/live")
    token = tmp_path_factory.mktemp("token") / "token"
    token.write_text(influxdb_shared.token)
    config = InfluxConfig(
        url=influxdb_shared.url,
        org=influxdb_shared.org,
        token=Secret(file=token),
        database=DATABASE,
    )
    store = InfluxStore(config)
    assert await store.write(fleet.points()) == []
    await store.close()
    yield influxdb_shared


def choose(site: str, choice: Choice) -> Choice:
    return {"site": site} | dict.fromkeys(TAGS, ALL) | choice


def ask(
    database: InfluxDB, query: str, choices: Choice, end: int = fleet.END
) -> list[dict[str, Any]]:
    text = interpolate(
        query,
        start_seconds=fleet.START,
        end_seconds=end,
        interval_seconds=BUCKET_SECONDS,
        choices=choices,
    )
    assert "$" not in text.replace("$/", "")
    return database.influxql(DATABASE, text)


def shown(
    database: InfluxDB, title: str, choices: Choice, end: int = fleet.END
) -> dict[tuple[str, int], float]:
    """Return the values of all of a panel's queries by column and time."""
    return {
        (name, row["time"]): value
        for target in PANELS[title]["targets"]
        for row in ask(database, target["query"], choices, end)
        for name, value in row.items()
        if name != "time"
    }


def chosen_sums(title: str, choices: Choice, start: int, end: int) -> fleet.Sums:
    rows = [
        row
        for row in fleet.rows()
        if row.group.site == choices["site"] and start <= row.start < end
    ]
    tags = () if title in truth.OF_SITE else TAGS
    taken = [
        row
        for row in rows
        if all(choices[tag] == ALL or getattr(row.group, tag) in choices[tag] for tag in tags)
    ]
    total = fleet.sums(taken)
    if title in truth.WITH_TIME:
        total["interval_seconds"] = fleet.sums(rows)["interval_seconds"]
    return total


def expected(title: str, choices: Choice) -> dict[tuple[str, int], float]:
    if title in truth.WINDOW:
        columns, spans = truth.WINDOW[title], [(fleet.START, fleet.END)]
    else:
        columns = truth.OVER_TIME[title]
        starts = range(fleet.START, fleet.END, BUCKET_SECONDS)
        spans = [(start, start + BUCKET_SECONDS) for start in starts]
    found = {}
    for start, end in spans:
        total = chosen_sums(title, choices, start, end)
        for name, function in columns.items():
            value = function(total, float(end - start))
            if value is not None:
                found[name, start] = value
    return found


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("site", fleet.SITES)
def test_every_panel_shows_the_truth(database: InfluxDB, site: str, choice: str) -> None:
    choices = choose(site, CHOICES[choice])
    for title in PANELS:
        found, wanted = shown(database, title, choices), expected(title, choices)
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12), title


def test_the_truth_knows_every_panel() -> None:
    assert PANELS.keys() == truth.WINDOW.keys() | truth.OVER_TIME.keys()


def test_the_fleet_makes_every_panel_show_something(database: InfluxDB) -> None:
    choices = choose("north", {})
    for title in PANELS:
        columns = {name for name, _ in shown(database, title, choices)}
        assert columns == (truth.WINDOW | truth.OVER_TIME)[title].keys(), title


@pytest.mark.parametrize("site", fleet.SITES)
def test_a_kpi_on_the_board_is_that_of_the_collector(database: InfluxDB, site: str) -> None:
    total = fleet.sums(row for row in fleet.rows() if row.group.site == site)
    basis = EnergyBasis(
        boundary_metered=True, it_metered=True, category=2, slowest_step_seconds=5.0
    )
    values = kpis(total, window=Window(300.0, basis, "EUR"))
    choices = choose(site, {})

    def tile(title: str, column: str) -> float | None:
        return shown(database, title, choices).get((column, fleet.START))

    idle, cost = values["idle_capacity_ratio"], values["cost_per_million_output_tokens"]
    assert tile("PUE, interim", "pue") == pytest.approx(values["pue"].value)
    assert tile("Idle capacity", "ratio") == pytest.approx(idle.value)
    assert tile("Idle capacity: bounds and coverage", "low") == pytest.approx(idle.low)
    assert tile("Idle capacity: bounds and coverage", "high") == pytest.approx(idle.high)
    assert tile("Idle capacity: bounds and coverage", "coverage") == pytest.approx(idle.coverage)
    assert tile("Cost per million output tokens", "cost") == pytest.approx(cost.value)


def test_without_tokens_there_is_no_cost(database: InfluxDB) -> None:
    choices = choose("no-tokens", {})
    assert shown(database, "Cost per million output tokens", choices) == {}
    assert shown(database, "Cost per million output tokens over time", choices) == {}
    assert shown(database, "Tokens", choices) == {
        ("input", fleet.START): 0,
        ("output", fleet.START): 0,
    }


def test_below_the_floor_only_bounds_and_coverage_are_shown(database: InfluxDB) -> None:
    choices = choose("silent", {})
    assert shown(database, "Idle capacity", choices) == {}
    bounds = shown(database, "Idle capacity: bounds and coverage", choices)
    assert bounds["coverage", fleet.START] < 0.95
    assert bounds["low", fleet.START] < bounds["high", fleet.START]


def test_a_window_that_was_not_rolled_up_has_no_pue(database: InfluxDB) -> None:
    choices = choose("north", {})
    assert shown(database, "PUE, interim", choices, fleet.END + 10) != {}
    assert shown(database, "PUE, interim", choices, fleet.END + 30) == {}
    coverage = shown(database, "PUE: coverage", choices, fleet.END + 300)
    assert coverage == pytest.approx({("coverage", fleet.START): 0.5})


def test_the_parts_of_the_money_are_its_total(database: InfluxDB) -> None:
    values = shown(database, "Where the money went", choose("north", {}))
    total = values.pop(("total", fleet.START))
    assert sum(values.values()) == pytest.approx(total)


@pytest.mark.parametrize(
    ("variable", "choice", "values"),
    [
        ("site", {}, sorted(fleet.SITES)),
        ("cluster", {}, ["c1", "c2", "none"]),
        ("pool", {"cluster": ["c1"]}, ["serve", "train"]),
        ("tenant", {"cluster": ["c1"]}, ["acme", "beta", "none"]),
        ("accelerator_model", {}, [fleet.MI300, fleet.H100, "none"]),
    ],
)
def test_a_variable_offers_what_there_is(
    database: InfluxDB, variable: str, choice: Choice, values: list[str]
) -> None:
    query = {v["name"]: v["query"] for v in BOARD["templating"]["list"]}[variable]
    rows = ask(database, query, choose("north", choice))
    # Grafana takes the first column beside time, of text.
    assert list(rows[0])[1] == variable
    assert sorted(row[variable] for row in rows) == values
