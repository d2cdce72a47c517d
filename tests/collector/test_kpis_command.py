"""The command ``kpis``: figures over a window, with what they were divided from."""

import asyncio
import json
from datetime import date
from pathlib import Path

import msgspec
import pytest

from meterhouse_agent import wire
from meterhouse_collector.__main__ import main
from meterhouse_collector.quarters.windows import Stretch, window_kpis
from meterhouse_collector.rows import EngineRow, pack
from meterhouse_collector.site.by_hand import ByHand, by_hand
from meterhouse_collector.store.config import SqliteConfig
from meterhouse_collector.store.sqlite import SqliteStore
from tests.collector.collecting import MemoryStore, index
from tests.collector.settling import FIRST, KNOWN
from tests.collector.stored_site import QUARTER, instant, since, stored_site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return stored_site(tmp_path)


def test_a_window_of_kept_quarters(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    window = ["--from", since(), "--to", instant(FIRST + 2 * QUARTER)]
    assert main(["kpis", "-c", str(config), *window, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["start_seconds"], found["end_seconds"]) == (FIRST, FIRST + 2 * QUARTER)
    idle = found["kpis"]["idle_capacity_ratio"]
    # Of each node one device works, and the other does half of the time.
    assert (idle["value"], idle["coverage"]) == (0.25, 1.0)
    assert (idle["numerator"], idle["denominator"]) == (1800.0, 7200.0)
    pue = found["kpis"]["pue"]
    assert (pue["value"], pue["label"]) == (1.25, "iPUE, IT energy from nodes: upper bound")


def test_what_was_not_collected_lowers_the_coverage_and_says_so(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    window = ["--from", instant(FIRST - 2 * QUARTER), "--to", instant(FIRST + 2 * QUARTER)]
    assert main(["kpis", "-c", str(config), *window]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("  idle_capacity_ratio "))
    assert line.split()[2:5] == ["-", "0.125", "0.625"]
    assert line.split()[-1] == "50.0%"
    assert "idle_capacity_ratio: coverage 50.0% is below 95%" in out


@pytest.mark.parametrize("window", ["hour", "day", "month_to_date", "trailing_year"])
def test_each_named_window(config: Path, capsys: pytest.CaptureFixture[str], window: str) -> None:
    assert main(["kpis", "-c", str(config), "--window", window]) == 0
    assert "idle_capacity_ratio" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--window", "hour", "--from", "2026-01-01"], "either --window, or --from"),
        (["--to", "2026-01-01"], "give --from"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "a window that has a length"),
        (["--from", "2026-13-01"], "allowed: a date"),
    ],
)
def test_a_window_that_is_none_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], fault: str
) -> None:
    assert main(["kpis", "-c", str(config), *arguments]) == 2
    assert fault in capsys.readouterr().err


async def test_a_long_window_shows_how_much_of_it_is_read() -> None:
    shown: list[float] = []
    window = Stretch(FIRST, FIRST + 40 * 86_400)
    await window_kpis(MemoryStore(), KNOWN, window, progress=lambda share, _: shown.append(share))
    assert shown == [day / 40 for day in range(1, 41)]


BY_HAND = """
[[generator]]
name = "genset-1"
rated_watts = 2e6
permit_hours_per_year = 50.0
[[generator_run]]
generator = "genset-1"
begins = 2025-12-30
ends = 2026-01-03
hours = 8.0
reason = "test"
source = "log"
[[generator_run]]
generator = "genset-1"
begins = 2026-03-01
ends = 2026-03-02
hours = 3.5
reason = "outage"
source = "log"
[[fuel_use]]
generator = "genset-1"
begins = 2026-02-27
ends = 2026-03-03
litres = 400.0
kg_per_litre = 2.5
source = "tank"
[[cooling]]
name = "chillers"
kind = "chiller"
unit_heat_watts = 1e6
[[refrigerant_loss]]
cooling_unit = "chillers"
noticed_on = 2026-02-10
refrigerant = "R-134a"
kg = 2.0
gwp = 1430.0
source = "service"
[[energy_source]]
name = "grid"
kind = "grid"
[[emission_factor]]
energy_source = "grid"
method = "market"
scope = "lifecycle"
kg_per_kwh = 0.1
provisional = true
source = "supplier"
valid_from = 2026-01-01
[[regional_capacity]]
region = "north"
available_watts = 5e6
source = "operator"
valid_from = 2026-01-01
[[water_stress]]
basin = "river"
stress_ratio = 1.25
source = "atlas"
valid_from = 2026-01-01
[[land]]
name = "hall"
kind = "sealed"
square_metres = 12000.0
source = "register"
valid_from = 2026-01-01
[[local_payment]]
paid_on = 2026-02-15
recipient = "town"
purpose = "tax"
amount = 25000
source = "ledger"
"""


