"""The page about sizes: made from what was measured, by arithmetic that is checked by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from docs import scale
from tests.docs.pages import ROOT

COST = {
    "collector_cpu_us_per_sample": 10.0,
    "broker_cpu_us_per_sample": 2.0,
    "influx_cpu_us_per_sample": 12.5,
    "wire_bytes_per_sample": 125.0,
    "nats_cluster_cpu_us_per_report": 50.0,
    "gathered_intake_cpu_us_per_node": 1.0,
    "gathered_influx_cpu_us_per_node": 8.0,
    "steward_cpu_us_per_node": 30.0,
    "gathered_bytes_per_node": 200.0,
    "ledger_bytes_per_node": 200.0,
}


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, "-m", "docs.scale", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr


def test_a_small_site_is_one_process() -> None:
    found = scale.need(scale.Size(8_000, 5), COST)
    assert found.nodes == 1_000
    assert found.reports_per_second == 200
    assert found.samples_per_second == 1_600
    assert (found.intakes, found.steward_cores) == (0, 0.0)
    assert found.collector_cores == pytest.approx(0.016)
    assert found.mosquitto_cores == pytest.approx(0.0032)
    assert found.nats_cores == pytest.approx(0.01)
    assert found.influx_cores == pytest.approx(0.02)
    assert found.megabits_per_second == pytest.approx(1.6)
    assert found.ledger_gigabytes_per_day == pytest.approx(200 * 86_400 * 200 / 1e9)


def test_a_large_one_is_split_and_nothing_of_the_work_is_lost() -> None:
    found = scale.need(scale.Size(800_000, 1, sites=2), COST)
    # 400,000 samples and 50,000 reports a second: 4 cores, of which the steward takes 1.5.
    assert found.nodes == 50_000
    assert found.steward_cores == pytest.approx(1.5)
    assert found.collector_cores == pytest.approx(4.0 - 1.5 + 0.05)
    assert found.intakes == 5
    assert found.influx_cores == pytest.approx(5.0 + 0.4)


def test_figures_come_from_bench_json_where_it_is_there(tmp_path: Path) -> None:
    table = [{"name": name, "value": COST[name], "unit": "us"} for name in scale.NEEDED]
    (tmp_path / "bench.json").write_text(json.dumps({"figures": table}))
    assert scale.measured(tmp_path)["influx_cpu_us_per_sample"] == 12.5
    (tmp_path / "bench.json").write_text('{"figures": []}')
    with pytest.raises(ValueError, match="not measured: collector_cpu_us_per_sample, broker"):
        scale.measured(tmp_path)
