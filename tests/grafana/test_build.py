"""The JSON is what the code builds, and asks only for what there is."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from grafana.build import DASHBOARDS, boards
from grafana.influxql import DATA_SOURCE, Scope, rollup_query
from grafana.look import COLOURS
from meterhouse_agent.wire import STATES
from meterhouse_collector.kpi.catalogue import ROLLUP_FIELD_NAMES

PROVISIONING: Final = Path(__file__).parents[2] / "grafana/provisioning"
BOARDS: Final = {name: json.loads(text) for name, text in boards().items()}


def panels() -> list[Any]:
    return [panel for board in BOARDS.values() for panel in board["panels"]]


def queries() -> list[str]:
    return [target["query"] for panel in panels() for target in panel["targets"]]


def test_the_boards_are_what_the_code_builds() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()}
    assert kept == boards(), "run: python -m grafana.build"


def test_only_fields_of_the_catalogue_are_asked_for() -> None:
    for query in queries():
        fields = re.findall(r'sum\("(\w+)"\)', query)
        assert fields
        assert set(fields) <= set(ROLLUP_FIELD_NAMES)


def test_every_query_divides_sums_last() -> None:
    for query in queries():
        outer, inner = query.split(" FROM (", 1)
        assert "sum(" not in outer
        assert 'FROM "live"."rollup" WHERE $timeFilter AND "site" =~ /^$site$/' in inner
        assert re.search(r"\) WHERE [^()]*(\([^()]*\))?[^()]* > ", inner)


def test_every_denominator_is_kept_from_zero() -> None:
    for query in queries():
        condition = query.rsplit(") WHERE ", 1)[1]
        for divisor in re.findall(r" / (\w+|\([^()]*\)) AS", query.split(" FROM (", 1)[0]):
            assert f"{divisor.strip('()')} > 0" in condition.replace("(", "").replace(")", "")


def test_no_slash_follows_the_interval() -> None:
    for query in queries():
        assert "/" not in query.partition("$__interval")[2]


def test_a_field_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_joules"):
        rollup_query({"x": "no_such_joules"}, where="it_joules > 0", scope=Scope.SITE)


def test_a_condition_that_would_never_be_true_is_refused() -> None:
    with pytest.raises(ValueError, match="a function"):
        rollup_query({"x": "it_joules"}, where="abs(it_joules) > 0", scope=Scope.SITE)


def test_every_panel_says_its_formula_and_what_no_value_means() -> None:
    for panel in panels():
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["datasource"] == {"type": "influxdb", "uid": DATA_SOURCE.uid}


def test_a_state_has_one_colour_everywhere() -> None:
    for panel in panels():
        for override in panel["fieldConfig"].get("overrides", []):
            name = override["matcher"]["options"]
            for part in override["properties"]:
                if name in STATES and part["id"] == "color":
                    assert part["value"]["fixedColor"] == COLOURS[name]
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_panels_lie_beside_each_other() -> None:
    for board in BOARDS.values():
        cells = [
            (x, y)
            for panel in board["panels"]
            for grid in [panel["gridPos"]]
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        ]
        assert len(set(cells)) == len(cells)
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_data_source_is_the_one_that_the_boards_name() -> None:
    text = (PROVISIONING / "datasources/meterhouse.yaml").read_text(encoding="utf-8")
    lines = {line.strip() for line in text.splitlines()}
    assert lines >= {
        f"uid: {DATA_SOURCE.uid}",
        f"type: {DATA_SOURCE.type_val}",
        "version: InfluxQL",
        "dbName: meterhouse",
        "httpHeaderName1: Authorization",
        "httpHeaderValue1: Token $METERHOUSE_INFLUX_TOKEN",
    }
