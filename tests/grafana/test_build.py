"""The JSON is what the code builds, fits the schema, and asks only for what there is."""

import json
import re
from typing import Any, Final, get_args

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import DASHBOARDS, boards
from grafana.figures import BASES, no_value
from grafana.flow import Arrow, Place, root
from grafana.frame import TAG
from grafana.influxql import DATA_SOURCE, Scope, rollup_query
from grafana.look import COLOURS
from meterhouse_agent.wire import STATES
from meterhouse_collector.alerts.catalogue_row import Board
from meterhouse_collector.kpi.catalogue import QUANTILE_FIELD_NAMES, ROLLUP_FIELD_NAMES
from meterhouse_collector.kpi.live_kpis import LIVE_KPIS
from meterhouse_collector.site.targets import ThresholdKind
from tests.grafana.asking import BOARDS, PANELS, panels, queries

SHOWN: Final = [panel for board in BOARDS.values() for panel in panels(board)]
QUERIES: Final = sorted({target["query"] for panel in SHOWN for target in panel["targets"]})
TITLES: Final = (
    "overview",
    "capacity",
    "energy",
    "cost",
    "budgets",
    "service",
    "node",
    "limits",
    "community",
    "meterhouse",
)


def of_sums() -> list[str]:
    return [query for query in QUERIES if 'sum("' in query and "rollup" in query]


def test_the_boards_are_what_the_code_builds() -> None:
    kept = {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()}
    assert kept == boards(), "run: python -m grafana.build"
    assert kept.keys() == {f"{title}.json" for title in TITLES}


@pytest.mark.parametrize("name", TITLES)
def test_a_board_read_by_the_schema_is_the_same_board(name: str) -> None:
    register_default_plugins()
    read = Dashboard.from_json(BOARDS[name])
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    assert lacking(BOARDS[name], again) == []
    for panel in read.panels or []:
        assert panel.type_val in {
            "row",
            "stat",
            "timeseries",
            "bargauge",
            "canvas",
            "table",
            "state-timeline",
        }


def lacking(whole: Any, part: Any, at: str = "") -> list[str]:  # noqa: ANN401 - JSON
    """Return where the one has something that the other has not, or not so."""
    if isinstance(whole, dict) and isinstance(part, dict):
        return [
            found
            for key, value in whole.items()
            # The schema knows queries and annotations by their data source alone.
            if key != "target"
            for found in lacking(value, part.get(key), f"{at}.{key}")
        ]
    if isinstance(whole, list) and isinstance(part, list) and len(whole) == len(part):
        pairs = enumerate(zip(whole, part, strict=True))
        return [f for n, (a, b) in pairs for f in lacking(a, b, f"{at}[{n}]")]
    return [] if whole == part or (whole is None) else [f"{at}: {whole!r} is {part!r}"]


def test_panels_of_one_title_ask_the_same_everywhere() -> None:
    for panel in SHOWN:
        assert [target["query"] for target in panel["targets"]] == queries(panel["title"])


def test_only_fields_of_the_catalogue_are_asked_for() -> None:
    for query in QUERIES:
        if "rollup" in query:
            fields = re.findall(r'(?:sum|max)\("(\w+)"\)', query)
            assert fields
            assert set(fields) <= {*ROLLUP_FIELD_NAMES, *QUANTILE_FIELD_NAMES}


def test_every_query_of_sums_divides_last() -> None:
    assert len(of_sums()) > 80
    for query in of_sums():
        outer, inner = query.split(" FROM (", 1)
        assert "sum(" not in outer
        assert '"${resolution:raw}"."rollup" WHERE $timeFilter AND "site" =~ /^$site$/' in inner
        assert re.search(r"\) WHERE [^()]*(\([^()]*\))?[^()]* > ", inner)


def test_every_denominator_is_kept_from_zero() -> None:
    for query in QUERIES:
        columns = query.split(" FROM (", 1)[0]
        divisors = re.findall(r" / (\w+|\([^()]*\)) AS", columns)
        condition = query.rsplit(") WHERE ", 1)[-1].replace("(", "").replace(")", "")
        for divisor in divisors:
            if not divisor.isdigit():
                assert f"{divisor.strip('()')} > 0" in condition, query