def test_what_is_known_by_hand_has_its_limit_and_its_source() -> None:
    site = index(BY_HAND)
    year = [int(site.model.instant(date(2026, month, 1))) for month in range(1, 13)]
    found = {entry.kind: entry for entry in by_hand(site, year[0], year[3])}
    # Of the first run two of four days are of this year.
    assert found["generator_hours"] == ByHand(
        "generator_hours", "genset-1 (outage, test)", 7.5, "hours in 2026", 50.0, "log"
    )
    assert (found["regional_capacity"].value, found["regional_capacity"].unit) == (5e6, "watts")
    assert (found["water_stress"].value, found["water_stress"].limit) == (1.25, 1.0)
    assert (found["land"].name, found["land"].value) == ("hall (sealed)", 12000.0)
    assert (found["local_payment"].value, found["local_payment"].unit) == (25000.0, "EUR")
    assert found["fuel_use"] == ByHand("fuel_use", "genset-1 (diesel)", 1000.0, "kg", None, "tank")
    assert found["refrigerant_loss"] == ByHand(
        "refrigerant_loss", "chillers (R-134a)", 2860.0, "kg", None, "service"
    )
    assert found["emission_factor"] == ByHand(
        "emission_factor",
        "grid (market, average, lifecycle, provisional)",
        0.1,
        "kg per kWh",
        None,
        "supplier",
    )
    # Of four days of fuel two are in February.
    in_february = {entry.kind: entry for entry in by_hand(site, year[1], year[2])}
    assert in_february["fuel_use"].value == 500.0
    before = {entry.kind for entry in by_hand(site, year[0] - 86_400, year[0])}
    assert before == {"generator_hours"}
    after = {entry.kind for entry in by_hand(site, year[2], year[3])}
    assert not {"local_payment", "refrigerant_loss"} & after


def test_figures_by_hand_stand_below_the_kpis(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = config.parent / "site.toml"
    text = BY_HAND.replace("2026-01-01", "2020-01-01")
    site.write_text(site.read_text(encoding="utf-8") + text, encoding="utf-8")
    window = ["--from", since(), "--to", instant(FIRST + 2 * QUARTER)]
    assert main(["kpis", "-c", str(config), *window]) == 0
    (line,) = (x for x in capsys.readouterr().out.splitlines() if "regional_capacity" in x)
    assert line.split() == ["regional_capacity", "north", "operator", "watts", "5,000,000", "-"]
    assert main(["kpis", "-c", str(config), *window, "--format", "json"]) == 0
    entries = json.loads(capsys.readouterr().out)["by_hand"]
    assert {"water_stress", "land"} <= {entry["kind"] for entry in entries}


SLO = """
[[slo]]
name = "chat-first-token"
served_model = "llama"
metric = "time_to_first_token"
threshold = "500ms"
objective_ratio = 0.9
window = "1h"
"""


def test_an_objective_stands_below_the_kpis_with_its_own_window(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = config.parent / "site.toml"
    site.write_text(site.read_text(encoding="utf-8") + SLO, encoding="utf-8")
    window = ["--from", since(), "--to", instant(FIRST + 2 * QUARTER)]
    assert main(["kpis", "-c", str(config), *window, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (asked,), (own,) = found["slos"], found["slos_own_window"]
    assert asked == {
        "name": "chat-first-token",
        "served_model": "llama",
        "metric": "time_to_first_token",
        "threshold_seconds": 0.5,
        "objective_ratio": 0.9,
        "window_seconds": 1800,
        "share": None,
        "low": None,
        "high": None,
        "requests": 0,
        "coverage": 1.0,
        "budget_spent_ratio": None,
        "met": None,
        "reason": "no request was observed",
    }
    assert (own["window_seconds"], own["coverage"]) == (3600, 0.5)

    asyncio.run(_observed(config.parent / "rows.sqlite"))
    assert main(["kpis", "-c", str(config), *window, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (asked,), (own,) = found["slos"], found["slos_own_window"]
    assert (asked["share"], asked["requests"], asked["met"]) == (0.8, 10, False)
    assert asked["budget_spent_ratio"] == pytest.approx(2.0)
    assert (own["requests"], own["share"]) == (10, None)
    assert own["reason"] == "coverage 50.0% is below 95%"
    assert main(["kpis", "-c", str(config), *window]) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if line.startswith("  chat-first-token ")]
    assert [" ".join(line.split()[1:]) for line in lines] == [
        "llama time_to_first_token no 0.5 0.5 0.9 0.8 0.8 0.8 10 2 100.0%",
        "llama time_to_first_token - 1 0.5 0.9 - - - 10 - 50.0%",
    ]
    assert "chat-first-token, 1 hours: coverage 50.0% is below 95%" in out


async def _observed(path: Path) -> None:
    """Let the engine tell of ten requests in the first quarter, two of them slow."""
    store = SqliteStore(SqliteConfig(path=str(path)))
    await store.open()
    (row,) = await store.packed(
        "quarter", "engine", start_seconds=FIRST, end_seconds=FIRST + QUARTER
    )
    told = msgspec.json.decode(row.row, type=EngineRow)
    latency = {"ttft": wire.Histogram(edges_seconds=[0.5], counts=[8, 2], sum_seconds=4.0)}
    served = msgspec.structs.replace(told.served[0], latency=latency)
    await store.write(
        [msgspec.structs.replace(row, row=pack(msgspec.structs.replace(told, served=(served,))))]
    )
    await store.close()


def test_an_objective_over_a_window_that_is_too_long_has_no_figure_at_all(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = config.parent / "site.toml"
    site.write_text(site.read_text(encoding="utf-8") + SLO, encoding="utf-8")
    assert main(["kpis", "-c", str(config), "--window", "trailing_year"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "chat-first-token" in line]
    assert lines[0].split()[3:4] + lines[0].split()[-6:] == ["-"] * 7
    assert lines[2].endswith("not read of a window of more than 92 days")
