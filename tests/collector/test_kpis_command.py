"""The command ``kpis``: figures over a window, with what they were divided from."""

import json
from pathlib import Path

import pytest

from meterhouse_collector.__main__ import main
from meterhouse_collector.quarters.windows import Stretch, window_kpis
from tests.collector.collecting import MemoryStore
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