def test_a_condition_has_no_function() -> None:
    for query in QUERIES:
        for condition in re.findall(r"\) WHERE (.*?)(?: GROUP BY|$)", query):
            assert not re.search(r"\b(abs|sum|last|max|min|mean)\(", condition)


def test_no_slash_follows_the_interval() -> None:
    for query in QUERIES:
        assert "/" not in query.partition("$__interval")[2]


def test_every_query_is_of_the_chosen_site_and_time() -> None:
    for query in QUERIES:
        assert '"site" =~ /^$site$/' in query
        assert "$timeFilter" in query


@pytest.mark.parametrize("name", TITLES)
def test_a_board_has_the_variables_that_it_asks_for(name: str) -> None:
    board = BOARDS[name]
    has = {variable["name"] for variable in board["templating"]["list"]}
    texts = [target["query"] for panel in panels(board) for target in panel["targets"]]
    texts += [str(v.get("query", "")) for v in board["templating"]["list"]]
    texts += [note["target"]["query"] for note in board["annotations"]["list"]]
    asked = {found for text in texts for found in re.findall(r"\$\{?([a-z]\w*)", text)}
    assert asked - {"timeFilter"} == has


@pytest.mark.parametrize("name", TITLES)
def test_boards_lead_to_each_other_with_time_and_variables(name: str) -> None:
    board = BOARDS[name]
    [link] = board["links"]
    assert (link["type"], link["tags"]) == ("dashboards", [TAG])
    assert link["keepTime"]
    assert link["includeVars"]
    assert board["tags"] == [TAG]
    assert board["uid"] == f"meterhouse-{name}"


def test_a_cell_leads_to_a_board_that_has_its_variable() -> None:
    found = re.findall(r'"url": "/d/meterhouse-(\w+)\?([^"]*)"', "".join(boards().values()))
    assert len(found) == 6
    for name, asked in found:
        has = {variable["name"] for variable in BOARDS[name]["templating"]["list"]}
        assert "${__url_time_range}" in asked
        assert {*re.findall(r"var-(\w+)", asked), *re.findall(r"(\w+):query", asked)} <= has


def test_a_field_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="no_such_joules"):
        rollup_query({"x": "no_such_joules"}, where="it_joules > 0", scope=Scope.SITE)


def test_a_condition_that_would_never_be_true_is_refused() -> None:
    with pytest.raises(ValueError, match="a function"):
        rollup_query({"x": "it_joules"}, where="abs(it_joules) > 0", scope=Scope.SITE)


def test_every_kpi_of_sums_has_a_basis() -> None:
    of_buckets = {kpi.name for kpi in LIVE_KPIS if kpi.of == "latency_quantile"}
    assert BASES.keys() == {kpi.name for kpi in LIVE_KPIS} - of_buckets
    for name in BASES:
        assert no_value(name).startswith("no value: ")


def test_every_live_kpi_is_on_a_board() -> None:
    texts = " ".join(panel["description"] for panel in SHOWN)
    for kpi in LIVE_KPIS:
        if kpi.of != "latency_quantile":
            assert f"{kpi.numerator} over {kpi.denominator}" in texts, kpi.name


def test_every_panel_says_its_formula_and_what_no_value_means() -> None:
    for panel in SHOWN:
        assert len(panel["description"]) > 10
        assert panel["fieldConfig"]["defaults"]["noValue"]
        assert panel["datasource"] == {"type": "influxdb", "uid": DATA_SOURCE.uid}


def test_every_figure_has_a_unit() -> None:
    for panel in SHOWN:
        if panel["type"] in {"timeseries", "bargauge", "canvas", "table"}:
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_a_figure_of_now_is_not_older_than_minutes() -> None:
    for panel in SHOWN:
        texts = [target["query"] for target in panel["targets"]]
        now = any(re.search(r'last\("', t) and 'FROM "live"' in t for t in texts)
        over_time = any("$__interval" in t for t in texts)
        wanted = "3m" if now and not over_time else None
        assert panel.get("timeFrom") == wanted, panel["title"]


