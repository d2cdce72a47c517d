"""Prometheus on the same fleet: it scrapes each node's page, keeps it, and computes the KPIs."""

import http.client
import json
import time
import urllib.request
from pathlib import Path
from typing import Final

from tests.bench import usage
from tests.bench.fleet import DEVICES, SITE, Fleet
from tests.bench.pages import STATE, Pages
from tests.bench.stretch import Measured
from tests.servers import Server, ServerError

NAME: Final = "prometheus"
_POOLS: Final = 10
_PATIENCE_SECONDS: Final = 60.0
# The rules are those of KPIs and of what the live rollup sums, by pool and for the site.
_RULES: Final = {
    "site:it_watts": "sum(power_watts)",
    "site:pue": "sum(facility_watts) / sum(power_watts)",
    "site:idle_capacity_ratio": f"count({STATE} == 1 or {STATE} == 2) / count({STATE} <= 2)",
    "site:money_per_second": "sum(power_watts) * 0.18 / 3.6e6"
    " + count(power_watts) * 25000 / 157680000",
    "pool:state_devices": f'count_values by (pool) ("state", {STATE})',
    "pool:joules": "sum by (pool) (energy_joules)",
    "pool:idle_joules": f"sum by (pool) (energy_joules and on (device) ({STATE} > 0))",
    "pool:money_per_second": "sum by (pool) (power_watts) * 0.18 / 3.6e6"
    " + count by (pool) (power_watts) * 25000 / 157680000",
    "pool:effective_devices": "sum by (pool) (sm_activity_ratio)",
}


class Prometheus(Server):
    """Debian's Prometheus with a scrape configuration for a fleet."""

    program = "prometheus"

    def __init__(self, folder: Path, fleet: Fleet, pages: Pages) -> None:
        super().__init__(folder)
        self._fleet, self._pages = fleet, pages

    def _arguments(self) -> list[str]:
        (self.folder / "rules.json").write_text(json.dumps(_rules(self._fleet.length_seconds)))
        (self.folder / "targets.json").write_text(json.dumps(self._targets()))
        (self.folder / "prometheus.json").write_text(json.dumps(self._configuration()))
        return [
            f"--config.file={self.folder / 'prometheus.json'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]

    def _configuration(self) -> dict[str, object]:
        every = f"{self._fleet.length_seconds}s"
        files = [{"files": [str(self.folder / "targets.json")]}]
        job = {"job_name": "fleet", "file_sd_configs": files, "honor_timestamps": False}
        return {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            # JSON is YAML.
            "rule_files": [str(self.folder / "rules.json")],
            "scrape_configs": [job],
        }

    def _targets(self) -> list[dict[str, object]]:
        address = f"127.0.0.1:{self._pages.port}"
        return [
            {
                "targets": [address],
                "labels": {
                    "__metrics_path__": f"/{self._fleet.node(index)}",
                    "instance": self._fleet.node(index),
                    "site": SITE,
                    "pool": f"pool-{index % _POOLS}",
                },
            }
            for index in range(self._fleet.nodes)
        ]

    def _answers(self) -> bool:
        try:
            return "prometheus_tsdb_head_samples_appended_total" in self.own()
        except (OSError, http.client.HTTPException, ServerError):
            return False

    def own(self) -> dict[str, float]:
        """Return what it says of itself, without labels."""
        address = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(address, timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line[:1] not in {"#", ""})
        found: dict[str, float] = {}
        for name, value in pairs:
            plain = name.partition("{")[0]
            found[plain] = found.get(plain, 0.0) + float(value)
        return found


def _rules(length_seconds: int) -> dict[str, object]:
    rules = [{"record": name, "expr": expression} for name, expression in _RULES.items()]
    return {"groups": [{"name": "kpis", "interval": f"{length_seconds}s", "rules": rules}]}


def series_per_device(fleet: Fleet) -> int:
    """Return how many series a device has: the fields of the device detail, and the state."""
    return len(fleet.samples(0, 0)[0].fields()) + 1


def measure_prometheus(folder: Path, fleet: Fleet, warm_up: int, measured: int) -> Measured:
    """Run it on the fleet's pages, and return what it cost for each sample that it took."""
    length = fleet.length_seconds
    with Pages(fleet) as pages, Prometheus(folder, fleet, pages) as server:
        _wait_for_all(server, fleet)
        time.sleep(length * warm_up)
        began, before, own = time.time(), usage.of_tree(server.pid), server.own()
        time.sleep(length * measured)
        ended, after, then = time.time(), usage.of_tree(server.pid), server.own()
    appended = "prometheus_tsdb_head_samples_appended_total"
    # What a scrape adds of itself, and the rules, are samples too, but not of a device.
    beside = fleet.nodes * _OWN_SERIES / (fleet.nodes * DEVICES * series_per_device(fleet))
    taken = (then[appended] - own[appended]) / (1.0 + beside) / series_per_device(fleet)
    expected = fleet.nodes * DEVICES * (ended - began) / length
    return Measured(
        consumer=NAME,
        samples=round(taken),
        seconds=ended - began,
        cpu_seconds=after.cpu_seconds - before.cpu_seconds,
        influx_cpu_seconds=0.0,
        broker_cpu_seconds=0.0,
        pss_bytes=after.pss_bytes,
        influx_pss_bytes=0,
        wire_bytes=0.0,
        lost=max(0, round(expected - taken - fleet.nodes * DEVICES)),
        late_seconds=0.0,
    )


# up, scrape_duration_seconds, and three of samples and series.
_OWN_SERIES: Final = 5


def _wait_for_all(server: Prometheus, fleet: Fleet) -> None:
    """Wait until every page was read: the first of a series costs more than all that follow."""
    wanted = fleet.nodes * DEVICES * series_per_device(fleet)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while server.own()["prometheus_tsdb_head_series"] < wanted:
        if time.monotonic() > deadline:
            raise ServerError(f"prometheus has not read all pages in {_PATIENCE_SECONDS:g} s")
        time.sleep(1.0)