def test_a_colour_means_one_thing() -> None:
    assert len(set(COLOURS.values())) == len(COLOURS)
    known = set(COLOURS.values()) | {"text"}
    for colour in re.findall(r'"(?:fixedColor|color)": "([^"]+)"', "".join(boards().values())):
        assert colour in known, colour
    painted = re.findall(r'"color": \{\s*"fixed": "([^"]+)"', "".join(boards().values()))
    assert len(painted) > len(BOXES)
    assert {*painted} <= known | {"transparent"}
    for panel in SHOWN:
        for override in panel["fieldConfig"].get("overrides", []):
            name = override["matcher"]["options"]
            for part in override["properties"]:
                if name in STATES and part["id"] == "color":
                    assert part["value"]["fixedColor"] == COLOURS[name]


CANVASES: Final = [panel for panel in SHOWN if panel["type"] == "canvas"]
BOXES: Final = [element for p in CANVASES for element in p["options"]["root"]["elements"]]


def test_a_box_of_a_picture_shows_a_column_that_is_asked_for() -> None:
    assert [panel["title"] for panel in CANVASES] == ["Power path"]
    [texts] = [[t["query"] for t in panel["targets"]] for panel in CANVASES]
    columns = {c for t in texts for c in re.findall(r'AS "([^"]+)"', t.split(" FROM (", 1)[0])}
    boxes = [each for each in BOXES if each["type"] == "rectangle"]
    assert {box["config"]["text"]["field"] for box in boxes} == columns
    for box in boxes:
        assert box["name"] == box["config"]["text"]["field"]
        assert box["config"]["text"]["mode"] == "field"
        assert box["config"]["text"]["fixed"] == "not known"
        name, *others = [e for e in BOXES if e["name"] == f"{box['name']}, name"]
        assert name["config"]["text"] == {"mode": "fixed", "fixed": box["name"]}
        assert not others
    for panel in CANVASES:
        assert all(target["resultFormat"] == "table" for target in panel["targets"])


def test_the_arrows_of_a_picture_lead_from_box_to_box() -> None:
    boxes = {box["name"] for box in BOXES if box["type"] == "rectangle"}
    arrows = [(box["name"], c["targetName"]) for box in BOXES for c in box.get("connections", [])]
    assert len(set(arrows)) == len(arrows)
    assert {target for _, target in arrows} == boxes - {"facility"}
    assert {end for arrow in arrows for end in arrow} == boxes


def test_the_parts_of_a_picture_lie_within_it_and_beside_each_other() -> None:
    areas: list[tuple[float, float, float, float]] = []
    for element in BOXES:
        assert element["constraint"] == {"horizontal": "scale", "vertical": "scale"}
        place = element["placement"]
        left, top = place["left"], place["top"]
        right, bottom = 100 - place["right"], 100 - place["bottom"]
        assert 0 <= left < right <= 100
        assert 0 <= top < bottom <= 100
        for other in areas:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, element["name"]
        areas.append((left, top, right, bottom))


def test_an_arrow_to_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there.*: no such place"):
        root([Place("here", 0, 0, "it")], [Arrow("here", "there")], (0.0,))


def test_what_is_covered_too_little_is_red() -> None:
    coverages = [panel for panel in SHOWN if panel["title"].endswith(": coverage")]
    of_time = {"Carbon: coverage"}
    for panel in coverages:
        steps = panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])
        wanted = [(None, COLOURS["bad"]), (0.95, COLOURS["good"])]
        assert panel["title"] in of_time or [(s["value"], s["color"]) for s in steps] == wanted
    assert len(coverages) > 5


@pytest.mark.parametrize("name", TITLES)
def test_panels_lie_beside_each_other(name: str) -> None:
    placed = BOARDS[name]["panels"]
    cells = [
        (x, y)
        for panel in placed
        for grid in [panel["gridPos"]]
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in placed}) == len(placed)


def test_every_kind_of_alert_is_on_the_board_of_its_matter() -> None:
    lists = [re.findall(r'"rule_kind" =~ /\^\((.*)\)\$/', query) for query in QUERIES]
    shown = {kind for [kinds] in filter(None, lists) for kind in kinds.split("|")}
    budgets = {"budget_spent", "budget_forecast", "budget_burn"}
    assert shown == {*get_args(ThresholdKind), *budgets}


def test_the_boards_are_those_that_alerts_lead_to() -> None:
    assert set(TITLES) == {*get_args(Board)}


def test_the_boards_have_titles_of_their_own() -> None:
    assert len({board["title"] for board in BOARDS.values()}) == len(TITLES)
    assert len(PANELS) > 130
